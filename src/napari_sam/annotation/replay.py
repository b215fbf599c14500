# SPDX-License-Identifier: Apache-2.0
"""Making the labels of an annotation again from its prompts.

The annotator itself does it, object by object, so what is compared is what a user would
get. Objects that no prompt explains (painted, edited, found by a grid) are taken as
they are, and nothing is taken from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.array_ports import ArrayLabels
from napari_sam.annotation.draft import Draft
from napari_sam.annotation.history import DraftChange, Step
from napari_sam.annotation.object_changes import measured
from napari_sam.annotation.objects import (
    AnnotatedObject,
    ObjectChange,
    Origin,
    Status,
)
from napari_sam.errors import NapariSamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam.annotation.ports import ImageSource, PlaneKey, Segmenter
    from napari_sam.annotation.state import AnnotationState

_Labels = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class ReplayedObject:
    """One object of the annotation, and what became of it.

    Attributes
    ----------
    item : AnnotatedObject
        As the annotation has it.
    iou : float
        Overlap of its pixels then and now; 1 if they are the same.
    taken : str
        Why it was taken as it is; empty if it was made again.
    problem : str
        Why it could not be made again, or empty.
    """

    item: AnnotatedObject
    iou: float = 1.0
    taken: str = ""
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Replay:
    """The labels made again.

    Attributes
    ----------
    labels : integer array
        The whole label image.
    objects : tuple of ReplayedObject
        In the order of the annotation.
    n_unknown : int
        Objects in the labels that the annotation says nothing of; taken as they are.
    """

    labels: _Labels
    objects: tuple[ReplayedObject, ...]
    n_unknown: int

    @property
    def remade(self) -> list[ReplayedObject]:
        """Objects that were made again from their prompts."""
        return [done for done in self.objects if not done.taken]

    @property
    def taken(self) -> list[ReplayedObject]:
        """Objects that were taken as they are."""
        return [done for done in self.objects if done.taken]

    def below(self, iou: float) -> list[ReplayedObject]:
        """Objects that are less alike than that, the worst first."""
        found = [done for done in self.remade if done.iou < iou]
        return sorted(found, key=lambda done: done.iou)


def replay(
    state: AnnotationState,
    segmenter: Segmenter,
    source: ImageSource,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Replay:
    """Make the labels of an annotation again.

    Parameters
    ----------
    state : AnnotationState
        What is known.
    segmenter : Segmenter
        The model; the result is only the same with the one that was used.
    source : ImageSource
        The image, shown as it was.
    progress : callable, optional
        Called with the number of objects done and of all.

    Returns
    -------
    Replay
    """
    reasons = {item.key: reason_to_take(item) for item in state.objects}
    before = state.label_image()
    made, n_unknown = _without(before, state, reasons)
    annotator = Annotator(source, _Store(made))
    annotator.settings = state.settings
    annotator.attach(segmenter)
    _lock_all(annotator, state, made)
    problems: dict[tuple[PlaneKey, int], str] = {}
    # Plane by plane, so that each is embedded once; order matters on a plane only.
    order = {item.plane: n for n, item in enumerate(reversed(state.objects))}
    queue = [item for item in state.objects if not reasons[item.key]]
    queue.sort(key=lambda item: -order[item.plane])
    for n_done, item in enumerate(queue, start=1):
        problems[item.key] = _make(annotator, item)
        if progress is not None:
            progress(n_done, len(queue))
    ious = _ious(state, before, made)
    return Replay(
        made,
        tuple(
            ReplayedObject(item, taken=reasons[item.key])
            if reasons[item.key]
            else ReplayedObject(
                item, iou=ious[item.key], problem=problems.get(item.key, "")
            )
            for item in state.objects
        ),
        n_unknown,
    )


def reason_to_take(item: AnnotatedObject) -> str:
    """Tell why prompts do not explain an object; empty if they do."""
    if item.status is Status.EDITED:
        return "edited by hand after it was accepted"
    if item.origin is Origin.GRID and not item.turns:
        return "found by a grid"
    if item.origin is Origin.CLASS and not item.turns:
        return "made of several masks of a class"
    return "" if item.turns else "painted by hand"


class _Store(ArrayLabels):
    """A label array that hands out the ids it is told."""

    def __init__(self, array: _Labels) -> None:
        super().__init__(array)
        self.id_to_give = 0

    def next_id(self) -> int:
        """Return the id of the object that is being made."""
        return self.id_to_give


def _whole(array: _Labels, plane: PlaneKey) -> _Labels:
    """Return a view of a plane."""
    view: _Labels = array[plane.locate(slice(None), slice(None))]
    return view


def _planes(state: AnnotationState) -> list[PlaneKey]:
    """List all planes that may hold something, once each."""
    return list(dict.fromkeys([*state.labels, *(o.plane for o in state.objects)]))


def _without(
    before: _Labels, state: AnnotationState, reasons: dict[tuple[PlaneKey, int], str]
) -> tuple[_Labels, int]:
    """Return the labels without what is made again, and how many nobody knows."""
    made = before.copy()
    n_unknown = 0
    for plane in _planes(state):
        here = _whole(made, plane)
        ids = [i for (where, i), reason in reasons.items() if where == plane]
        again = [i for i in ids if not reasons[plane, i]]
        here[np.isin(here, again)] = 0
        n_unknown += len(set(np.unique(_whole(before, plane)).tolist()) - {0, *ids})
    return made, n_unknown


def _lock_all(annotator: Annotator, state: AnnotationState, made: _Labels) -> None:
    """Let nothing be taken from what is there."""
    annotator.ledger.note(
        [
            ObjectChange(
                None, AnnotatedObject(object_id, plane, box, area, is_locked=True)
            )
            for plane in _planes(state)
            for object_id, box, area in measured(_whole(made, plane))
        ]
    )


def _make(annotator: Annotator, item: AnnotatedObject) -> str:
    """Prompt and accept one object; returns why that did not succeed, or nothing."""
    errors: list[Exception] = []
    store = annotator.labels
    if isinstance(store, _Store):
        store.id_to_give = item.object_id
    annotator.class_name = item.class_name
    draft = Draft(item.plane, item.turns)
    annotator.failed.connect(errors.append)
    try:
        annotator.ledger.do(Step("Replay", draft=DraftChange(None, draft)))
        annotator.commit()
        if item.is_locked:
            annotator.change([item.key], is_locked=True)
    except NapariSamError as error:
        errors.append(error)
        annotator.ledger.do(Step("Replay", draft=DraftChange(draft, None)))
    finally:
        annotator.failed.disconnect(errors.append)
        annotator.ledger.history.clear()
    return str(errors[0]) if errors else ""


def _ious(
    state: AnnotationState, before: _Labels, made: _Labels
) -> dict[tuple[PlaneKey, int], float]:
    """Compare each object's pixels in two label images."""
    ious: dict[tuple[PlaneKey, int], float] = {}
    for plane in dict.fromkeys(item.plane for item in state.objects):
        one, two = _whole(before, plane), _whole(made, plane)
        old, new, common = _areas(one), _areas(two), _areas(one[one == two])
        for item in state.objects:
            if item.plane == plane:
                i = item.object_id
                both = common.get(i, 0)
                union = old.get(i, 0) + new.get(i, 0) - both
                ious[item.key] = both / union if union else 1.0
    return ious


def _areas(labels: _Labels) -> dict[int, int]:
    ids, counts = np.unique(labels, return_counts=True)
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))
