# SPDX-License-Identifier: Apache-2.0
"""Where an annotator hands work to the model thread and takes answers back."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal

from napari_sam.annotation.answers import Answered, Memory, answer_turns
from napari_sam.annotation.job import Priority
from napari_sam.errors import Cancelled

if TYPE_CHECKING:
    from napari_sam.annotation.choices import Size
    from napari_sam.annotation.commit_policy import CommitSettings
    from napari_sam.annotation.draft import Draft
    from napari_sam.annotation.job import Job, JobContext
    from napari_sam.annotation.ports import (
        Encoded,
        ImageSource,
        JobRunner,
        PlaneKey,
        Segmenter,
    )


def model_name(segmenter: Segmenter) -> str:
    """Return a model's name and the first digits of its weights' hash."""
    digest = segmenter.describe().get("weights", "").rpartition(":")[2][:12]
    return f"{segmenter.name} {digest}".strip()


class ModelDesk:
    """Embeds planes and answers drafts of one image, with one model at a time.

    Parameters
    ----------
    source : ImageSource
        The pixels.
    runner : JobRunner
        Where the model runs.
    lane : str
        Beginning of the names of this desk's lanes.

    Attributes
    ----------
    source : ImageSource
    embedding_changed : Signal(PlaneKey, bool)
    answered : Signal(Draft, Answered)
    failed : Signal(Exception)
        Cancelled included.
    """

    embedding_changed: ClassVar[Signal] = Signal(object, bool)
    answered: ClassVar[Signal] = Signal(object, object)
    failed: ClassVar[Signal] = Signal(Exception)

    def __init__(self, source: ImageSource, runner: JobRunner, lane: str) -> None:
        self.source = source
        self._runner = runner
        self._answer_lane = f"{lane}-answer"
        self._embed_lane = f"{lane}-embed"
        self._memory = Memory()
        self._job: Job | None = None
        self._plane: PlaneKey | None = None

    @property
    def is_embedding(self) -> bool:
        """Whether the embedding of a plane is on its way."""
        return self._plane is not None

    def embedding_of(self, plane: PlaneKey) -> Encoded | None:
        """Return the embedding of a plane if it is there."""
        return self._memory.embeddings.get(plane)

    def adopt_embedding(self, plane: PlaneKey, embedding: Encoded) -> None:
        """Take an embedding that the present model has made of a plane before."""
        self._memory.keep(plane, embedding)

    def clear(self) -> None:
        """Drop what was computed and what is on its way."""
        self.forget_answers()
        self._runner.forget(self._embed_lane)
        if self._job is not None:
            self._job.cancel()
        self._job = self._plane = None
        # Work under way keeps the old memory; it cannot reach the new one.
        self._memory = Memory()

    def forget_answers(self) -> None:
        """Deliver no answer that was asked for."""
        self._runner.forget(self._answer_lane)

    def prepare(self, segmenter: Segmenter, plane: PlaneKey) -> None:
        """Compute the embedding of a plane ahead of the first prompt."""
        if self.embedding_of(plane) is not None or plane == self._plane:
            self.embedding_changed.emit(plane, self.embedding_of(plane) is not None)
            return
        if self._job is not None:
            self._job.cancel()
        self._plane = plane
        source, memory = self.source, self._memory
        self.embedding_changed.emit(plane, False)  # noqa: FBT003  a signal's payload
        self._job = self._runner.submit(
            lambda context: memory.embed(segmenter, source, plane, context),
            priority=Priority.INTERACTIVE,
            lane=self._embed_lane,
            on_result=lambda _: self._receive_embedding(plane),
            on_error=self._receive_embedding_error,
        )

    def ask(
        self,
        segmenter: Segmenter,
        draft: Draft,
        settings: CommitSettings,
        preference: Size | None,
    ) -> None:
        """Ask for the masks of a draft; only the newest question is answered."""
        source, memory = self.source, self._memory

        def work(context: JobContext) -> Answered:
            plane = draft.plane
            embedding = memory.embed(segmenter, source, plane, context)
            return answer_turns(
                segmenter,
                embedding,
                plane,
                source.plane_shape(plane),
                draft.turns,
                settings,
                preference=preference,
                memory=memory,
            )

        is_embedded = self.embedding_of(draft.plane) is not None

        def receive(answered: Answered) -> None:
            if not is_embedded:
                self.embedding_changed.emit(draft.plane, True)  # noqa: FBT003
            self.answered.emit(draft, answered)

        self._runner.submit(
            work,
            priority=Priority.INTERACTIVE,
            lane=self._answer_lane,
            on_result=receive,
            on_error=self.failed.emit,
        )

    def _receive_embedding(self, plane: PlaneKey) -> None:
        self._job = self._plane = None
        self.embedding_changed.emit(plane, True)  # noqa: FBT003  a signal's payload

    def _receive_embedding_error(self, error: Exception) -> None:
        self._job = self._plane = None
        if not isinstance(error, Cancelled):
            self.failed.emit(error)
