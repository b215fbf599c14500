# SPDX-License-Identifier: Apache-2.0
"""What is measured of each object, as columns of a table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.annotation.record_stats import (
    finite_values,
    gray,
    perimeter,
    roundness,
)
from napari_sam.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari_sam.annotation.objects import AnnotatedObject
    from napari_sam.annotation.ports import ImageSource, LabelStore, PlaneKey
    from napari_sam.structures.arrays import BoolMask, Plane

COLUMNS = (
    "object_id",
    "plane",
    "class_name",
    "status",
    "origin",
    "area_px",
    "area_um2",
    "centroid_y_px",
    "centroid_x_px",
    "centroid_y_um",
    "centroid_x_um",
    "equivalent_diameter_px",
    "equivalent_diameter_um",
    "perimeter_px",
    "perimeter_um",
    "roundness",
    "mean_intensity",
    "min_intensity",
    "max_intensity",
    "predicted_iou",
    "seconds",
)

Columns = dict[str, list[Any]]


def measure_objects(
    objects: Iterable[AnnotatedObject],
    labels: LabelStore,
    source: ImageSource,
    pixel_size_um: Callable[[PlaneKey], tuple[float, float] | None] | None = None,
) -> Columns:
    """Measure objects from the labels as they are now.

    Parameters
    ----------
    objects : iterable of AnnotatedObject
        What to measure; planes may be mixed.
    labels : LabelStore
        Where they are written.
    source : ImageSource
        The pixels, as they are in the image.
    pixel_size_um : callable, optional
        Height and width of a pixel of a plane in micrometres, None if unknown.

    Returns
    -------
    dict of str to list
        The `COLUMNS`, one entry per object in the order given. ``plane`` is the
        position along the other axes, such as ``"3, 0"``. Positions are of pixel
        centres, intensities the mean of the colours of an RGB image without values
        that are not finite. What is unknown is None: micrometres without a pixel size,
        everything measured of an object without pixels. The roundness is that of the
        object in micrometres if pixels are not square.
    """
    planes: dict[PlaneKey, Plane] = {}
    rows = []
    for known in objects:
        if known.plane not in planes:
            planes.clear()  # objects come plane by plane; a stack may be large
            planes[known.plane] = source.read_plane(known.plane)
        size = None if pixel_size_um is None else _checked(pixel_size_um(known.plane))
        y0, x0, y1, x1 = known.box
        mask = labels.read(known.plane, known.box) == known.object_id
        pixels = gray(planes[known.plane][y0:y1, x0:x1])
        rows.append(
            {
                "object_id": known.object_id,
                "plane": ", ".join(map(str, known.plane.index)),
                "class_name": known.class_name,
                "status": str(known.status),
                "origin": str(known.origin),
                "predicted_iou": known.predicted_iou,
                "seconds": round(known.seconds, 2),
                **_shape_of(mask, (y0, x0), size),
                **_intensities(pixels[mask]),
            }
        )
    return {name: [row.get(name) for row in rows] for name in COLUMNS}


def table_rows(columns: Columns) -> list[dict[str, Any]]:
    """Turn columns into rows, as a CSV writer takes them."""
    names = list(columns)
    return [
        dict(zip(names, values, strict=True))
        for values in zip(*columns.values(), strict=True)
    ]


def _shape_of(
    mask: BoolMask, start: tuple[int, int], size: tuple[float, float] | None
) -> dict[str, float | None]:
    """Size, place and outline of a mask whose first pixel lies at `start`."""
    area = int(np.count_nonzero(mask))
    row: dict[str, float | None] = {"area_px": area}
    if not area:
        return row
    rows, columns = np.nonzero(mask)
    y, x = float(rows.mean()) + start[0], float(columns.mean()) + start[1]
    length = perimeter(mask)
    row |= {
        "centroid_y_px": y,
        "centroid_x_px": x,
        "equivalent_diameter_px": _diameter(area),
        "perimeter_px": length,
        "roundness": roundness(area, length),
    }
    if size is not None:
        height, width = size
        area_um2, length_um = area * height * width, perimeter(mask, size)
        row |= {
            "area_um2": area_um2,
            "centroid_y_um": y * height,
            "centroid_x_um": x * width,
            "equivalent_diameter_um": _diameter(area_um2),
            "perimeter_um": length_um,
            "roundness": roundness(area_um2, length_um),
        }
    # More digits than these are noise and make a table hard to read.
    return {name: _rounded(value) for name, value in row.items()}


def _intensities(pixels: Any) -> dict[str, float | None]:
    values = finite_values(pixels)
    if not values.size:
        return {}
    return {
        "mean_intensity": _rounded(float(values.mean())),
        "min_intensity": float(values.min()),
        "max_intensity": float(values.max()),
    }


def _diameter(area: float) -> float:
    """Diameter of the disc of an area."""
    return math.sqrt(4 * area / math.pi)


def _rounded(value: float | None) -> float | None:
    return value if value is None or isinstance(value, int) else float(f"{value:.7g}")


def _checked(size: Sequence[float] | None) -> tuple[float, float] | None:
    if size is None:
        return None
    height, width = float(size[0]), float(size[1])
    if not (0 < height < math.inf and 0 < width < math.inf):
        msg = f"A pixel size is two positive lengths in micrometres, not {tuple(size)}."
        raise SettingsError(msg)
    return height, width
