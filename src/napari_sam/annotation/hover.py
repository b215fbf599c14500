# SPDX-License-Identifier: Apache-2.0
"""The mask under the pointer, before any click.

While the model answers one position, only the newest of those that follow is kept.
An answer is shown if the pointer is still where it was asked for, or has stayed on the
mask; else it is stale. So a moving pointer never waits for a queue, nor for rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal

from napari_sam.annotation.commit_policy import clean_window
from napari_sam.annotation.job import Priority
from napari_sam.errors import Cancelled
from napari_sam.structures.prompts import PointPrompt

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam.annotation.commit_policy import CommitSettings
    from napari_sam.annotation.job import JobContext
    from napari_sam.annotation.ports import Encoded, JobRunner, PlaneKey, Segmenter
    from napari_sam.structures.mask_window import MaskWindow


class HoverPreview:
    """Asks for the mask under the pointer, the newest position only.

    Parameters
    ----------
    runner : JobRunner
        Where the model runs.
    lane : str
        Lane of its jobs.

    Attributes
    ----------
    hovered : Signal(MaskWindow or None, PlaneKey or None)
        The mask to show, or none.
    failed : Signal(Exception)
    """

    hovered: ClassVar[Signal] = Signal(object, object)
    failed: ClassVar[Signal] = Signal(Exception)

    def __init__(self, runner: JobRunner, lane: str) -> None:
        self._runner = runner
        self._lane = lane
        self._wanted: tuple[PlaneKey, tuple[float, float]] | None = None
        self._ask: Callable[[], None] | None = None
        self._is_asking = False
        self._is_shown = False
        self._told = ""

    def over(
        self,
        plane: PlaneKey,
        yx: tuple[float, float],
        segmenter: Segmenter,
        embedding: Encoded,
        settings: CommitSettings,
    ) -> None:
        """Ask for the mask under a position of a plane whose embedding is there."""
        if self._wanted == (plane, yx):
            return
        self._wanted = (plane, yx)

        def work(context: JobContext) -> MaskWindow:
            context.check()
            answer = segmenter.preview(embedding, yx)
            return clean_window(answer.masks[0], [PointPrompt(yx)], settings)

        def ask() -> None:
            self._is_asking = True
            self._ask = None
            self._runner.submit(
                work,
                priority=Priority.INTERACTIVE,
                lane=self._lane,
                on_result=lambda mask: self._receive(mask, plane, yx),
                on_error=self._receive_error,
            )

        self._ask = ask
        if not self._is_asking:
            ask()

    def leave(self) -> None:
        """Show nothing: the pointer is elsewhere, or a click has come."""
        self._wanted = self._ask = None
        self._is_asking = False
        self._runner.forget(self._lane)
        if self._is_shown:
            self._is_shown = False
            self.hovered.emit(None, None)

    def _receive(
        self, mask: MaskWindow, plane: PlaneKey, yx: tuple[float, float]
    ) -> None:
        self._is_asking = False
        if self._wanted is None:
            return
        is_newest = self._wanted == (plane, yx)
        if is_newest or (self._wanted[0] == plane and _holds(mask, self._wanted[1])):
            self._is_shown = bool(mask.area)
            self.hovered.emit(mask if mask.area else None, plane)
        self._ask_next()

    def _receive_error(self, error: Exception) -> None:
        self._is_asking = False
        if isinstance(error, Cancelled):
            return
        self.leave()
        # A model that fails does so at every move of the pointer: it is told once.
        if repr(error) != self._told:
            self._told = repr(error)
            self.failed.emit(error)

    def _ask_next(self) -> None:
        if self._ask is not None:
            self._ask()


def _holds(mask: MaskWindow, yx: tuple[float, float]) -> bool:
    """Whether a position lies on a mask."""
    y, x = round(yx[0]) - mask.y0, round(yx[1]) - mask.x0
    h, w = mask.crop.shape
    return 0 <= y < h and 0 <= x < w and bool(mask.crop[y, x])
