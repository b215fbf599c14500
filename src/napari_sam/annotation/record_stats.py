# SPDX-License-Identifier: Apache-2.0
"""Numbers that describe masks: perimeter, roundness, intensity; computed once each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_sam.annotation.run_table import crop_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_sam.structures.arrays import BoolMask, HalfOpenBox, Plane
    from napari_sam.structures.candidates import MaskRecord

Values: TypeAlias = npt.NDArray[np.float64]

STATISTICS = (
    "predicted_iou",
    "stability_score",
    "area",
    "roundness",
    "mean_intensity",
)
"""What `measure_records` computes, in the order in which it is shown."""

TOUCH_PX = 2
"""A mask touches a border if it comes this near: its outermost pixels are uncertain."""
MOST_OF_PLANE = 0.5
"""A mask that covers more than this part of the plane is background."""
BACKGROUND_BORDERS = 3
"""A mask that touches this many borders of the plane is background."""

# Vossepoel and Smeulders 1982, "Vector code probability and metrication error in the
# representation of straight lines of finite length": straight steps, diagonal steps
# and changes of direction of a digital line; its length is off by 1 % at most.
_STRAIGHT, _DIAGONAL, _CORNER = 0.980, 1.406, -0.091


def perimeter(mask: BoolMask, pixel_size: tuple[float, float] = (1.0, 1.0)) -> float:
    """Estimate the length of a mask's outline, holes included.

    The outline runs through the middles between object and background pixels, so that
    straight sides of n pixels count about n. A disc comes out within five per cent from
    a radius of 6 pixels on, and within two from 15 on; if pixels are not square, six
    per cent are to be expected.

    Parameters
    ----------
    mask : (h, w) bool array
        Pixels outside the array are background.
    pixel_size : (height, width)
        Of a pixel, in the unit that the length shall have.

    Returns
    -------
    float
        0 for an empty mask.
    """
    height, width = pixel_size
    padded = np.pad(mask, 1).astype(np.int8)
    # One quad of 2 x 2 pixels is one step of the outline.
    upper, lower = padded[:-1], padded[1:]
    count = upper[:, :-1] + upper[:, 1:] + lower[:, :-1] + lower[:, 1:]
    is_saddle = (count == 2) & (upper[:, :-1] == lower[:, 1:])
    is_edge = (count == 2) & ~is_saddle
    is_level = is_edge & (upper[:, :-1] == upper[:, 1:])  # goes along a row
    n_level = int(np.count_nonzero(is_level))
    n_upright = int(np.count_nonzero(is_edge)) - n_level
    n_diagonal = int(np.count_nonzero((count == 1) | (count == 3)))
    n_diagonal += 2 * int(np.count_nonzero(is_saddle))
    # 0: straight; 1: around one object pixel; 2: around a background pixel. Two pixels
    # that meet in a corner belong together, so a saddle is of the last kind.
    turn = np.where(count == 1, 1, np.where((count == 3) | is_saddle, 2, 0))
    n_corners = _count_turns(
        turn[:, :-1], turn[:, 1:], upper[:, 1:-1] != lower[:, 1:-1]
    )
    n_corners += _count_turns(
        turn[:-1], turn[1:], padded[1:-1, :-1] != padded[1:-1, 1:]
    )
    straight = n_level * width + n_upright * height
    diagonal = n_diagonal * math.hypot(height, width) / (2 * math.sqrt(2))
    corners = n_corners * math.sqrt(height * width)
    return _STRAIGHT * straight + _DIAGONAL * diagonal + _CORNER * corners


def roundness(area: float, length: float) -> float:
    """Return 4 pi area / perimeter squared, at most 1: 1 for a disc, 0 for a line."""
    if area <= 0 or length <= 0:
        return 0.0
    return min(4 * math.pi * area / length**2, 1.0)


def gray(plane: Plane) -> npt.NDArray[Any]:
    """Return one value per pixel, (H, W): the mean of red, green and blue."""
    return plane if plane.ndim == 2 else plane[..., :3].mean(axis=-1)


def finite_values(pixels: npt.NDArray[Any]) -> Values:
    """Return the finite ones of some pixels, (n,) float64."""
    values = np.asarray(pixels, dtype=np.float64).ravel()
    return values[np.isfinite(values)]


def measure_records(
    records: Sequence[MaskRecord],
    plane: Plane,
    check: Callable[[], None] | None = None,
) -> dict[str, Values]:
    """Measure masks of a plane.

    Parameters
    ----------
    records : sequence of n MaskRecord
        In the plane's frame.
    plane : (H, W) or (H, W, 3 | 4) array
        The pixels as they are shown.
    check : callable, optional
        Called before each record: it may give way to other work, or raise to stop.

    Returns
    -------
    dict of str to (n,) float64 array
        One entry per name of `STATISTICS`; areas in pixels, NaN where there is no
        value.
    """
    table = np.full((len(STATISTICS), len(records)), np.nan)
    for number, record in enumerate(records):
        if check is not None:
            check()
        crop = crop_of(record)
        y0, x0, y1, x1 = record.bbox
        window = plane[y0:y1, x0:x1]
        inside = finite_values(gray(window)[crop])
        table[:, number] = (
            record.predicted_iou,
            record.stability_score,
            record.area,
            roundness(record.area, perimeter(crop)),
            inside.mean() if inside.size else np.nan,
        )
    return dict(zip(STATISTICS, table, strict=True))


def is_background(box: HalfOpenBox, area: int, shape: tuple[int, int]) -> bool:
    """Tell whether a mask is what lies around the objects rather than one of them.

    Parameters
    ----------
    box : (y0, x0, y1, x1)
        Half-open box around the mask.
    area : int
        Its pixels.
    shape : (H, W)
        Size of the plane.

    Returns
    -------
    bool
        Whether it touches three borders of the plane or covers more than half of it.
    """
    height, width = shape
    distances = (box[0], box[1], height - box[2], width - box[3])
    n_borders = sum(distance <= TOUCH_PX for distance in distances)
    return n_borders >= BACKGROUND_BORDERS or area > MOST_OF_PLANE * height * width


def _count_turns(
    first: npt.NDArray[Any], second: npt.NDArray[Any], is_step: BoolMask
) -> int:
    """Count changes of direction between neighbouring quads that the outline links.

    A straight step next to a diagonal one is a change; two diagonal ones are unless
    they turn to opposite sides, which is a slope.
    """
    is_turn = (first != second) & ((first == 0) | (second == 0))
    is_turn |= (first == second) & (first != 0)
    return int(np.count_nonzero(is_turn & is_step))
