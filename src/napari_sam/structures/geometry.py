# SPDX-License-Identifier: Apache-2.0
"""Points and boxes between image order (row first) and model order (x first).

Everything outside this file is ``_yx``; SAM's ``_xy`` exists only at the model's door
and in the reference's record dictionaries. Positions are in pixels, and whole numbers
are pixel centres. A half-open box ``(y0, x0, y1, x1)`` of whole pixels does not contain
row ``y1`` and column ``x1``, so that ``plane[y0:y1, x0:x1]`` is its content.
"""

import numpy as np
import numpy.typing as npt

from napari_sam.structures.arrays import BoolMask, Coordinates, HalfOpenBox


def yx_to_xy(points_yx: npt.ArrayLike) -> Coordinates:
    """Swap row and column.

    Parameters
    ----------
    points_yx : (..., 2) array-like
        Row, column.

    Returns
    -------
    (..., 2) float64 array
        Column, row; a new array.
    """
    points = np.asarray(points_yx, dtype=np.float64)
    return np.ascontiguousarray(points[..., ::-1])


def box_yx_to_xy(box_yx: npt.ArrayLike) -> Coordinates:
    """Reorder box corners for the model.

    Parameters
    ----------
    box_yx : (..., 4) array-like
        ``y0, x0, y1, x1``.

    Returns
    -------
    (..., 4) float64 array
        ``x0, y0, x1, y1``; a new array.
    """
    boxes = np.asarray(box_yx, dtype=np.float64)
    return np.ascontiguousarray(boxes[..., [1, 0, 3, 2]])


def half_open_to_xywh(box_yx: HalfOpenBox) -> list[int]:
    """Write a box the way the reference's records do.

    Parameters
    ----------
    box_yx : (y0, x0, y1, x1)
        Half-open box in whole pixels; an empty one has ``y0 == y1`` and ``x0 == x1``.

    Returns
    -------
    list of 4 int
        ``[x, y, w, h]`` of the box of *inclusive* pixel indices, so that a single pixel
        and an empty box both have a width and a height of 0.
    """
    y0, x0, y1, x1 = box_yx
    return [x0, y0, max(x1 - x0 - 1, 0), max(y1 - y0 - 1, 0)]


def mask_bounding_box(mask: BoolMask) -> HalfOpenBox | None:
    """Find the smallest box that holds a mask.

    Parameters
    ----------
    mask : (H, W) bool array
        One mask.

    Returns
    -------
    (y0, x0, y1, x1) or None
        Half-open box in whole pixels, None for an empty mask.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def union_box(first: HalfOpenBox, second: HalfOpenBox) -> HalfOpenBox:
    """Smallest half-open box around two others."""
    return (
        min(first[0], second[0]),
        min(first[1], second[1]),
        max(first[2], second[2]),
        max(first[3], second[3]),
    )


def intersect_boxes(first: HalfOpenBox, second: HalfOpenBox) -> HalfOpenBox | None:
    """Return the half-open box that both boxes cover, or None."""
    y0, x0 = max(first[0], second[0]), max(first[1], second[1])
    y1, x1 = min(first[2], second[2]), min(first[3], second[3])
    return (y0, x0, y1, x1) if y0 < y1 and x0 < x1 else None


def grow_box(
    box_yx: HalfOpenBox, margin_px: int, shape: tuple[int, int]
) -> HalfOpenBox:
    """Widen a half-open box on all sides without leaving a plane of this shape."""
    y0, x0, y1, x1 = box_yx
    return (
        max(y0 - margin_px, 0),
        max(x0 - margin_px, 0),
        min(y1 + margin_px, shape[0]),
        min(x1 + margin_px, shape[1]),
    )


def sort_box(box_yx: npt.ArrayLike) -> Coordinates:
    """Put box corners in order, whichever two opposite corners were given.

    Parameters
    ----------
    box_yx : (..., 4) array-like
        ``y0, x0, y1, x1`` with the corners in any order.

    Returns
    -------
    (..., 4) float64 array
        The same boxes with ``y0 <= y1`` and ``x0 <= x1``.
    """
    boxes = np.asarray(box_yx, dtype=np.float64)
    first, second = boxes[..., :2], boxes[..., 2:]
    corners = [np.minimum(first, second), np.maximum(first, second)]
    return np.concatenate(corners, axis=-1)


def clip_box(box_yx: npt.ArrayLike, shape: tuple[int, int]) -> Coordinates:
    """Cut boxes at the borders of a plane.

    Parameters
    ----------
    box_yx : (..., 4) array-like
        Sorted ``y0, x0, y1, x1``.
    shape : (H, W)
        Size of the plane.

    Returns
    -------
    (..., 4) float64 array
        Boxes within ``[0, H]`` and ``[0, W]``; one that lay outside has no area left.
    """
    height, width = shape
    limits = np.array([height, width, height, width], dtype=np.float64)
    return np.clip(np.asarray(box_yx, dtype=np.float64), 0.0, limits)
