# SPDX-License-Identifier: Apache-2.0
"""What becomes of a mask, and what it may do to labels that exist: pure rules."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_sam.errors import LabelsError
from napari_sam.structures.geometry import mask_bounding_box
from napari_sam.structures.labels import LabelEdit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.structures.arrays import BoolMask, HalfOpenBox, LabelImage
    from napari_sam.structures.prompts import PointPrompt

MAX_HOLE_SHARE = 0.1
"""Holes up to this part of the mask are filled; a larger one makes it a ring."""
ALL_TAKEN = (
    "The whole mask lies on objects that exist already, which are kept. "
    "Choose to overwrite existing objects, or erase there first."
)
_WITH_CORNERS = np.ones((3, 3), dtype=np.bool_)


class Overlap(StrEnum):
    """What happens to pixels that belong to another object."""

    KEEP = "keep"
    """The older object keeps them."""
    OVERWRITE = "overwrite"
    """The new object takes them."""


def clean_mask(mask: BoolMask, points: Sequence[PointPrompt] = ()) -> BoolMask:
    """Make one piece without specks and pinholes of a model's mask.

    Parameters
    ----------
    mask : (H, W) bool array
        The model's answer.
    points : sequence of PointPrompt
        The points it answers. Pieces under a positive point stay; where there is
        none, the largest. A hole that holds a negative point stays open.

    Returns
    -------
    (H, W) bool array
        A new array, or `mask` itself if it is empty.
    """
    bounds = mask_bounding_box(mask)
    if bounds is None:
        return mask
    y0, x0, y1, x1 = bounds
    crop = mask[y0:y1, x0:x1]
    inside = _pixels_at(shift_points(points, y0, x0), crop.shape)
    # Filled first: a speck in a hole belongs to what surrounds it.
    filled = _fill_holes(crop, inside[False])
    cleaned = np.zeros_like(mask)
    cleaned[y0:y1, x0:x1] = _keep_pieces(filled, inside[True])
    return cleaned


def shift_points(points: Sequence[PointPrompt], y0: int, x0: int) -> list[PointPrompt]:
    """Points relative to another origin."""
    return [replace(p, yx=(p.yx[0] - y0, p.yx[1] - x0)) for p in points]


def _pixels_at(
    points: Sequence[PointPrompt], shape: tuple[int, ...]
) -> dict[bool, list[tuple[int, int]]]:
    """Pixels under the positive (True) and negative (False) points inside a shape."""
    inside: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for point in points:
        y, x = round(point.yx[0]), round(point.yx[1])
        if 0 <= y < shape[0] and 0 <= x < shape[1]:
            inside[point.label == 1].append((y, x))
    return inside


def _fill_holes(mask: BoolMask, open_at: Sequence[tuple[int, int]]) -> BoolMask:
    """Fill small holes, apart from those with a position of `open_at`."""
    holes, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    holes = holes[1:-1, 1:-1]
    areas = np.bincount(holes.ravel(), minlength=2)
    is_filled = areas <= MAX_HOLE_SHARE * np.count_nonzero(mask)
    is_filled[:2] = False  # the mask, and what is around it
    is_filled[[holes[position] for position in open_at]] = False
    return np.asarray(mask | is_filled[holes])


def _keep_pieces(mask: BoolMask, at: Sequence[tuple[int, int]]) -> BoolMask:
    """Keep the connected pieces at some positions, or else the largest."""
    pieces, n_pieces = ndimage.label(mask, structure=_WITH_CORNERS)
    is_kept = np.zeros(n_pieces + 1, dtype=np.bool_)
    is_kept[[pieces[position] for position in at]] = True
    is_kept[0] = False
    if not is_kept.any():
        is_kept[1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))] = True
    return np.asarray(is_kept[pieces])


def writable_part(
    mask: BoolMask,
    existing: LabelImage,
    overlap: Overlap,
    points: Sequence[PointPrompt] = (),
) -> BoolMask:
    """Leave out what existing objects keep, and the slivers that this cuts off.

    Parameters
    ----------
    mask : (h, w) bool array
        The mask, clean by itself.
    existing : (h, w) integer array
        The labels of the same pixels.
    overlap : Overlap
        Who owns pixels that both claim.
    points : sequence of PointPrompt
        Relative to the first pixel of `mask`. Pieces under a positive point stay;
        where there is none, the largest.

    Returns
    -------
    (h, w) bool array
        `mask` itself if it can be written whole; empty if nothing can be.
    """
    if overlap is Overlap.OVERWRITE:
        return mask
    free: BoolMask = mask & (existing == 0)
    if not free.any() or np.array_equal(free, mask):
        return free
    return _keep_pieces(free, _pixels_at(points, free.shape)[True])


def plan_commit(
    mask: BoolMask,
    existing: LabelImage,
    box: HalfOpenBox,
    object_id: int,
    overlap: Overlap,
    points: Sequence[PointPrompt] = (),
) -> LabelEdit:
    """Turn an accepted mask into an edit of its bounding box.

    Parameters
    ----------
    mask : (h, w) bool array
        The mask inside `box`.
    existing : (h, w) integer array
        The labels inside `box` now.
    box : (y0, x0, y1, x1)
        Half-open pixel box of the plane.
    object_id : int
        Id of the new object.
    overlap : Overlap
        Who owns pixels that both claim.
    points : sequence of PointPrompt
        The points that `mask` answers, relative to `box`; see `writable_part`.

    Returns
    -------
    LabelEdit
        Old and new labels of the box.

    Raises
    ------
    LabelsError
        If no pixel is left to write.
    """
    if not mask.any():
        msg = "The mask is empty, so there is nothing to accept. Add or move a prompt."
        raise LabelsError(msg)
    writable = writable_part(mask, existing, overlap, points)
    if not writable.any():
        raise LabelsError(ALL_TAKEN)
    new = np.where(writable, existing.dtype.type(object_id), existing)
    return LabelEdit(box=box, old=existing, new=new)
