# SPDX-License-Identifier: Apache-2.0
"""An annotator's objects, prompts and labels as a value, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.annotation.history import DraftChange
from napari_sam.annotation.object_changes import unknown_objects
from napari_sam.annotation.objects import ObjectChange, ObjectTable
from napari_sam.annotation.state import AnnotationState
from napari_sam.errors import LabelsError
from napari_sam.structures.geometry import mask_bounding_box
from napari_sam.structures.labels import LabelEdit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_sam.annotation.annotator import Annotator
    from napari_sam.annotation.objects import AnnotatedObject
    from napari_sam.annotation.ports import LabelStore, PlaneKey
    from napari_sam.structures.arrays import LabelImage


def snapshot(
    annotator: Annotator,
    *,
    image_identity: str,
    shape: tuple[int, ...],
    labels: Mapping[PlaneKey, LabelImage] | None = None,
    **facts: Any,
) -> AnnotationState:
    """Return objects, prompts, settings and labels as they stand.

    Parameters
    ----------
    annotator : Annotator
        What is described.
    image_identity : str
        Hash of the image's pixels.
    shape : tuple of int
        Shape of the label image.
    labels : mapping of PlaneKey to (H, W) array, optional
        Planes that are known to hold labels, if somebody has looked.
    **facts
        Further fields of `AnnotationState`: names, dtype, view, model.

    Returns
    -------
    AnnotationState
        With those labels, and with each plane that holds an object of the table.
    """
    drafts = dict(annotator.ledger.drafts)
    here = None if annotator.plane is None else drafts.pop(annotator.plane, None)
    labels = {} if labels is None else dict(labels)
    for known in annotator.objects:
        if known.plane not in labels:
            whole = _whole(known.plane, shape)
            labels[known.plane] = annotator.labels.read(known.plane, whole)
    return AnnotationState(
        image_identity=image_identity,
        shape=shape,
        settings=annotator.settings,
        objects=tuple(annotator.objects),
        labels=labels,
        draft=here,
        other_drafts=tuple(drafts.values()),
        **facts,
    )


def restore(
    annotator: Annotator, state: AnnotationState, shape: tuple[int, ...]
) -> None:
    """Replace labels, objects and prompts by those of a state; history begins anew.

    Parameters
    ----------
    annotator : Annotator
        Of the image that the state is of.
    state : AnnotationState
        What to continue.
    shape : tuple of int
        Shape of the annotator's label image.

    Raises
    ------
    LabelsError
        If the shapes differ or the labels cannot be written; nothing has changed then.
    """
    if tuple(shape) != tuple(state.shape):
        msg = (
            f"The annotation is of an image of {tuple(state.shape)}; these labels have "
            f"the shape {tuple(shape)}. Open the image that it belongs to."
        )
        raise LabelsError(msg)
    ledger = annotator.ledger
    known = {known.plane for known in annotator.objects}
    edits = [
        (plane, edit)
        for plane in {**state.labels, **dict.fromkeys(known)}
        if (edit := _difference(annotator.labels, plane, state)) is not None
    ]
    _write_all(annotator.labels, edits)
    ledger.history.clear()
    ledger.objects = ObjectTable()  # a new one: the order is that of the state
    ledger.note([ObjectChange(None, each) for each in state.objects])
    for plane in state.labels:
        whole = _whole(plane, state.shape)
        shape_2d = (whole[2], whole[3])
        ledger.note(unknown_objects(ledger.objects, annotator.labels, plane, shape_2d))
    annotator.settings = state.settings
    drafts = [
        draft for draft in (*state.other_drafts, state.draft) if draft is not None
    ]
    for plane, draft in {d.plane: d for d in ledger.drafts.values()}.items():
        if plane not in {d.plane for d in drafts}:
            annotator.take_draft(DraftChange(draft, None))
    for draft in drafts:
        annotator.take_draft(DraftChange(ledger.drafts.get(draft.plane), draft))
    annotator.objects_changed.emit(())
    annotator.history_changed.emit()


def recall(annotator: Annotator, objects: Iterable[AnnotatedObject]) -> None:
    """Tell an annotator what was known of objects in its labels.

    Those whose pixels are others by now are left out: they count as painted.

    Parameters
    ----------
    annotator : Annotator
        One that has not met these objects.
    objects : iterable of AnnotatedObject
        As they were left.
    """
    changes = []
    for known in objects:
        is_there = annotator.labels.read(known.plane, known.box) == known.object_id
        if np.count_nonzero(is_there) == known.area:
            changes.append(ObjectChange(annotator.objects.get(known.key), known))
    annotator.ledger.note(changes)
    annotator.objects_changed.emit(tuple(changes))


def _whole(plane: PlaneKey, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    return 0, 0, shape[plane.axes[0]], shape[plane.axes[1]]


def _difference(
    labels: LabelStore, plane: PlaneKey, state: AnnotationState
) -> LabelEdit | None:
    """Return the edit that makes a plane what the state says; None if it is that."""
    whole = _whole(plane, state.shape)
    old = labels.read(plane, whole)
    wanted = state.labels.get(plane)
    new = np.zeros_like(old) if wanted is None else wanted
    if new.shape != old.shape:
        msg = (
            f"The annotation's plane {plane.index} has the shape {new.shape}; these "
            f"labels have {old.shape}. Open the image that it belongs to."
        )
        raise LabelsError(msg)
    limit = int(np.iinfo(old.dtype).max)
    if int(new.max(initial=0)) > limit:
        msg = (
            f"The annotation has ids up to {int(new.max())}; these labels are "
            f"{old.dtype} and hold {limit}. Convert the layer to uint32."
        )
        raise LabelsError(msg)
    box = mask_bounding_box(old != new)
    if box is None:
        return None
    y0, x0, y1, x1 = box
    where = np.s_[y0:y1, x0:x1]
    return LabelEdit(box, old[where], new[where].astype(old.dtype))


def _write_all(labels: LabelStore, edits: list[tuple[PlaneKey, LabelEdit]]) -> None:
    """Write all edits or none."""
    for i, (plane, edit) in enumerate(edits):
        try:
            labels.write(plane, edit)
        except Exception:
            for done_plane, done in reversed(edits[:i]):
                labels.write(done_plane, done.inverse())
            raise
