# SPDX-License-Identifier: Apache-2.0
"""Neighbouring planes of a stack, embedded while the user works on this one.

Two planes in the direction of the slider that was moved last and one behind are made
ready, one at a time. Pixels are read in a thread of their own; the model works on them
with the lowest priority, so that between two blocks of its encoder everything else goes
first. When the user turns to the very plane that is being embedded, that work goes on
as the user's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam.annotation.job import Priority
from napari_sam.annotation.phases import Loading
from napari_sam.annotation.ports import PlaneKey

if TYPE_CHECKING:
    from napari_sam.annotation.annotator import Annotator
    from napari_sam.annotation.answers import Memory
    from napari_sam.annotation.job import Job, JobContext
    from napari_sam.annotation.phases import Phase
    from napari_sam.annotation.ports import (
        Encoded,
        ImageSource,
        JobRunner,
        Segmenter,
    )
    from napari_sam.structures.plane_pixels import PlanePixels
    from napari_sam.structures.plane_view import PlaneView, Region

N_AHEAD = 2
N_BEHIND = 1


class Course:
    """Where the user is going through a stack.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image, without colours.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._place = -1  # of the slider that was moved last, among the others
        self._step = 1
        self.plane: PlaneKey | None = None

    def turn_to(self, plane: PlaneKey) -> None:
        """Take note of the plane looked at."""
        before, self.plane = self.plane, plane
        if before is None or before.axes != plane.axes:
            self._place, self._step = -1, 1
            return
        pairs = enumerate(zip(before.index, plane.index, strict=True))
        for place, (old, new) in pairs:
            if new != old:
                self._place, self._step = place, 1 if new > old else -1

    def neighbours(self) -> list[PlaneKey]:
        """List the planes that may come next, the likeliest first."""
        if self.plane is None or not self.plane.index:
            return []
        axes, index = self.plane.axes, self.plane.index
        sizes = [size for axis, size in enumerate(self._shape) if axis not in axes]
        steps = [*range(1, N_AHEAD + 1), *range(-1, -N_BEHIND - 1, -1)]
        found = []
        for step in steps:
            moved = list(index)
            moved[self._place] += step * self._step
            if 0 <= moved[self._place] < sizes[self._place]:
                found.append(PlaneKey(axes, tuple(moved)))
        return found


@dataclass(eq=False)
class _Order:
    """A plane that is made ready, and what it is made with."""

    plane: PlaneKey
    segmenter: Segmenter
    source: ImageSource
    memory: Memory
    view: PlaneView | None
    job: Job | None = None

    def read(self) -> PlanePixels:
        """Read what takes long to read."""
        return self.segmenter.see(self.source.plane_pixels(self.plane))

    def embed(self, pixels: PlanePixels, context: JobContext) -> None:
        """Embed what would be on screen; the memory keeps it."""
        embedding = self.memory.embed(
            self.segmenter, self.source, self.plane, context, self.view, pixels
        )
        region = _region_on_screen(self.segmenter, embedding, self.view)
        if region is not None:
            self.segmenter.look(embedding, region, cancel=context.cancel)


class PlanesAhead:
    """Embeds the neighbours of the plane that an annotator looks at.

    Nobody hears of failures: they come again, and are told, when the plane is shown.

    Parameters
    ----------
    annotator : Annotator
        Whose planes.
    runner : JobRunner
        Where the model runs.
    reader : JobRunner
        Another thread, where pixels are read.
    shape : tuple of int
        Shape of the image, without colours.
    is_on : bool
        Whether to do anything.
    """

    def __init__(
        self,
        annotator: Annotator,
        runner: JobRunner,
        reader: JobRunner,
        shape: tuple[int, ...],
        *,
        is_on: bool = True,
    ) -> None:
        self.is_on = is_on
        self._annotator = annotator
        self._runner = runner
        self._reader = reader
        self._lane = f"planes-ahead-{id(self)}"
        self._course = Course(shape)
        self._order: _Order | None = None
        self._failed: set[PlaneKey] = set()
        annotator.embedding_changed.connect(self._on_embedding)
        annotator.phase_changed.connect(self._on_phase)

    @property
    def is_busy(self) -> bool:
        """Whether a plane is being made ready."""
        return self._order is not None

    def drop(self) -> None:
        """Stop working on a plane."""
        order, self._order = self._order, None
        for runner in (self._reader, self._runner):
            runner.forget(self._lane)
        if order is not None and order.job is not None:
            order.job.cancel()

    def _on_phase(self, phase: Phase) -> None:
        if isinstance(phase, Loading):
            self.drop()

    def _on_embedding(self, plane: PlaneKey, is_ready: bool) -> None:  # noqa: FBT001  a signal's payload
        if plane != self._annotator.plane:
            return  # the user has left it since
        if plane != self._course.plane:
            self._course.turn_to(plane)
            self._failed.clear()
        order = self._order
        if order is not None:
            self._reconsider(order, plane)
        if is_ready:
            self._go_on()

    def _reconsider(self, order: _Order, plane: PlaneKey) -> None:
        """Tell whether a plane is still worth its embedding, and how urgent it is."""
        is_reading = order.job is None
        is_current = order.plane == plane
        is_wanted = is_current or order.plane in self._course.neighbours()
        if (
            not is_wanted
            or order.memory is not self._annotator.desk.memory  # of other pixels
            or (is_current and is_reading)  # the annotator reads it itself
        ):
            self.drop()
        elif order.job is not None:
            # Between two blocks, only what is more urgent than this goes first.
            order.job.priority = (
                Priority.INTERACTIVE if is_current else Priority.PREFETCH
            )

    def _go_on(self) -> None:
        """Begin with the next plane that is not ready."""
        annotator, plane = self._annotator, self._course.plane
        phase, desk = annotator.phase, annotator.desk
        if not self.is_on or self._order is not None or plane is None:
            return
        if isinstance(phase, Loading):
            return
        view = desk.looking.view_of(plane)
        for neighbour in self._course.neighbours():
            embedding = desk.embedding_of(neighbour)
            is_there = embedding is not None and _is_ready(
                phase.segmenter, embedding, view
            )
            if not is_there and neighbour not in self._failed:
                self._begin(
                    _Order(neighbour, phase.segmenter, desk.source, desk.memory, view)
                )
                return

    def _begin(self, order: _Order) -> None:
        self._order = order
        self._reader.submit(
            lambda _: order.read(),
            priority=Priority.PREFETCH,
            lane=self._lane,
            on_result=lambda pixels: self._embed(order, pixels),
            on_error=lambda _: self._end(order, is_failed=True),
        )

    def _embed(self, order: _Order, pixels: PlanePixels) -> None:
        order.job = self._runner.submit(
            lambda context: order.embed(pixels, context),
            priority=Priority.PREFETCH,
            lane=self._lane,
            on_result=lambda _: self._end(order),
            on_error=lambda _: self._end(order, is_failed=True),
        )

    def _end(self, order: _Order, *, is_failed: bool = False) -> None:
        """Go on with the next one."""
        if is_failed:
            self._failed.add(order.plane)
        self._order = None
        self._go_on()


def _region_on_screen(
    segmenter: Segmenter, embedding: Encoded, view: PlaneView | None
) -> Region | None:
    """Return the region of a large plane that a view shows; None of other planes."""
    if view is None:
        return None
    scale = segmenter.scale_for(embedding, view)
    return segmenter.region_at(embedding, view.centre_yx, scale)


def _is_ready(segmenter: Segmenter, embedding: Encoded, view: PlaneView | None) -> bool:
    """Tell whether what a view shows of a plane is embedded."""
    region = _region_on_screen(segmenter, embedding, view)
    return region is None or segmenter.is_ready(embedding, region)
