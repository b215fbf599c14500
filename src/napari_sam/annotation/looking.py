# SPDX-License-Identifier: Apache-2.0
"""Which region of a large plane is on screen, which one is ready, which one is coming.

A large plane is never embedded as a whole unless it is seen as a whole: the region in
the middle of the screen is embedded at the resolution of the screen, and the one under
the pointer as soon as nothing else is. At most one is under way; clicks and previews go
first. What was embedded before is found in the model's own memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal

from napari_sam.annotation.job import Priority
from napari_sam.errors import Cancelled

if TYPE_CHECKING:
    from napari_sam.annotation.job import Job
    from napari_sam.annotation.ports import Encoded, JobRunner, PlaneKey, Segmenter
    from napari_sam.structures.plane_view import PlaneView, Region


@dataclass(frozen=True, slots=True)
class _Order:
    """A region that is to be embedded."""

    segmenter: Segmenter
    embedding: Encoded
    plane: PlaneKey
    region: Region


class Looking:
    """Embeds what is on screen of large planes.

    Parameters
    ----------
    runner : JobRunner
        Where the model runs.
    lane : str
        Lane of its jobs.

    Attributes
    ----------
    ready : Region or None
        The region, looked at last, that answers at once; None for planes that are
        seen whole.
    coming : Region or None
        The one that is being embedded.
    changed : Signal(PlaneKey)
        One of the two is another.
    failed : Signal(Exception)
    """

    changed: ClassVar[Signal] = Signal(object)
    failed: ClassVar[Signal] = Signal(Exception)

    def __init__(self, runner: JobRunner, lane: str) -> None:
        self._runner = runner
        self._lane = lane
        self._view: tuple[PlaneKey, PlaneView] | None = None
        self._job: Job | None = None
        self._order: _Order | None = None
        self._next: _Order | None = None
        self.ready: Region | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a region is being embedded."""
        return self._order is not None

    @property
    def coming(self) -> Region | None:
        """The region that is being embedded."""
        return None if self._order is None else self._order.region

    def note(self, plane: PlaneKey, view: PlaneView) -> None:
        """Take note of what is on screen."""
        self._view = plane, view

    def view_of(self, plane: PlaneKey) -> PlaneView | None:
        """Return what is on screen of a plane, None if that was not told."""
        if self._view is None or self._view[0] != plane:
            return None
        return self._view[1]

    def look(self, segmenter: Segmenter, embedding: Encoded, plane: PlaneKey) -> bool:
        """Embed what is on screen; what is embedded for another place is given up.

        Returns
        -------
        bool
            Whether a region is on its way. If not, all is there that can be.
        """
        view = self.view_of(plane)
        if view is None:
            self.ready = None
            return False
        scale = segmenter.scale_for(embedding, view)
        region = segmenter.region_at(embedding, view.centre_yx, scale)
        if region is None:
            self.ready = None
            return False
        if segmenter.is_ready(embedding, region):
            self.stop()
            self._settle(plane, region)
            return False
        if region != self.coming:
            self.stop()
            self._begin(_Order(segmenter, embedding, plane, region))
        return True

    def look_near(
        self,
        segmenter: Segmenter,
        embedding: Encoded,
        plane: PlaneKey,
        yx: tuple[float, float],
    ) -> None:
        """Embed the region under the pointer once nothing else is on its way."""
        view = self.view_of(plane)
        scale = segmenter.scale_for(embedding, view)
        if view is None or scale is None:
            return
        region = segmenter.region_at(embedding, yx, scale)
        if region is None or region == self.coming:
            return
        if segmenter.is_ready(embedding, region):
            self._next = None
            self._settle(plane, region)
            return
        order = _Order(segmenter, embedding, plane, region)
        if self._order is None:
            self._begin(order)
        else:
            self._next = order

    def stop(self) -> None:
        """Give up what is being embedded."""
        self._runner.forget(self._lane)
        if self._job is not None:
            self._job.cancel()
        self._job = self._order = self._next = None

    def leave(self) -> None:
        """Give up what is being embedded; another plane will be looked at."""
        self.stop()
        self.ready = None

    def _begin(self, order: _Order) -> None:
        self._order = order
        self.changed.emit(order.plane)
        self._job = self._runner.submit(
            lambda context: order.segmenter.look(
                order.embedding, order.region, cancel=context.cancel
            ),
            priority=Priority.LOOK,
            lane=self._lane,
            on_result=lambda _: self._receive(order),
            on_error=lambda error: self._receive_error(order, error),
        )

    def _settle(self, plane: PlaneKey, region: Region) -> None:
        if region != self.ready:
            self.ready = region
            self.changed.emit(plane)

    def _receive(self, order: _Order) -> None:
        following = self._next
        self._job = self._order = self._next = None
        self.ready = order.region
        self.changed.emit(order.plane)
        # The signal's receivers may have begun another one.
        if following is not None and self._order is None:
            self._begin(following)

    def _receive_error(self, order: _Order, error: Exception) -> None:
        self._job = self._order = self._next = None
        self.changed.emit(order.plane)
        if not isinstance(error, Cancelled):
            self.failed.emit(error)
