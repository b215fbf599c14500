# SPDX-License-Identifier: Apache-2.0
"""The mask under the pointer, before any click.

While the model answers one position, only the newest of those that follow is kept.
An answer is shown if the pointer is still where it was asked for, or has stayed on the
mask; else it is stale. So a moving pointer never waits for a queue, nor for rest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal

from napari_sam.annotation.commit_policy import clean_window
from napari_sam.annotation.job import Priority
from napari_sam.errors import Cancelled
from napari_sam.structures.mask_sketch import MaskSketch
from napari_sam.structures.prompts import PointPrompt

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam.annotation.commit_policy import CommitSettings
    from napari_sam.annotation.job import JobContext
    from napari_sam.annotation.ports import Encoded, JobRunner, PlaneKey, Segmenter


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
    hovered : Signal(MaskSketch or None, PlaneKey or None)
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
        self._last: Callable[[], None] | None = None
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
        scale: int | None = None,
    ) -> None:
        """Ask for the mask under a position of a plane whose embedding is there.

        With a scale, regions that are ready answer, none that is finer than this.
        """
        if self._wanted == (plane, yx):
            return
        self._wanted = (plane, yx)

        def work(context: JobContext) -> MaskSketch | None:
            context.check()
            if scale is None:
                mask = segmenter.preview(embedding, yx).masks[0]
                found: MaskSketch | None = MaskSketch(mask)
            else:
                found = segmenter.sketch(embedding, yx, scale)
            return None if found is None else _cleaned(found, yx, settings)

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

        self._ask = self._last = ask
        if not self._is_asking:
            ask()

    def ask_again(self) -> None:
        """Ask for the same position once more: another region is ready."""
        if self._wanted is None or self._last is None:
            return
        self._ask = self._last
        if not self._is_asking:
            self._last()

    def leave(self) -> None:
        """Show nothing: the pointer is elsewhere, or a click has come."""
        self._wanted = self._ask = self._last = None
        self._is_asking = False
        self._runner.forget(self._lane)
        if self._is_shown:
            self._is_shown = False
            self.hovered.emit(None, None)

    def _receive(
        self, found: MaskSketch | None, plane: PlaneKey, yx: tuple[float, float]
    ) -> None:
        self._is_asking = False
        if self._wanted is None:
            return
        is_newest = self._wanted == (plane, yx)
        is_near = self._wanted[0] == plane and found is not None
        if is_newest or (
            is_near and found is not None and found.holds(self._wanted[1])
        ):
            self._is_shown = found is not None
            self.hovered.emit(found, plane)
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


def _cleaned(
    found: MaskSketch, yx: tuple[float, float], settings: CommitSettings
) -> MaskSketch | None:
    """Clean a mask by the commit rule; None if nothing is left."""
    point = PointPrompt(found.to_grid(yx))
    cleaned = clean_window(found.window, [point], settings)
    return replace(found, window=cleaned) if cleaned.area else None
