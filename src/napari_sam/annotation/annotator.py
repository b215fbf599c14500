# SPDX-License-Identifier: Apache-2.0
"""The annotator: prompts in, a mask to choose, accepted masks into labels.

One annotator belongs to one image; another image is another annotator, so there is
nothing to reset. It is always in one of three phases::

    Loading ── attach(segmenter) ──▶ Ready ── set_drawn, reopen ──▶ Editing
                                       ▲                               │
                                       └───── commit, discard ─────────┘

`detach` leads back to Loading; objects, prompts and history stay. All methods belong to
one thread (in napari: the main thread); pixels are read and the model runs in the job
runner's thread.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal

from napari_sam.annotation.desk import model_name
from napari_sam.annotation.draft import Draft
from napari_sam.annotation.objects import Turn
from napari_sam.annotation.offer import (
    Credit,
    Shown,
    accepting_step,
    advice_on,
    frozen,
    offer,
    reopened,
)
from napari_sam.annotation.onlooker import Onlooker
from napari_sam.annotation.phases import Editing, Loading, Ready
from napari_sam.errors import Cancelled, PhaseError, PromptError
from napari_sam.structures.drawn import DrawnPrompts
from napari_sam.structures.prompts import PointPrompt

if TYPE_CHECKING:
    from napari_sam.annotation.advice import Advice
    from napari_sam.annotation.answers import Answered
    from napari_sam.annotation.choices import Size
    from napari_sam.annotation.objects import AnnotatedObject
    from napari_sam.annotation.ports import (
        ImageSource,
        JobRunner,
        LabelStore,
        PlaneKey,
        Segmenter,
    )

NO_MASK = "There is no mask yet: add a point or a box first."


class Annotator(Onlooker):
    """Interactive segmentation of one image, without any user interface.

    Parameters
    ----------
    source : ImageSource
        The pixels.
    labels : LabelStore
        Where accepted masks go.
    runner : JobRunner, optional
        Where the model runs. By default in the caller's thread, which suits scripts.

    Attributes
    ----------
    preference : Size or None
        What to show first of the readings of an ambiguous prompt; None is the best.
    is_turbo : bool
        Whether a first prompt is accepted at once; one undo takes both back.
    class_name : str
        Class of the next object.
    answer_changed : Signal(Shown or None)
        Another mask is on offer.
    advised : Signal(Advice or None)
    accepted : Signal(AnnotatedObject)
    options_changed : Signal()
        A key switched turbo or hovering.
    """

    answer_changed: ClassVar[Signal] = Signal(object)
    advised: ClassVar[Signal] = Signal(object)
    accepted: ClassVar[Signal] = Signal(object)
    options_changed: ClassVar[Signal] = Signal()

    def __init__(
        self, source: ImageSource, labels: LabelStore, runner: JobRunner | None = None
    ) -> None:
        super().__init__(source, labels, runner)
        self.preference: Size | None = None
        self.is_turbo = False
        self.class_name = ""
        self.last_seconds = 0.0
        self._advice: Advice | None = None
        self._since = 0.0
        self._model_name = ""
        self._due: Draft | None = None  # accepted as soon as its answer comes
        self.desk.answered.connect(self._receive)
        self.desk.failed.connect(self._receive_error)

    @property
    def advice(self) -> Advice | None:
        """What there is to point out about the mask on offer."""
        return self._advice

    @property
    def shown(self) -> Shown | None:
        """The mask on offer; None without an answer."""
        phase = self._phase
        if not isinstance(phase, Editing):
            return None
        return offer(phase, self.ledger, self._settings, self.class_name)

    def attach(self, segmenter: Segmenter) -> None:
        """Use this model from now on; what is being prompted is answered by it."""
        self.detach()
        self._model_name = model_name(segmenter)
        self._enter(Ready(segmenter))
        if self._plane is not None:
            self.look_at(self._plane)

    def detach(self) -> None:
        """Give the model up: pending answers and embeddings are dropped."""
        self._due = None
        self._hover.leave()
        self.desk.clear()
        self._enter(Loading())
        self.announce()

    def replace_source(self, source: ImageSource) -> None:
        """Look at other pixels of the same image; what was computed is out of date.

        They are embedded at the next prompt, or when `look_at` is called.
        """
        self.desk.source = source
        self._hover.leave()
        self.desk.clear()
        if self._plane is not None:
            self.embedding_changed.emit(self._plane, False)  # noqa: FBT003
        self._ask()

    def replace_labels(self, labels: LabelStore) -> None:
        """Write elsewhere from now on; prompts stay, as those of a new object."""
        self._due = None
        super().replace_labels(labels)

    def set_drawn(self, plane: PlaneKey, drawn: DrawnPrompts) -> None:
        """State all prompts of the object being edited; an answer follows.

        Parameters
        ----------
        plane : PlaneKey
            Where the prompts lie; it becomes the plane looked at.
        drawn : DrawnPrompts
            All of them; none is the same as `discard`.

        Raises
        ------
        PhaseError
            Without a model.
        """
        self._require_segmenter("set_drawn")
        before = self.ledger.drafts.get(plane)
        if (before.drawn if before else DrawnPrompts()) == drawn:
            return
        self._plane = plane
        self._hover.leave()
        if drawn.is_empty:
            self._change_draft("Remove prompts", None)
            return
        if before is None:
            after = Draft(plane, (Turn(drawn),))
            self._since = time.monotonic()
        else:
            after = frozen(before, self._phase).with_drawn(drawn)
        if self.is_turbo and before is None and drawn.has_object:
            # Before the step: with an inline runner the answer comes during it.
            self._due = after
        self._change_draft("Change prompts", after)

    def add_point(
        self, plane: PlaneKey, yx: tuple[float, float], label: int = 1
    ) -> None:
        """Add a click on the object (1) or beside it (0); see `set_drawn`."""
        drawn = self.drawn_on(plane)
        point = PointPrompt(yx, label)
        self.set_drawn(plane, replace(drawn, points=(*drawn.points, point)))

    def reopen(self, plane: PlaneKey, object_id: int) -> None:
        """Edit an object again: its prompts return, or else its own mask is one.

        Raises
        ------
        PhaseError
            Without a model.
        LabelsError
            If there is no such object, or it is locked.
        """
        self._require_segmenter("reopen")
        draft = reopened(self.objects, self.labels, (plane, object_id))
        self._plane = plane
        self._hover.leave()
        self._since = time.monotonic()
        self._change_draft(f"Open object {object_id}", draft)

    def choose(self, index: int) -> None:
        """Prefer another mask of the answer.

        Raises
        ------
        PhaseError
            If there is no answer.
        PromptError
            If there is no mask of that index.
        """
        phase = self._phase
        if not isinstance(phase, Editing) or phase.answered is None:
            raise PhaseError(NO_MASK)
        n_masks = len(phase.answered.answer)
        if not 0 <= index < n_masks:
            msg = f"There is no mask {index}; there are {n_masks}, from 0 on."
            raise PromptError(msg)
        if index != phase.answered.index:
            self._change_draft("Choose mask", phase.draft.with_choice(index))

    def next_candidate(self, step: int = 1) -> None:
        """Walk to the next mask, from small to large and round; errors as `choose`."""
        shown = self.shown
        if shown is None:
            raise PhaseError(NO_MASK)
        self.choose(shown.next_index(step))

    def commit(self) -> AnnotatedObject | None:
        """Write the mask on offer as an object.

        Returns
        -------
        AnnotatedObject or None
            None if the answer to the newest prompts is still to come: it is then
            accepted on arrival.

        Raises
        ------
        PhaseError
            If nothing is being edited.
        LabelsError
            If the mask cannot be written; the prompts stay.
        """
        phase = self._phase
        if not isinstance(phase, Editing):
            raise PhaseError(NO_MASK)
        if phase.is_pending:
            self._due = phase.draft
            return None
        if phase.answered is None:
            msg = "The last prompts gave no mask. Change a prompt and try again."
            raise PhaseError(msg)
        seconds = time.monotonic() - self._since
        credit = Credit(self.class_name, seconds, self._model_name)
        step, made = accepting_step(phase, self.ledger, self._settings, credit)
        self.ledger.do(step)
        self.accepted.emit(made)
        return made

    def _ask(self, scale: int | None = None) -> None:
        """Enter the phase that the draft of this plane asks for, and ask the model."""
        if isinstance(self._phase, Loading):
            return
        segmenter, draft = self._phase.segmenter, self.draft
        self.desk.forget_answers(stop=draft is None)
        if draft != self._due:  # other prompts than those that were to be accepted
            self._due = None
        if draft is None or not draft.drawn.has_object:
            # From prompts that say only what is not the object, a model would answer
            # the background.
            self._enter(Ready(segmenter))
            self.announce()
            return
        before, answered = self._phase, None
        if isinstance(before, Editing) and before.draft.key == draft.key:
            answered = before.answered
            if scale is None and answered is not None:
                # What was seen in detail stays so.
                finer = self.desk.finer_scale(segmenter, draft.plane, answered)
                scale = answered.scale if finer is None else finer
        self._enter(Editing(segmenter, draft, answered))
        if answered is None:
            self.announce()
        self.desk.ask(segmenter, draft, self._settings, self.preference, scale)

    def _receive(self, draft: Draft, answered: Answered) -> None:
        phase = self._phase
        if not isinstance(phase, Editing) or phase.draft != draft:
            return
        self.last_seconds = answered.answer.seconds
        self._enter(replace(phase, answered=answered, is_pending=False))
        self.announce()
        if self._due is not None:
            self._due = None
            try:
                self.commit()
                if self.is_turbo:
                    self.ledger.history.join_last_two()
            except Exception as error:  # noqa: BLE001  nobody is there to catch it
                self.failed.emit(error)

    def _receive_error(self, error: Exception) -> None:
        self._due = None
        phase = self._phase
        if isinstance(phase, Editing):
            self._enter(replace(phase, answered=None, is_pending=False))
            self.announce()
        if not isinstance(error, Cancelled):
            self.failed.emit(error)

    def announce(self) -> None:
        """Say what is on offer, and what is to be said about it; as labels change."""
        advice = advice_on(self._phase, self.ledger, self._settings, self.class_name)
        self.answer_changed.emit(self.shown)
        if advice != self._advice:
            self._advice = advice
            self.advised.emit(advice)
