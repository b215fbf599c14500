# SPDX-License-Identifier: Apache-2.0
"""What becomes of a mask, and what it may do to labels that exist: pure rules."""

from __future__ import annotations

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
    inside: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for point in points:
        y, x = round(point.yx[0]) - y0, round(point.yx[1]) - x0
        if 0 <= y < y1 - y0 and 0 <= x < x1 - x0:
            inside[point.label == 1].append((y, x))
    # Filled first: a speck in a hole belongs to what surrounds it.
    filled = _fill_holes(crop, inside[False])
    cleaned = np.zeros_like(mask)
    cleaned[y0:y1, x0:x1] = _keep_pieces(filled, inside[True])
    return cleaned


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


def plan_commit(
    mask: BoolMask,
    existing: LabelImage,
    box: HalfOpenBox,
    object_id: int,
    overlap: Overlap,
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
    writable = mask if overlap is Overlap.OVERWRITE else mask & (existing == 0)
    if not writable.any():
        msg = (
            "The whole mask lies on objects that exist already, which are kept. "
            "Choose to overwrite existing objects, or erase there first."
        )
        raise LabelsError(msg)
    new = np.where(writable, existing.dtype.type(object_id), existing)
    return LabelEdit(box=box, old=existing, new=new)
