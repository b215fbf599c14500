# SPDX-License-Identifier: Apache-2.0
"""The mask on offer, and the step that accepts it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.annotation.advice import Advice, advise
from napari_sam.annotation.choices import name_of
from napari_sam.annotation.commit_policy import LabelMode, Overlap
from napari_sam.annotation.draft import Draft
from napari_sam.annotation.history import DraftChange, PlaneEdit, Step
from napari_sam.annotation.object_changes import touched_objects
from napari_sam.annotation.object_edits import unlocked
from napari_sam.annotation.objects import (
    AnnotatedObject,
    ObjectChange,
    Origin,
    Status,
    Turn,
)
from napari_sam.annotation.phases import Editing
from napari_sam.annotation.planning import Site, planned_edit, planned_mask
from napari_sam.annotation.prompting import to_prompt_set
from napari_sam.errors import PhaseError
from napari_sam.structures.drawn import DrawnPrompts
from napari_sam.structures.geometry import mask_bounding_box
from napari_sam.structures.mask_window import MaskWindow

if TYPE_CHECKING:
    from napari_sam.annotation.commit_policy import CommitSettings
    from napari_sam.annotation.ledger import Ledger
    from napari_sam.annotation.objects import ObjectKey, ObjectTable
    from napari_sam.annotation.phases import Phase
    from napari_sam.annotation.ports import LabelStore
    from napari_sam.structures.candidates import Answer


@dataclass(frozen=True, eq=False)
class Shown:
    """The mask on offer.

    Attributes
    ----------
    mask : MaskWindow
        What `commit` would write now.
    answer : Answer
        All masks of the model.
    index : int
        Which of them is meant.
    order : tuple of int
        Indices in the order in which a key walks them.
    name : str
        "small", "medium", "large" or "single".
    is_pending : bool
        Whether a newer answer is on its way.
    """

    mask: MaskWindow
    answer: Answer
    index: int
    order: tuple[int, ...]
    name: str
    is_pending: bool = False

    @property
    def predicted_iou(self) -> float:
        """The model's own estimate of the mask."""
        return float(self.answer.predicted_iou[self.index])

    def next_index(self, step: int) -> int:
        """Index of the mask some steps further on in the order, and round."""
        at = self.order.index(self.index) if self.index in self.order else -step
        return self.order[(at + step) % len(self.order)]


@dataclass(frozen=True, slots=True)
class Credit:
    """What an accepted object is to remember beside its pixels.

    Attributes
    ----------
    class_name : str
    seconds : float
        Time spent on its prompts.
    model : str
        Name and hash of the model.
    """

    class_name: str
    seconds: float
    model: str


def reopened(table: ObjectTable, labels: LabelStore, key: ObjectKey) -> Draft:
    """Return the draft that edits an object again.

    Its prompts return; an object without is refined with its own mask as a prompt.

    Raises
    ------
    LabelsError
        If there is no such object, or it is locked.
    """
    known = unlocked(table, [key])[0]
    turns = known.turns
    if not turns:
        mask = labels.read(known.plane, known.box) == known.object_id
        window = MaskWindow.of_mask(mask, *known.box[:2])
        turns = (Turn(DrawnPrompts(mask=window)),)
    return Draft(known.plane, turns, known.object_id)


def frozen(draft: Draft, phase: Phase) -> Draft:
    """Write down which mask is shown, so that no later preference changes it."""
    if not isinstance(phase, Editing) or phase.draft != draft:
        return draft
    if phase.is_pending or phase.answered is None:
        return draft
    return draft.with_choice(phase.answered.index)


def site_of(
    phase: Editing,
    ledger: Ledger,
    settings: CommitSettings,
    class_name: str | None = None,
) -> Site:
    """Return where the mask of a draft is to be written."""
    return Site(
        labels=ledger.labels,
        objects=ledger.objects,
        plane=phase.plane,
        settings=settings,
        # Points alone say which pieces stay; the shape only clips scribbles.
        points=to_prompt_set(phase.prompts, (1 << 30, 1 << 30)).points,
        own_id=phase.draft.object_id,
        class_name=class_name,
    )


def advice_on(
    phase: Phase,
    ledger: Ledger,
    settings: CommitSettings,
    class_name: str | None = None,
) -> Advice | None:
    """Return what there is to point out about the mask on offer.

    The class that it is to get matters in semantic mode only.
    """
    if not isinstance(phase, Editing) or phase.answered is None:
        return None
    site = site_of(phase, ledger, settings, class_name)
    return advise(phase.answered, phase.draft, site)


def offer(
    phase: Editing,
    ledger: Ledger,
    settings: CommitSettings,
    class_name: str | None = None,
) -> Shown | None:
    """Return the mask on offer, None without an answer; see `advice_on`."""
    answered = phase.answered
    if answered is None:
        return None
    return Shown(
        mask=planned_mask(site_of(phase, ledger, settings, class_name), answered.mask),
        answer=answered.answer,
        index=answered.index,
        order=answered.order,
        name=name_of(answered.answer, answered.index),
        is_pending=phase.is_pending,
    )


def accepting_step(
    phase: Editing,
    ledger: Ledger,
    settings: CommitSettings,
    credit: Credit,
) -> tuple[Step, AnnotatedObject]:
    """Return the step that writes the mask on offer, and the object it makes.

    Parameters
    ----------
    phase : Editing
        With an answer.
    ledger : Ledger
        Labels and objects.
    settings : CommitSettings
        The rule.
    credit : Credit
        What to remember.

    Raises
    ------
    LabelsError
        If the mask cannot be written.
    PhaseError
        Without an answer.
    """
    answered, draft = phase.answered, phase.draft
    if answered is None:
        msg = "There is no mask yet, so there is nothing to accept: add a prompt first."
        raise PhaseError(msg)
    site = site_of(phase, ledger, settings, credit.class_name)
    object_id, edit = planned_edit(site, answered.mask, credit.class_name)
    changes = touched_objects(ledger.objects, ledger.labels, phase.plane, edit)
    before = ledger.objects.get((phase.plane, object_id))
    change = changes.pop(object_id, None)
    after = None if change is None else change.after
    if after is None:  # re-opened and accepted as it was
        after = before or _as_written(object_id, phase, edit.new == object_id, edit.box)
    chosen = draft.with_choice(answered.index)
    is_class = settings.mode is LabelMode.SEMANTIC and draft.object_id is None
    keeps_name = before is not None and not is_class
    made = replace(
        after,
        turns=chosen.turns if _is_whole(before, after, site, answered.mask) else (),
        class_name=before.class_name if before and keeps_name else credit.class_name,
        candidate=name_of(answered.answer, answered.index),
        predicted_iou=answered.predicted_iou,
        status=Status.ACCEPTED,
        origin=_origin(before, is_class=is_class),
        seconds=credit.seconds + (0.0 if before is None else before.seconds),
        model=credit.model,
    )
    return Step(
        f"Accept object {object_id}",
        edits=(PlaneEdit(phase.plane, edit),),
        objects=(ObjectChange(before, made), *changes.values()),
        draft=DraftChange(chosen, None),
    ), made


def _origin(before: AnnotatedObject | None, *, is_class: bool) -> Origin:
    if is_class:
        return Origin.CLASS
    return Origin.PROMPTS if before is None else before.origin


def _is_whole(
    before: AnnotatedObject | None,
    after: AnnotatedObject,
    site: Site,
    mask: MaskWindow,
) -> bool:
    """Tell whether the prompts of a mask mean all of the object that it becomes."""
    if before is None:
        return True
    if site.own_id is None:  # it joins the other pixels of its class
        return False
    if site.binding.overlap is Overlap.FILL:
        return True
    # Else there are pieces of the object that the mask left as they were.
    return after.area == planned_mask(site, mask).area


def _as_written(
    object_id: int, phase: Editing, mask: np.ndarray, box: tuple[int, int, int, int]
) -> AnnotatedObject:
    top, left, bottom, right = mask_bounding_box(mask) or (0, 0, 0, 0)
    y0, x0 = box[:2]
    return AnnotatedObject(
        object_id,
        phase.plane,
        (y0 + top, x0 + left, y0 + bottom, x0 + right),
        int(np.count_nonzero(mask)),
    )
