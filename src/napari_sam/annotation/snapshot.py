# SPDX-License-Identifier: Apache-2.0
"""An annotator's objects, prompts and labels as a value, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.annotation.history import DraftChange, PlaneEdit, Step
from napari_sam.annotation.object_changes import measured, unknown_objects
from napari_sam.annotation.objects import AnnotatedObject, ObjectChange, Origin
from napari_sam.annotation.ports import PlaneKey
from napari_sam.annotation.state import AnnotationState
from napari_sam.errors import LabelsError
from napari_sam.structures.geometry import mask_bounding_box
from napari_sam.structures.labels import LabelEdit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_sam.annotation.annotator import Annotator
    from napari_sam.annotation.ledger import Ledger
    from napari_sam.annotation.ports import LabelStore
    from napari_sam.annotation.state import LabelPlane
    from napari_sam.structures.arrays import HalfOpenBox, LabelImage


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
    annotator: Annotator,
    state: AnnotationState,
    shape: tuple[int, ...],
    planes: Iterable[PlaneKey] = (),
) -> None:
    """Replace labels and objects by those of a state, as one step that can be undone.

    The commit rule and the prompts that were not accepted are replaced as well; they
    are not part of the step. Objects that were known by the same key keep their place
    in the order.

    Parameters
    ----------
    annotator : Annotator
        Of the image that the state is of.
    state : AnnotationState
        What to continue.
    shape : tuple of int
        Shape of the annotator's label image.
    planes : iterable of PlaneKey
        Planes that hold labels which the annotator may not have met.

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
    step = _opening_step(ledger, state, planes)
    if step.edits or step.objects:
        ledger.do(step)
    annotator.settings = state.settings
    drafts = [
        draft for draft in (*state.other_drafts, state.draft) if draft is not None
    ]
    for plane, draft in {d.plane: d for d in ledger.drafts.values()}.items():
        if plane not in {d.plane for d in drafts}:
            annotator.take_draft(DraftChange(draft, None))
    for draft in drafts:
        annotator.take_draft(DraftChange(ledger.drafts.get(draft.plane), draft))
    # Prompts and rule are in no step: whoever keeps a journal begins it anew.
    annotator.objects_changed.emit(())
    annotator.history_changed.emit()


def recall(annotator: Annotator, objects: Iterable[AnnotatedObject]) -> None:
    """Tell an annotator what was known of objects in its labels.

    Those whose size or place is another by now are left out: they count as painted.

    Parameters
    ----------
    annotator : Annotator
        One that knows of the labels at most what can be seen in them.
    objects : iterable of AnnotatedObject
        As they were left.
    """
    found: dict[PlaneKey, dict[int, tuple[HalfOpenBox, int]]] = {}
    changes = []
    for known in objects:
        plane = known.plane
        if plane not in found:
            whole = (0, 0, *annotator.source.plane_shape(plane))
            image = annotator.labels.read(plane, whole)
            found[plane] = {i: (box, area) for i, box, area in measured(image)}
        if found[plane].get(known.object_id) == (known.box, known.area):
            changes.append(ObjectChange(annotator.objects.get(known.key), known))
    annotator.ledger.note(changes)
    annotator.objects_changed.emit(tuple(changes))


def _opening_step(
    ledger: Ledger, state: AnnotationState, planes: Iterable[PlaneKey]
) -> Step:
    """Return the step that makes labels and objects those of a state."""
    met = (known.plane for known in ledger.objects)
    wanted = _wanted(state, (*state.labels, *met, *planes))
    edits = tuple(
        PlaneEdit(plane, edit)
        for plane, labels in wanted.items()
        if (edit := _difference(ledger.labels, plane, state.shape, labels)) is not None
    )
    return Step("Open annotation", edits=edits, objects=_exchange(ledger, state, edits))


def _wanted(
    state: AnnotationState, planes: Iterable[PlaneKey]
) -> dict[PlaneKey, LabelPlane | None]:
    """Return what planes are to hold, None being background.

    Planes that cross each other give parallel ones instead: of two edits of one pixel,
    the second would not know the first.
    """
    for plane, labels in state.labels.items():
        size = _whole(plane, state.shape)[2:]
        if labels.shape != size:
            msg = (
                f"The annotation's plane {plane.index} has the shape {labels.shape}; "
                f"these labels have {size}. Open the image that it belongs to."
            )
            raise LabelsError(msg)
    concerned = dict.fromkeys(planes)
    if len({plane.axes for plane in concerned}) <= 1:
        return {plane: state.labels.get(plane) for plane in concerned}
    image = state.label_image()
    axes = (image.ndim - 2, image.ndim - 1)
    return {
        PlaneKey(axes, index): image[index] for index in np.ndindex(image.shape[:-2])
    }


def _exchange(
    ledger: Ledger, state: AnnotationState, edits: Iterable[PlaneEdit]
) -> tuple[ObjectChange, ...]:
    """Replace all objects by those of a state and by what else is in its labels."""
    before = {known.key: known for known in ledger.objects}
    for edit in edits:
        whole = _whole(edit.plane, state.shape)
        size = (whole[2], whole[3])
        # On planes that were never shown; undo has to bring them back as well.
        for change in unknown_objects(ledger.objects, ledger.labels, edit.plane, size):
            if change.after is not None:
                before[change.after.key] = change.after
    after = {known.key: known for known in state.objects}
    for plane, labels in state.labels.items():
        for object_id, box, area in measured(labels.astype(np.uint32)):
            painted = AnnotatedObject(
                object_id, plane, box, area, origin=Origin.PAINTED
            )
            after.setdefault(painted.key, painted)
    gone = [ObjectChange(old, None) for key, old in before.items() if key not in after]
    here = [
        ObjectChange(before.get(key), new)
        for key, new in after.items()
        if ledger.objects.get(key) != new
    ]
    return (*gone, *here)


def _whole(plane: PlaneKey, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    return 0, 0, shape[plane.axes[0]], shape[plane.axes[1]]


def _difference(
    labels: LabelStore,
    plane: PlaneKey,
    shape: tuple[int, ...],
    wanted: LabelPlane | None,
) -> LabelEdit | None:
    """Return the edit that makes a plane what is wanted; None if it is that."""
    old = labels.read(plane, _whole(plane, shape))
    new = np.zeros_like(old) if wanted is None else wanted
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
    # Copies: the history keeps them, and a view would keep the whole plane.
    return LabelEdit(box, old[where].copy(), new[where].astype(old.dtype))
