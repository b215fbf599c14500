# SPDX-License-Identifier: Apache-2.0
"""What an accepted mask may do to labels that exist already: a pure rule."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import LabelsError
from napari_sam.structures.labels import LabelEdit

if TYPE_CHECKING:
    from napari_sam.structures.arrays import BoolMask, HalfOpenBox, LabelImage


class Overlap(StrEnum):
    """What happens to pixels that belong to another object."""

    KEEP = "keep"
    """The older object keeps them."""
    OVERWRITE = "overwrite"
    """The new object takes them."""


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
