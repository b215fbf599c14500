# SPDX-License-Identifier: Apache-2.0
"""One row of measurements per object, as CSV."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam.errors import LabelsError
from napari_sam.io.atomic import written_atomically

Row = dict[str, int | float | str | None]


def measure_objects(
    labels: NDArray[np.integer],
    image: NDArray[Any],
    *,
    pixel_size_um: tuple[float, float] | None = None,
) -> list[Row]:
    """Measure every object of a plane.

    Parameters
    ----------
    labels : (H, W) integer array
        0 is background.
    image : (H, W) or (H, W, channels) array
        The intensities as they were in the file. NaN pixels do not enter a mean.
    pixel_size_um : (float, float), optional
        Height and width of a pixel; without it the columns in micrometres are None.

    Returns
    -------
    list of dict
        In label order: ``label``, ``area_px``, ``centroid_y_px``, ``centroid_x_px``
        (integers are pixel centres), the half-open box ``y0_px`` to ``x1_px``,
        ``mean_intensity`` (``mean_intensity_0``, ... for several channels),
        and ``area_um2``, ``centroid_y_um``, ..., ``x1_um``.
    """
    if labels.ndim != 2 or labels.shape != image.shape[:2]:
        msg = (
            f"Labels of shape {labels.shape} do not fit an image of shape "
            f"{image.shape}. Measure one plane with its own labels."
        )
        raise LabelsError(msg)
    ids, inverse = np.unique(labels, return_inverse=True)
    compact = inverse.reshape(labels.shape) + 1
    channels = image[..., None] if image.ndim == 2 else image
    rows = []
    for index, box in enumerate(ndimage.find_objects(compact)):
        if ids[index] == 0:
            continue
        crop = compact[box] == index + 1
        row: Row = {"label": int(ids[index])}
        row |= _shape_columns(crop, box, pixel_size_um)
        pixels = channels[box][crop]  # (area, channels)
        row |= _intensity_columns([_finite_mean(values) for values in pixels.T])
        rows.append(_ordered(row))
    return rows


def write_table(
    path: str | Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[str]
) -> Path:
    """Write rows as CSV with a header line, in place of any older file.

    Parameters
    ----------
    path : str or Path
        Where the file shall lie; missing folders are made.
    rows : iterable of mapping
        Values by column; missing ones and None stay empty.
    columns : iterable of str
        Header, written even if there is no row.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    path = Path(path)
    with (
        written_atomically(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, fieldnames=list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def object_columns(n_channels: int = 1) -> list[str]:
    """Columns of ``measure_objects`` in their order."""
    if n_channels == 1:
        means = ["mean_intensity"]
    else:
        means = [f"mean_intensity_{c}" for c in range(n_channels)]
    box = ["y0", "x0", "y1", "x1"]
    places = ["centroid_y", "centroid_x", *box]
    return [
        "label",
        "area_px",
        *(f"{name}_px" for name in places),
        *means,
        "area_um2",
        *(f"{name}_um" for name in places),
    ]


def _shape_columns(
    crop: NDArray[np.bool_],
    box: tuple[slice, slice],
    pixel_size_um: tuple[float, float] | None,
) -> Row:
    rows, columns = box
    y, x = np.nonzero(crop)
    area = int(crop.sum())
    places = {
        "centroid_y": round(float(y.mean()) + rows.start, 3),
        "centroid_x": round(float(x.mean()) + columns.start, 3),
        "y0": rows.start,
        "x0": columns.start,
        "y1": rows.stop,
        "x1": columns.stop,
    }
    row: Row = {"area_px": area}
    row |= {f"{name}_px": value for name, value in places.items()}
    if pixel_size_um is None:
        row["area_um2"] = None
        return row | dict.fromkeys((f"{name}_um" for name in places), None)
    height, width = pixel_size_um
    row["area_um2"] = _rounded(area * height * width)
    for name, value in places.items():
        row[f"{name}_um"] = _rounded(value * (height if "y" in name else width))
    return row


def _intensity_columns(means: list[float | None]) -> Row:
    if len(means) == 1:
        return {"mean_intensity": means[0]}
    return {f"mean_intensity_{c}": mean for c, mean in enumerate(means)}


def _ordered(row: Row) -> Row:
    n_channels = sum(name.startswith("mean_intensity") for name in row)
    return {name: row[name] for name in object_columns(n_channels)}


def _finite_mean(values: NDArray[Any]) -> float | None:
    finite = values[np.isfinite(values)]
    return _rounded(float(finite.mean(dtype=np.float64))) if finite.size else None


def _rounded(value: float) -> float:
    """Seven significant digits: more is noise and makes the table hard to read."""
    return float(f"{value:.7g}")
