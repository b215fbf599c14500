# SPDX-License-Identifier: Apache-2.0
"""The annotator: prompts in, a candidate mask out, accepted masks into labels.

One annotator belongs to one image; another image is another annotator, so there is
nothing to reset. It is always in one of three phases::

    Loading ── attach(segmenter) ──▶ Ready ── set_prompts ──▶ Editing
                                       ▲                        │
                                       └── commit, discard ─────┘

`detach` leads back to Loading. All methods belong to one thread (in napari: the main
thread); pixels are read and the model runs in the job runner's thread.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal

from napari_sam.annotation.answers import answer, embed_once
from napari_sam.annotation.commit_policy import Overlap
from napari_sam.annotation.job import Job, Priority
from napari_sam.annotation.jobs import InlineRunner
from napari_sam.annotation.objects import AcceptedObject
from napari_sam.annotation.phases import Editing, Loading, Phase, Ready
from napari_sam.annotation.planning import planned_edit, planned_mask
from napari_sam.errors import Cancelled, PhaseError, PromptError

if TYPE_CHECKING:
    from napari_sam.annotation.ports import (
        Encoded,
        ImageSource,
        JobRunner,
        LabelStore,
        PlaneKey,
        Segmenter,
    )
    from napari_sam.structures.arrays import BoolMask
    from napari_sam.structures.candidates import Candidates
    from napari_sam.structures.prompts import PromptSet


class Annotator:
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
    overlap : Overlap
        What `commit` does to pixels of other objects. The label store can be stricter.
        Setting it announces the candidates again.
    phase_changed : Signal(Loading | Ready | Editing)
    candidates_changed : Signal(Candidates or None, int)
        A new answer (or none) and the chosen index; also when `planned_mask` may have
        changed under the same answer.
    embedding_changed : Signal(PlaneKey, bool)
        The plane and whether its embedding is ready.
    accepted : Signal(AcceptedObject)
    failed : Signal(Exception)
        Work in the model thread that went wrong; the phase stays usable.
    """

    phase_changed: ClassVar[Signal] = Signal(object)
    candidates_changed: ClassVar[Signal] = Signal(object, int)
    embedding_changed: ClassVar[Signal] = Signal(object, bool)
    accepted: ClassVar[Signal] = Signal(object)
    failed: ClassVar[Signal] = Signal(Exception)

    def __init__(
        self, source: ImageSource, labels: LabelStore, runner: JobRunner | None = None
    ) -> None:
        self._overlap = Overlap.KEEP
        self._source = source
        self._labels = labels
        self._runner: JobRunner = InlineRunner() if runner is None else runner
        self._phase: Phase = Loading()
        self._embeddings: OrderedDict[PlaneKey, Encoded] = OrderedDict()
        self._embed_job: Job | None = None
        self._embed_plane: PlaneKey | None = None
        self._is_commit_due = False
        # Two annotators may share a runner; their lanes must not.
        self._lane = f"annotator-{id(self)}"

    @property
    def phase(self) -> Phase:
        """The present phase; compare with isinstance."""
        return self._phase

    @property
    def is_embedding(self) -> bool:
        """Whether the embedding of a plane is on its way."""
        return self._embed_plane is not None

    @property
    def overlap(self) -> Overlap:
        """What `commit` does to pixels of other objects."""
        return self._overlap

    @overlap.setter
    def overlap(self, overlap: Overlap) -> None:
        self._overlap = overlap
        self.announce()

    @property
    def labels(self) -> LabelStore:
        """Where accepted masks go."""
        return self._labels

    def attach(self, segmenter: Segmenter) -> None:
        """Use this model from now on; prompts are to be set again."""
        self.detach()
        self._enter(Ready(segmenter))

    def detach(self) -> None:
        """Give the model up: pending answers and embeddings are dropped."""
        self._forget_answers()
        self._runner.forget(f"{self._lane}-embed")
        if self._embed_job is not None:
            self._embed_job.cancel()
            self._embed_job = None
        self._embed_plane = None
        # Work under way keeps the old mapping; it cannot reach the new one.
        self._embeddings = OrderedDict()
        was_editing = isinstance(self._phase, Editing)
        self._enter(Loading())
        if was_editing:
            self.candidates_changed.emit(None, 0)

    def replace_source(self, source: ImageSource) -> None:
        """Look at new pixels of the same image; what was computed is dropped."""
        self._source = source
        phase = self._phase
        if not isinstance(phase, Loading):
            self.attach(phase.segmenter)

    def replace_labels(self, labels: LabelStore) -> None:
        """Write to another store from now on."""
        self._labels = labels
        self.announce()

    def announce(self) -> None:
        """Emit `candidates_changed` again if there are any: labels have changed."""
        phase = self._phase
        if isinstance(phase, Editing) and phase.candidates is not None:
            self.candidates_changed.emit(phase.candidates, phase.chosen)

    def planned_mask(self) -> BoolMask | None:
        """Return the pixels that `commit` would write now.

        Returns
        -------
        (H, W) bool array or None
            The chosen candidate without what other objects keep; None without
            candidates.
        """
        phase = self._phase
        if not isinstance(phase, Editing) or phase.candidates is None:
            return None
        return planned_mask(phase, phase.candidates, self._labels, self._overlap)

    def prepare(self, plane: PlaneKey) -> None:
        """Compute the embedding of a plane ahead of the first prompt.

        Raises
        ------
        PhaseError
            Without a model.
        """
        segmenter = self._require_segmenter("prepare")
        if plane in self._embeddings or plane == self._embed_plane:
            self.embedding_changed.emit(plane, plane in self._embeddings)
            return
        if self._embed_job is not None:
            self._embed_job.cancel()
        self._embed_plane = plane
        source, cache = self._source, self._embeddings
        self.embedding_changed.emit(plane, False)  # noqa: FBT003  a signal's payload
        self._embed_job = self._runner.submit(
            lambda context: embed_once(segmenter, source, plane, cache, context),
            priority=Priority.INTERACTIVE,
            lane=f"{self._lane}-embed",
            on_result=lambda _: self._receive_embedding(plane),
            on_error=self._receive_embedding_error,
        )

    def set_prompts(self, plane: PlaneKey, prompts: PromptSet) -> None:
        """State all prompts of the object being edited; an answer follows.

        Parameters
        ----------
        plane : PlaneKey
            Where the prompts lie.
        prompts : PromptSet
            All of them; an empty set is the same as `discard`.

        Raises
        ------
        PhaseError
            Without a model.
        """
        segmenter = self._require_segmenter("set_prompts")
        if prompts.is_empty:
            self.discard()
            return
        phase = self._phase
        if isinstance(phase, Editing) and phase.plane == plane:
            if phase.prompts == prompts:
                return
            self._enter(replace(phase, prompts=prompts, is_pending=True))
        else:
            self._enter(Editing(segmenter, plane, prompts))
            if isinstance(phase, Editing):
                self.candidates_changed.emit(None, 0)
        source, cache = self._source, self._embeddings
        self._runner.submit(
            lambda context: answer(
                segmenter, embed_once(segmenter, source, plane, cache, context), prompts
            ),
            priority=Priority.INTERACTIVE,
            lane=f"{self._lane}-answer",
            on_result=self._receive_candidates,
            on_error=self._receive_error,
        )

    def choose(self, index: int) -> None:
        """Prefer another candidate.

        Raises
        ------
        PhaseError
            If there are no candidates.
        PromptError
            If there is no candidate of that index.
        """
        phase = self._phase
        if not isinstance(phase, Editing) or phase.candidates is None:
            msg = "There is no mask to choose from yet: add a point or a box first."
            raise PhaseError(msg)
        if not 0 <= index < len(phase.candidates):
            msg = f"There is no mask {index}; there are {len(phase.candidates)}."
            raise PromptError(msg)
        self._enter(replace(phase, chosen=index))
        self.candidates_changed.emit(phase.candidates, index)

    def commit(self) -> AcceptedObject | None:
        """Write the chosen candidate as a new object.

        Returns
        -------
        AcceptedObject or None
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
            msg = "There is no mask to accept yet: add a point or a box first."
            raise PhaseError(msg)
        if phase.is_pending:
            self._is_commit_due = True
            return None
        if phase.candidates is None:
            msg = "The last prompts gave no mask. Change a prompt and try again."
            raise PhaseError(msg)
        accepted = self._write(phase, phase.candidates)
        self.discard()
        self.accepted.emit(accepted)
        return accepted

    def discard(self) -> None:
        """Drop the prompts and the candidate mask; labels stay as they are."""
        self._forget_answers()
        phase = self._phase
        if isinstance(phase, Editing):
            self._enter(Ready(phase.segmenter))
            self.candidates_changed.emit(None, 0)

    def close(self) -> None:
        """Drop everything that is pending; the runner is not closed."""
        self.detach()

    def _write(self, phase: Editing, candidates: Candidates) -> AcceptedObject:
        object_id, edit = planned_edit(phase, candidates, self._labels, self._overlap)
        self._labels.write(phase.plane, edit)
        return AcceptedObject(
            object_id=object_id,
            plane=phase.plane,
            prompts=phase.prompts,
            predicted_iou=float(candidates.predicted_iou[phase.chosen]),
            edit=edit,
        )

    def _receive_embedding(self, plane: PlaneKey) -> None:
        self._embed_job = None
        self._embed_plane = None
        self.embedding_changed.emit(plane, True)  # noqa: FBT003  a signal's payload

    def _receive_embedding_error(self, error: Exception) -> None:
        self._embed_job = None
        self._embed_plane = None
        if not isinstance(error, Cancelled):
            self.failed.emit(error)

    def _receive_candidates(self, candidates: Candidates) -> None:
        phase = self._phase
        if not isinstance(phase, Editing):
            return
        chosen = candidates.best
        self._enter(
            replace(phase, candidates=candidates, chosen=chosen, is_pending=False)
        )
        self.candidates_changed.emit(candidates, chosen)
        if self._is_commit_due:
            self._is_commit_due = False
            try:
                self.commit()
            except Exception as error:  # noqa: BLE001  nobody is there to catch it
                self.failed.emit(error)

    def _receive_error(self, error: Exception) -> None:
        self._is_commit_due = False
        phase = self._phase
        if isinstance(phase, Editing):
            self._enter(replace(phase, candidates=None, is_pending=False))
            self.candidates_changed.emit(None, 0)
        if not isinstance(error, Cancelled):
            self.failed.emit(error)

    def _forget_answers(self) -> None:
        self._is_commit_due = False
        self._runner.forget(f"{self._lane}-answer")

    def _require_segmenter(self, call: str) -> Segmenter:
        if isinstance(self._phase, Loading):
            msg = f"No model is loaded, so {call}() has no meaning yet: attach() one."
            raise PhaseError(msg)
        return self._phase.segmenter

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self.phase_changed.emit(phase)
