# SPDX-License-Identifier: Apache-2.0
"""Many masks written as one step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.annotation.commit_policy import LabelMode, plan_commit
from napari_sam.annotation.history import PlaneEdit, Step
from napari_sam.annotation.object_changes import touched_objects
from napari_sam.annotation.objects import ObjectChange, Origin
from napari_sam.annotation.planning import Site, known_value
from napari_sam.errors import LabelsError
from napari_sam.structures.geometry import mask_bounding_box, union_box
from napari_sam.structures.labels import LabelEdit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_sam.annotation.commit_policy import CommitSettings
    from napari_sam.annotation.ledger import Ledger
    from napari_sam.annotation.objects import AnnotatedObject
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.mask_window import MaskWindow


def write_step(
    ledger: Ledger,
    settings: CommitSettings,
    text: str,
    items: Sequence[tuple[MaskWindow, AnnotatedObject]],
) -> tuple[Step, list[AnnotatedObject]]:
    """Return the step that writes masks, and the objects it makes.

    The better predicted IoU goes first, so it keeps the pixels that two masks claim.
    In semantic mode, masks of one class on a plane become one object, or join the one
    that is there.

    Raises
    ------
    LabelsError
        If the labels' dtype has no ids left, or a class to be joined is locked.
    """
    ranked = sorted(items, key=lambda item: -(item[1].predicted_iou or 0.0))
    edits: list[PlaneEdit] = []
    made: list[AnnotatedObject] = []
    changes: list[ObjectChange] = []
    others: list[ObjectChange] = []
    is_semantic = settings.mode is LabelMode.SEMANTIC
    values = _Values(ledger.labels.next_id() if ranked else 0, is_semantic=is_semantic)
    for plane in dict.fromkeys(item[1].plane for item in ranked):
        here = [
            (mask, known)
            for mask, known in ranked
            if known.plane == plane and mask.area
        ]
        if not here:
            continue
        site = Site(ledger.labels, ledger.objects, plane, settings)
        edit, written = _write_plane(site, here, values)
        if not written:
            continue
        touched = touched_objects(ledger.objects, ledger.labels, plane, edit)
        if is_semantic:
            written = _by_class(site, written, touched)
            if not written:  # all of it was of its class already
                continue
        edits.append(PlaneEdit(plane, edit))
        made += written
        changes += [ObjectChange(ledger.objects.get(o.key), o) for o in written]
        ids = {known.object_id for known in written}
        others += [change for i, change in touched.items() if i not in ids]
    return Step(text, edits=tuple(edits), objects=(*changes, *others)), made


class _Values:
    """Ids for masks, given out as they are written.

    Parameters
    ----------
    next_id : int
        The first that is free.
    is_semantic : bool
        Whether a class has one value, instead of each mask an id of its own.
    """

    def __init__(self, next_id: int, *, is_semantic: bool) -> None:
        self._next_id = next_id
        self._is_semantic = is_semantic
        self._of_class: dict[str, int] = {}
        # Asked once for each class and plane: it goes through all objects.
        self._known: dict[tuple[PlaneKey, str], int | None] = {}

    def value_for(self, known: AnnotatedObject, site: Site) -> int:
        """Return the id that a mask gets if it can be written."""
        if not self._is_semantic:
            return self._next_id
        key = (site.plane, known.class_name)
        if key not in self._known:
            self._known[key] = known_value(site, known.class_name)
        value = self._known[key]
        if value is None:
            value = self._of_class.get(known.class_name)
        return self._next_id if value is None else value

    def take(self, object_id: int, known: AnnotatedObject) -> None:
        """Note that a mask was written with an id."""
        if object_id == self._next_id:
            self._next_id += 1
            self._of_class[known.class_name] = object_id


def _by_class(
    site: Site,
    written: Sequence[AnnotatedObject],
    touched: Mapping[int, ObjectChange],
) -> list[AnnotatedObject]:
    """Make one object of the masks of each class, with those that were there."""
    made = []
    for object_id in dict.fromkeys(known.object_id for known in written):
        change = touched.get(object_id)
        if change is None or change.after is None:
            continue
        masks = [known for known in written if known.object_id == object_id]
        before = site.objects.get((site.plane, object_id))
        all_of_it = masks if before is None else [before, *masks]
        made.append(
            replace(
                masks[0] if before is None else before,
                box=change.after.box,
                area=change.after.area,
                # No prompts mean the whole.
                turns=masks[0].turns if len(all_of_it) == 1 else (),
                class_name=masks[0].class_name,
                origin=Origin.CLASS,
                seconds=sum(known.seconds for known in all_of_it),
                # A lock would refuse the next mask of the class.
                is_locked=False,
            )
        )
    return made


def _write_plane(
    site: Site, items: Sequence[tuple[MaskWindow, AnnotatedObject]], values: _Values
) -> tuple[LabelEdit, list[AnnotatedObject]]:
    """Write masks into a copy of the box around all of them."""
    box = items[0][0].box
    for mask, _ in items[1:]:
        box = union_box(box, mask.box)
    old = site.labels.read(site.plane, box)
    new = old.copy()
    limit = int(np.iinfo(old.dtype).max)
    new_ids: set[int] = set()
    made: list[AnnotatedObject] = []
    for mask, known in items:
        object_id = values.value_for(known, site)
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
        kept = {*site.locked_ids, *new_ids} - {object_id}
        # A class may lie on itself; a new id is nowhere yet.
        existing = new[there].copy()
        existing[existing == object_id] = 0
        try:
            edit = plan_commit(
                mask.crop,
                existing,
                mask.box,
                object_id,
                site.binding,
                locked_ids=kept,
            )
        except LabelsError:  # nothing of it is left to write
            continue
        is_written = edit.new == object_id
        new[there][is_written] = object_id
        top, left, bottom, right = mask_bounding_box(is_written) or (0, 0, 0, 0)
        new_ids.add(object_id)
        values.take(object_id, known)
        made.append(
            replace(
                known,
                object_id=object_id,
                box=(y0 + top, x0 + left, y0 + bottom, x0 + right),
                area=int(np.count_nonzero(is_written)),
            )
        )
    return LabelEdit(box, old, new), made
