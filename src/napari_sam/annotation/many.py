# SPDX-License-Identifier: Apache-2.0
"""Many masks written as one step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.annotation.commit_policy import plan_commit
from napari_sam.annotation.history import PlaneEdit, Step
from napari_sam.annotation.object_changes import touched_objects
from napari_sam.annotation.objects import ObjectChange
from napari_sam.annotation.planning import Site
from napari_sam.errors import LabelsError
from napari_sam.structures.geometry import mask_bounding_box, union_box
from napari_sam.structures.labels import LabelEdit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.annotation.commit_policy import CommitSettings
    from napari_sam.annotation.ledger import Ledger
    from napari_sam.annotation.objects import AnnotatedObject
    from napari_sam.structures.mask_window import MaskWindow


def write_step(
    ledger: Ledger,
    settings: CommitSettings,
    text: str,
    items: Sequence[tuple[MaskWindow, AnnotatedObject]],
) -> tuple[Step, list[AnnotatedObject]]:
    """Return the step that writes masks, and the objects it makes.

    The better predicted IoU goes first, so it keeps the pixels that two masks claim.

    Raises
    ------
    LabelsError
        If the labels' dtype has no ids left.
    """
    ranked = sorted(items, key=lambda item: -(item[1].predicted_iou or 0.0))
    edits: list[PlaneEdit] = []
    made: list[AnnotatedObject] = []
    others: list[ObjectChange] = []
    next_id = ledger.labels.next_id() if ranked else 0
    for plane in dict.fromkeys(item[1].plane for item in ranked):
        here = [
            (mask, known)
            for mask, known in ranked
            if known.plane == plane and mask.area
        ]
        if not here:
            continue
        site = Site(ledger.labels, ledger.objects, plane, settings)
        edit, written = _write_plane(site, here, next_id)
        next_id += len(written)
        if not written:
            continue
        edits.append(PlaneEdit(plane, edit))
        made += written
        ids = {known.object_id for known in written}
        touched = touched_objects(ledger.objects, ledger.labels, plane, edit)
        others += [change for i, change in touched.items() if i not in ids]
    changes = [ObjectChange(None, known) for known in made]
    return Step(text, edits=tuple(edits), objects=(*changes, *others)), made


def _write_plane(
    site: Site, items: Sequence[tuple[MaskWindow, AnnotatedObject]], first_id: int
) -> tuple[LabelEdit, list[AnnotatedObject]]:
    """Write masks into a copy of the box around all of them."""
    box = items[0][0].box
    for mask, _ in items[1:]:
        box = union_box(box, mask.box)
    old = site.labels.read(site.plane, box)
    new = old.copy()
    limit = int(np.iinfo(old.dtype).max)
    new_ids: list[int] = []
    made: list[AnnotatedObject] = []
    for mask, known in items:
        object_id = first_id + len(new_ids)
        if object_id > limit:
            msg = (
                f"The labels are {old.dtype} and hold ids up to {limit}. Convert the "
                "layer to uint32 to add more objects."
            )
            raise LabelsError(msg)
        y0, x0, y1, x1 = mask.box
        there = np.s_[y0 - box[0] : y1 - box[0], x0 - box[1] : x1 - box[1]]
        # What was written a moment ago is the better mask, whatever the rule says of
        # objects that were there before.
        kept = {*site.locked_ids, *new_ids}
        try:
            edit = plan_commit(
                mask.crop,
                new[there].copy(),
                mask.box,
                object_id,
                site.binding,
                locked_ids=kept,
            )
        except LabelsError:  # nothing of it is left to write
            continue
        new[there] = edit.new
        is_written = edit.new == object_id
        top, left, bottom, right = mask_bounding_box(is_written) or (0, 0, 0, 0)
        new_ids.append(object_id)
        made.append(
            replace(
                known,
                object_id=object_id,
                box=(y0 + top, x0 + left, y0 + bottom, x0 + right),
                area=int(np.count_nonzero(is_written)),
            )
        )
    return LabelEdit(box, old, new), made
