# SPDX-License-Identifier: Apache-2.0
"""What an edit of labels means for the objects: sizes, boxes, who is gone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_sam.annotation.objects import AnnotatedObject, ObjectChange, Origin, Status
from napari_sam.structures.geometry import mask_bounding_box, union_box

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from napari_sam.annotation.objects import ObjectTable
    from napari_sam.annotation.ports import LabelStore, PlaneKey
    from napari_sam.structures.arrays import HalfOpenBox, LabelImage
    from napari_sam.structures.labels import LabelEdit


MAX_COUNTED_ID = 1_000_000
"""Ids up to this are counted directly, which is ten times as fast as sorting pixels."""


def touched_objects(
    table: ObjectTable,
    labels: LabelStore,
    plane: PlaneKey,
    edit: LabelEdit,
    *,
    status: Status | None = None,
) -> dict[int, ObjectChange]:
    """Tell how an edit changes the objects whose pixels it gives or takes.

    Parameters
    ----------
    table : ObjectTable
        The objects before the edit.
    labels : LabelStore
        The labels before or after the edit: only pixels outside `edit` are read.
    plane : PlaneKey
        Where.
    edit : LabelEdit
        What is written.
    status : Status, optional
        What changed objects become; by default they keep theirs.

    Returns
    -------
    dict of int to ObjectChange
        By id. A new id that nobody knew is a painted object; one that `edit` found in
        the labels stays unknown, as its size cannot be told from here.
    """
    changes: dict[int, ObjectChange] = {}
    is_changed = edit.old != edit.new
    if not is_changed.any():
        return changes
    lost = _count(edit.old[is_changed])
    won = _count(edit.new[is_changed])
    for object_id in sorted(lost.keys() | won.keys()):
        before = table.get((plane, object_id))
        if before is None and np.any(edit.old == object_id):
            continue
        delta = won.get(object_id, 0) - lost.get(object_id, 0)
        box = _box_after(before, labels, plane, edit, object_id)
        if box is None:
            if before is not None:
                changes[object_id] = ObjectChange(before, None)
        elif before is None:
            here = int(np.count_nonzero(edit.new == object_id))
            painted = AnnotatedObject(
                object_id, plane, box, here, origin=Origin.PAINTED
            )
            changes[object_id] = ObjectChange(None, painted)
        else:
            after = replace(
                before,
                box=box,
                area=before.area + delta,
                status=before.status if status is None else status,
            )
            changes[object_id] = ObjectChange(before, after)
    return changes


def unknown_objects(
    table: ObjectTable, labels: LabelStore, plane: PlaneKey, shape: tuple[int, int]
) -> list[ObjectChange]:
    """Find objects of a plane that are in the labels and not in the table."""
    image = labels.read(plane, (0, 0, *shape))
    return [
        ObjectChange(
            None, AnnotatedObject(object_id, plane, box, area, origin=Origin.PAINTED)
        )
        for object_id, box, area in measured(image)
        if (plane, object_id) not in table
    ]


def measured(image: LabelImage) -> Iterator[tuple[int, HalfOpenBox, int]]:
    """Yield id, half-open box and area of each object of a label image."""
    highest = int(image.max(initial=0))
    if highest <= 0:
        return
    ids: npt.NDArray[np.integer] | None = None
    compact: npt.NDArray[np.integer] = image
    if highest > MAX_COUNTED_ID:
        ids, compact = np.unique(image, return_inverse=True)
        compact = compact.reshape(image.shape)
        if ids[0] != 0:  # no background: begin counting at 1
            ids, compact = np.concatenate([[0], ids]), compact + 1
    compact = compact.astype(np.int32, copy=False)
    for index, place in enumerate(ndimage.find_objects(compact), start=1):
        if place is not None:
            rows, columns = place
            box = (rows.start, columns.start, rows.stop, columns.stop)
            area = int(np.count_nonzero(compact[place] == index))
            yield int(index if ids is None else ids[index]), box, area


def _count(values: LabelImage) -> dict[int, int]:
    """Count the pixels of each id; background apart."""
    ids, counts = np.unique(values, return_counts=True)
    return {int(i): int(n) for i, n in zip(ids, counts, strict=True) if i}


def _box_after(
    before: AnnotatedObject | None,
    labels: LabelStore,
    plane: PlaneKey,
    edit: LabelEdit,
    object_id: int,
) -> HalfOpenBox | None:
    """Tight box of an object after an edit; None if nothing is left of it."""
    y0, x0, y1, x1 = edit.box
    box = edit.box if before is None else union_box(edit.box, before.box)
    if box == edit.box:
        mask = edit.new == object_id
    else:
        image = labels.read(plane, box)
        top, left = y0 - box[0], x0 - box[1]
        image[top : top + y1 - y0, left : left + x1 - x0] = edit.new
        mask = image == object_id
    found = mask_bounding_box(mask)
    if found is None:
        return None
    top, left, bottom, right = found
    return box[0] + top, box[1] + left, box[0] + bottom, box[1] + right
