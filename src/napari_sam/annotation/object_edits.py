# SPDX-License-Identifier: Apache-2.0
"""Steps on objects that exist: delete, merge, split, paint, write many at once.

Each function looks at labels and table and returns the step; nothing is changed here.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_sam.annotation.history import PlaneEdit, Step
from napari_sam.annotation.object_changes import touched_objects
from napari_sam.annotation.objects import ObjectChange, Status
from napari_sam.errors import LabelsError
from napari_sam.structures.geometry import mask_bounding_box, union_box
from napari_sam.structures.labels import LabelEdit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.annotation.objects import AnnotatedObject, ObjectKey, ObjectTable
    from napari_sam.annotation.ports import LabelStore
    from napari_sam.structures.arrays import BoolMask, HalfOpenBox, LabelImage

CHANGEABLE = ("class_name", "status", "is_locked")
MAX_LOOKS = 4
"""Objects are gone through one by one while their boxes have at most this many times
the pixels of the box around all. Looking for all ids at once sorts its pixels if ids
are far apart, which takes more than a second on a large plane."""


def delete_step(
    table: ObjectTable, labels: LabelStore, keys: Sequence[ObjectKey]
) -> Step:
    """Make background of some objects."""
    objects = unlocked(table, keys)
    edits = []
    for plane in dict.fromkeys(known.plane for known in objects):
        here = [known for known in objects if known.plane == plane]
        box = functools.reduce(union_box, (known.box for known in here))
        old = labels.read(plane, box)
        new = renamed(old, box, here, 0)
        edits.append(PlaneEdit(plane, LabelEdit(box, old, new)))
    return Step(
        _plural("Delete", objects),
        edits=tuple(edits),
        objects=tuple(ObjectChange(known, None) for known in objects),
    )


def merge_step(
    table: ObjectTable, labels: LabelStore, keys: Sequence[ObjectKey]
) -> Step:
    """Give the pixels of some objects of one plane to the first of them."""
    objects = unlocked(table, list(dict.fromkeys(keys)))
    if len(objects) < 2 or len({known.plane for known in objects}) > 1:
        msg = "Merging needs two or more objects of one plane. Select them first."
        raise LabelsError(msg)
    target, *others = objects
    box = functools.reduce(union_box, (known.box for known in objects))
    old = labels.read(target.plane, box)
    new = renamed(old, box, others, target.object_id)
    merged = replace(
        target,
        box=box,
        area=sum(known.area for known in objects),
        seconds=sum(known.seconds for known in objects),
        status=Status.EDITED,
    )
    return Step(
        f"Merge {len(objects)} objects",
        edits=(PlaneEdit(target.plane, LabelEdit(box, old, new)),),
        objects=(
            ObjectChange(target, merged),
            *(ObjectChange(other, None) for other in others),
        ),
    )


def renamed(
    old: LabelImage, box: HalfOpenBox, objects: Sequence[AnnotatedObject], to: int
) -> LabelImage:
    """Give the pixels of some objects another id.

    Parameters
    ----------
    old : (h, w) integer array
        Labels of a box around all of the objects; they stay.
    box : (y0, x0, y1, x1)
        That box.
    objects : sequence of AnnotatedObject
        Of one plane.
    to : int
        Another id, or 0.
    """
    places = [
        np.s_[y0 - box[0] : y1 - box[0], x0 - box[1] : x1 - box[1]]
        for y0, x0, y1, x1 in (known.box for known in objects)
    ]
    new = old.copy()
    if sum(new[place].size for place in places) > MAX_LOOKS * new.size:
        new[np.isin(old, [known.object_id for known in objects])] = to
        return new
    for known, place in zip(objects, places, strict=True):
        # A box may hold others, renamed already or not: `old` says who is who.
        new[place][old[place] == known.object_id] = to
    return new


def split_step(
    table: ObjectTable,
    labels: LabelStore,
    key: ObjectKey,
    line_yx: Sequence[tuple[float, float]],
) -> Step:
    """Cut an object along a line; the largest part keeps the id.

    Raises
    ------
    LabelsError
        If the line does not cut the object in two, or the object is locked.
    """
    (known,) = unlocked(table, [key])
    y0, x0 = known.box[:2]
    old = labels.read(known.plane, known.box)
    mask = old == known.object_id
    parts = cut(mask, [(y - y0, x - x0) for y, x in line_yx])
    n_parts = int(parts.max(initial=0))
    if n_parts < 2:
        msg = (
            f"The line does not cut object {known.object_id} in two. Draw it across "
            "the whole object, from outside to outside."
        )
        raise LabelsError(msg)
    order = np.argsort(-np.bincount(parts.ravel())[1:], kind="stable") + 1
    first_new = labels.next_id()
    new, after = old.copy(), []
    for rank, part in enumerate(order):
        piece = parts == part
        object_id = known.object_id if rank == 0 else first_new + rank - 1
        _check_fits(object_id, old)
        new[piece] = object_id
        top, left, bottom, right = mask_bounding_box(piece) or (0, 0, 0, 0)
        after.append(
            replace(
                known,
                object_id=object_id,
                box=(y0 + top, x0 + left, y0 + bottom, x0 + right),
                area=int(np.count_nonzero(piece)),
                status=Status.EDITED,
                # The prompts meant the whole: a part is refined from its own mask.
                turns=(),
                seconds=known.seconds if rank == 0 else 0.0,
            )
        )
    return Step(
        f"Split object {known.object_id}",
        edits=(PlaneEdit(known.plane, LabelEdit(known.box, old, new)),),
        objects=(
            ObjectChange(known, after[0]),
            *(ObjectChange(None, part) for part in after[1:]),
        ),
    )


def cut(mask: BoolMask, line_yx: Sequence[tuple[float, float]]) -> Any:
    """Return the numbered parts that a line cuts a mask into, (h, w); 0 is outside.

    Pixels under the line belong to the nearest part.
    """
    vertices = np.asarray(line_yx, dtype=float)
    on_line = np.zeros_like(mask)
    for start, stop in itertools.pairwise(vertices):
        n = int(2 * np.abs(stop - start).max()) + 2
        yx = np.rint(np.linspace(start, stop, n)).astype(int)
        # Pixels that touch with a corner belong together, as in the commit rule; so a
        # diagonal step of the line takes the corner along, or they would slip through.
        corners = np.stack([yx[:-1, 0], yx[1:, 1]], axis=1)
        yx = np.concatenate([yx, corners])
        is_inside = ((yx >= 0) & (yx < mask.shape)).all(axis=1)
        on_line[tuple(yx[is_inside].T)] = True
    parts, n_parts = ndimage.label(mask & ~on_line, structure=np.ones((3, 3)))
    if n_parts == 0:
        return parts
    nearest = ndimage.distance_transform_edt(
        parts == 0, return_distances=False, return_indices=True
    )
    return np.where(mask, parts[tuple(nearest)], 0)


def change_step(table: ObjectTable, keys: Sequence[ObjectKey], **fields: Any) -> Step:
    """Change class, status or lock of some objects.

    Raises
    ------
    LabelsError
        If a field cannot be changed, or an object does not exist.
    """
    wrong = [name for name in fields if name not in CHANGEABLE]
    if wrong or not fields:
        msg = f"Of an object, {', '.join(CHANGEABLE)} can be changed, not {wrong}."
        raise LabelsError(msg)
    if "status" in fields:
        fields["status"] = _status(fields["status"])
    changes = [
        ObjectChange(known, replace(known, **fields))
        for known in (table[key] for key in dict.fromkeys(keys))
    ]
    changes = [change for change in changes if change.before != change.after]
    return Step(
        _plural("Change", [change.after for change in changes if change.after]),
        objects=tuple(changes),
    )


def painting_step(
    table: ObjectTable, labels: LabelStore, edits: Sequence[PlaneEdit]
) -> Step:
    """Describe pixels that the user has changed with other tools.

    Parameters
    ----------
    table : ObjectTable
        The objects before.
    labels : LabelStore
        The labels, changed already.
    edits : sequence of PlaneEdit
        What was changed; at most one edit of a plane.
    """
    changes: dict[ObjectKey, ObjectChange] = {}
    edits = [item for item in edits if (item.edit.old != item.edit.new).any()]
    for plane_edit in edits:
        plane, edit = plane_edit.plane, plane_edit.edit
        found = touched_objects(table, labels, plane, edit, status=Status.EDITED)
        for object_id, change in found.items():
            changes[plane, object_id] = change
    return Step("Paint", edits=tuple(edits), objects=tuple(changes.values()))


def unlocked(table: ObjectTable, keys: Sequence[ObjectKey]) -> list[AnnotatedObject]:
    """Return objects, at least one; raises LabelsError if one is locked."""
    objects = [table[key] for key in dict.fromkeys(keys)]
    locked = [known.object_id for known in objects if known.is_locked]
    if locked:
        msg = f"Object {locked[0]} is locked. Unlock it first."
        raise LabelsError(msg)
    if not objects:
        msg = "No object is selected. Select one in the table or in the image."
        raise LabelsError(msg)
    return objects


def _status(name: str) -> Status:
    try:
        return Status(name)
    except ValueError as error:
        msg = f"A status is one of {', '.join(Status)}, not {name!r}."
        raise LabelsError(msg) from error


def _check_fits(object_id: int, labels: Any) -> None:
    limit = int(np.iinfo(labels.dtype).max)
    if object_id > limit:
        msg = (
            f"Id {object_id} does not fit into {labels.dtype} (up to {limit}). Convert "
            "the labels layer to uint32."
        )
        raise LabelsError(msg)


def _plural(verb: str, objects: Sequence[AnnotatedObject]) -> str:
    if len(objects) == 1:
        return f"{verb} object {objects[0].object_id}"
    return f"{verb} {len(objects)} objects"
