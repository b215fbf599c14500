# SPDX-License-Identifier: Apache-2.0
"""What accepting a candidate would write, for the preview and for the commit alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam.annotation.commit_policy import (
    Overlap,
    plan_commit,
    shift_points,
    writable_part,
)
from napari_sam.structures.geometry import mask_bounding_box

if TYPE_CHECKING:
    from napari_sam.annotation.phases import Editing
    from napari_sam.annotation.ports import LabelStore
    from napari_sam.structures.arrays import BoolMask
    from napari_sam.structures.candidates import Candidates
    from napari_sam.structures.labels import LabelEdit


def planned_mask(
    phase: Editing, candidates: Candidates, labels: LabelStore, overlap: Overlap
) -> BoolMask:
    """Return the pixels that `planned_edit` would give to the new object.

    Returns
    -------
    (H, W) bool array
        Empty if nothing can be written.
    """
    mask: BoolMask = candidates.masks[phase.chosen]
    box = mask_bounding_box(mask)
    if box is None:
        return mask
    y0, x0, y1, x1 = box
    planned: BoolMask = np.zeros_like(mask)
    planned[y0:y1, x0:x1] = writable_part(
        mask[y0:y1, x0:x1],
        labels.read(phase.plane, box),
        _binding(labels, overlap),
        shift_points(phase.prompts.points, y0, x0),
    )
    return planned


def planned_edit(
    phase: Editing, candidates: Candidates, labels: LabelStore, overlap: Overlap
) -> tuple[int, LabelEdit]:
    """Return the id of the new object and the edit that writes it.

    Raises
    ------
    LabelsError
        If no pixel or no id is left.
    """
    mask = candidates.masks[phase.chosen]
    y0, x0, y1, x1 = box = mask_bounding_box(mask) or (0, 0, 1, 1)
    object_id = labels.next_id()
    edit = plan_commit(
        mask[y0:y1, x0:x1],
        labels.read(phase.plane, box),
        box,
        object_id,
        _binding(labels, overlap),
        shift_points(phase.prompts.points, y0, x0),
    )
    return object_id, edit


def _binding(labels: LabelStore, overlap: Overlap) -> Overlap:
    return Overlap.KEEP if labels.keeps_existing else overlap
