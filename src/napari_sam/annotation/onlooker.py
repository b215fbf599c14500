# SPDX-License-Identifier: Apache-2.0
"""The part of an annotator that looks: at planes, at the screen, under the pointer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal

from napari_sam.annotation.desk import ModelDesk
from napari_sam.annotation.hover import HoverPreview
from napari_sam.annotation.jobs import InlineRunner
from napari_sam.annotation.label_editor import LabelEditor
from napari_sam.annotation.phases import Editing, Loading, Phase, Ready
from napari_sam.errors import PhaseError

if TYPE_CHECKING:
    from napari_sam.annotation.ports import (
        ImageSource,
        JobRunner,
        LabelStore,
        PlaneKey,
        Segmenter,
    )
    from napari_sam.structures.plane_view import PlaneView, Region


class Onlooker(LabelEditor):
    """An editor of labels with a model that looks at one plane at a time.

    Parameters
    ----------
    source : ImageSource
        The pixels.
    labels : LabelStore
        Where objects are written.
    runner : JobRunner, optional
        Where the model runs. By default in the caller's thread, which suits scripts.

    Attributes
    ----------
    is_hover_on : bool
        Whether `hover` asks for masks.
    desk : ModelDesk
        Embeddings.
    phase_changed : Signal(Loading | Ready | Editing)
    hovered : Signal(MaskSketch or None, PlaneKey or None)
    embedding_changed : Signal(PlaneKey, bool)
        What is on screen of the plane, and whether it is ready.
    failed : Signal(Exception)
        Work in the model thread that went wrong; the phase stays usable.
    """

    phase_changed: ClassVar[Signal] = Signal(object)
    hovered: ClassVar[Signal] = Signal(object, object)
    embedding_changed: ClassVar[Signal] = Signal(object, bool)
    failed: ClassVar[Signal] = Signal(Exception)

    def __init__(
        self, source: ImageSource, labels: LabelStore, runner: JobRunner | None = None
    ) -> None:
        super().__init__(labels)
        self.is_hover_on = True
        self._phase: Phase = Loading()
        runner = runner or InlineRunner()
        # Two annotators may share a runner; their lanes must not.
        lane = f"annotator-{id(self)}"
        self.desk = ModelDesk(source, runner, lane)
        self.desk.embedding_changed.connect(self._on_embedding)
        self._hover = HoverPreview(runner, f"{lane}-hover")
        self._hover.hovered.connect(self.hovered.emit)
        self._hover.failed.connect(self.failed.emit)

    @property
    def phase(self) -> Phase:
        """The present phase; compare with isinstance."""
        return self._phase

    @property
    def source(self) -> ImageSource:
        """The pixels."""
        return self.desk.source

    @property
    def is_embedding(self) -> bool:
        """Whether the embedding of a plane is on its way."""
        return self.desk.is_embedding

    @property
    def ready_region(self) -> Region | None:
        """The region of a large plane that answers at once; None of other planes."""
        return self.desk.looking.ready

    def look_at(self, plane: PlaneKey, view: PlaneView | None = None) -> None:
        """Turn to a plane: it is embedded, and its prompts are answered.

        Parameters
        ----------
        plane : PlaneKey
            Where to look.
        view : PlaneView, optional
            What is on screen of it, as in `look`.
        """
        self._plane = plane
        if view is not None:
            self.desk.looking.note(plane, view)
        self._hover.leave()
        self._ask()
        if not isinstance(self._phase, Loading):
            self.desk.prepare(self._phase.segmenter, plane)

    def look(self, plane: PlaneKey, view: PlaneView) -> None:
        """State what is on screen of a plane.

        Of a plane larger than the model's frame, the region there is embedded at the
        resolution of the screen, and prompts are answered in that resolution from now
        on. An object that is seen in more detail than before is asked for again.

        Parameters
        ----------
        plane : PlaneKey
            What is shown.
        view : PlaneView
            Which part of it, and how large.
        """
        phase = self._phase
        self.desk.looking.note(plane, view)
        if isinstance(phase, Loading) or plane != self._plane:
            return
        if self.desk.scale_of(phase.segmenter, plane) is None:
            return  # seen whole, or not looked at yet
        self.desk.prepare(phase.segmenter, plane)
        if isinstance(phase, Editing) and phase.plane == plane:
            answered = None if phase.is_pending else phase.answered
            if answered is not None:
                scale = self.desk.finer_scale(phase.segmenter, plane, answered)
                if scale is not None:
                    self._ask(scale)

    def hover(self, plane: PlaneKey, yx: tuple[float, float] | None) -> None:
        """Show the mask under the pointer; None when it leaves the image.

        Nothing is asked while an object is being prompted or a plane embedded. Of a
        large plane, the region under the pointer is embedded next.
        """
        phase, embedding = self._phase, self.desk.embedding_of(plane)
        is_free = isinstance(phase, Ready) and self.is_hover_on
        if yx is None or embedding is None or not is_free:
            self._hover.leave()
            return
        segmenter = self._require_segmenter("hover")
        scale = self.desk.scale_of(segmenter, plane)
        self._hover.over(plane, yx, segmenter, embedding, self._settings, scale)
        if scale is not None:
            self.desk.look_near(segmenter, plane, yx)

    def _on_embedding(self, plane: PlaneKey, is_ready: bool) -> None:  # noqa: FBT001  a signal's payload
        self.embedding_changed.emit(plane, is_ready)
        if is_ready and self.ready_region is not None:
            self._hover.ask_again()

    def _require_segmenter(self, call: str) -> Segmenter:
        if isinstance(self._phase, Loading):
            msg = f"No model is loaded, so {call}() has no meaning yet: attach() one."
            raise PhaseError(msg)
        return self._phase.segmenter

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self.phase_changed.emit(phase)
