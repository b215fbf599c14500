# SPDX-License-Identifier: Apache-2.0
"""Where an annotator hands work to the model thread and takes answers back."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal

from napari_sam.annotation.answers import Answered, Memory, answer_turns
from napari_sam.annotation.job import Priority
from napari_sam.annotation.looking import Looking
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
    looking : Looking
        Which region of a large plane is ready.
    embedding_changed : Signal(PlaneKey, bool)
        What is on screen of the plane, and whether it is ready.
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
        self._asked: Job | None = None
        self.looking = Looking(runner, f"{lane}-look")
        self.looking.changed.connect(self._on_looking)
        self.looking.failed.connect(self.failed.emit)

    @property
    def memory(self) -> Memory:
        """What was computed; `clear` replaces it, so that older work reaches nobody."""
        return self._memory

    @property
    def is_embedding(self) -> bool:
        """Whether the embedding of a plane or of a region of it is on its way."""
        return self._plane is not None or self.looking.is_busy

    def embedding_of(self, plane: PlaneKey) -> Encoded | None:
        """Return the embedding of a plane if it is there."""
        return self._memory.embeddings.get(plane)

    def is_ready(self, plane: PlaneKey) -> bool:
        """Whether what is on screen of a plane is embedded."""
        return self.embedding_of(plane) is not None and not self.looking.is_busy

    def adopt_embedding(self, plane: PlaneKey, embedding: Encoded) -> None:
        """Take an embedding that the present model has made of a plane before."""
        self._memory.keep(plane, embedding)

    def clear(self) -> None:
        """Drop what was computed and what is on its way."""
        self.forget_answers(stop=True)
        self._give_up()
        self.looking.leave()
        # Work under way keeps the old memory; it cannot reach the new one.
        self._memory = Memory()

    def forget_answers(self, *, stop: bool = False) -> None:
        """Deliver no answer that was asked for; `stop` gives up what it encodes too."""
        self._runner.forget(self._answer_lane)
        if stop and self._asked is not None:
            self._asked.cancel()
        self._asked = None

    def prepare(self, segmenter: Segmenter, plane: PlaneKey) -> None:
        """Compute the embedding of a plane ahead of the first prompt."""
        if plane == self._plane:
            self.embedding_changed.emit(plane, False)  # noqa: FBT003  a signal's payload
            return
        self._give_up()
        embedding = self.embedding_of(plane)
        if embedding is not None:
            if not self.looking.look(segmenter, embedding, plane):
                self.embedding_changed.emit(plane, True)  # noqa: FBT003
            return
        self.looking.leave()
        self._plane = plane
        source, memory, view = self.source, self._memory, self.looking.view_of(plane)
        self.embedding_changed.emit(plane, False)  # noqa: FBT003
        self._job = self._runner.submit(
            lambda context: memory.embed(segmenter, source, plane, context, view),
            priority=Priority.INTERACTIVE,
            lane=self._embed_lane,
            on_result=lambda _: self._receive_embedding(segmenter, plane),
            on_error=self._receive_embedding_error,
        )

    def look_near(
        self, segmenter: Segmenter, plane: PlaneKey, yx: tuple[float, float]
    ) -> None:
        """Embed the region under the pointer, after what is under way."""
        embedding = self.embedding_of(plane)
        if embedding is not None:
            self.looking.look_near(segmenter, embedding, plane, yx)

    def scale_of(self, segmenter: Segmenter, plane: PlaneKey) -> int | None:
        """Return the scale at which what is on screen of a plane is seen."""
        embedding = self.embedding_of(plane)
        if embedding is None:
            return None
        return segmenter.scale_for(embedding, self.looking.view_of(plane))

    def finer_scale(
        self, segmenter: Segmenter, plane: PlaneKey, answered: Answered
    ) -> int | None:
        """Return the scale at which an object is seen in more detail than before.

        None if it is not.
        """
        embedding, view = self.embedding_of(plane), self.looking.view_of(plane)
        if embedding is None or answered.scale is None or view is None:
            return None
        scale = segmenter.scale_for(embedding, view, answered.mask.box)
        return scale if scale is not None and scale < answered.scale else None

    def ask(
        self,
        segmenter: Segmenter,
        draft: Draft,
        settings: CommitSettings,
        preference: Size | None,
        scale: int | None = None,
    ) -> None:
        """Ask for the masks of a draft; only the newest question is answered.

        Without a scale, the object is seen as the screen shows it.
        """
        source, memory = self.source, self._memory
        view = self.looking.view_of(draft.plane)

        def work(context: JobContext) -> Answered:
            plane = draft.plane
            embedding = memory.embed(segmenter, source, plane, context, view)
            seen = segmenter.scale_for(embedding, view)
            return answer_turns(
                segmenter,
                embedding,
                plane,
                source.plane_shape(plane),
                draft.turns,
                settings,
                preference=preference,
                memory=memory,
                scale=seen if scale is None else scale,
                cancel=context.cancel,
            )

        is_embedded = self.embedding_of(draft.plane) is not None

        def receive(answered: Answered) -> None:
            if not is_embedded:
                self.embedding_changed.emit(draft.plane, True)  # noqa: FBT003
            self.answered.emit(draft, answered)

        self._asked = self._runner.submit(
            work,
            priority=Priority.INTERACTIVE,
            lane=self._answer_lane,
            on_result=receive,
            on_error=self.failed.emit,
        )

    def _give_up(self) -> None:
        """Stop embedding a plane."""
        self._runner.forget(self._embed_lane)
        if self._job is not None:
            self._job.cancel()
        self._job = self._plane = None

    def _receive_embedding(self, segmenter: Segmenter, plane: PlaneKey) -> None:
        self._job = self._plane = None
        self.prepare(segmenter, plane)  # the screen may show another region by now

    def _receive_embedding_error(self, error: Exception) -> None:
        self._job = self._plane = None
        if not isinstance(error, Cancelled):
            self.failed.emit(error)

    def _on_looking(self, plane: PlaneKey) -> None:
        self.embedding_changed.emit(plane, not self.looking.is_busy)
