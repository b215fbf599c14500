# SPDX-License-Identifier: Apache-2.0
"""Measures many objects a few at a time, so that the window stays alive."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_sam.annotation.measurements import COLUMNS, measure_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qtpy.QtCore import QObject

    from napari_sam.annotation.objects import AnnotatedObject
    from napari_sam.annotation.ports import ImageSource, LabelStore, PlaneKey
    from napari_sam.structures.arrays import Plane
    from napari_sam.structures.plane_pixels import PlanePixels

_BUDGET_S = 0.02
"""Time taken of each turn of the event loop."""


class Measuring(QTimer):
    """One run over some objects.

    Parameters
    ----------
    parent : QObject
        Ends the run with it.

    Attributes
    ----------
    progressed : Signal(int, int)
        Objects measured so far, and all.
    finished : Signal(dict, tuple)
        Values by column, and the keys of the objects.
    failed : Signal(Exception)
        The image or the labels could not be read.
    """

    progressed: ClassVar[Signal] = Signal(int, int)
    finished: ClassVar[Signal] = Signal(dict, tuple)
    failed: ClassVar[Signal] = Signal(Exception)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.setInterval(0)
        self.timeout.connect(self._work)
        self._objects: list[AnnotatedObject] = []
        self._columns: dict[str, list[Any]] = {}
        self._n_done = 0
        self._measure: Callable[[AnnotatedObject], dict[str, list[Any]]] | None = None

    def measure(
        self,
        objects: Iterable[AnnotatedObject],
        labels: LabelStore,
        source: ImageSource,
        pixel_size_um: Callable[[PlaneKey], tuple[float, float] | None],
    ) -> None:
        """Begin anew; arguments as in `measurements.measure_objects`."""
        # Plane by plane, so that each is read once.
        self._objects = sorted(objects, key=lambda one: one.plane.index)
        self._columns = {name: [] for name in COLUMNS}
        self._n_done = 0
        kept = _LastPlane(source)

        def measure_one(one: AnnotatedObject) -> dict[str, list[Any]]:
            return measure_objects([one], labels, kept, pixel_size_um)

        self._measure = measure_one
        self.start()

    def cancel(self) -> None:
        """End without a result."""
        self.stop()
        self._measure = None

    def _work(self) -> None:
        end = time.monotonic() + _BUDGET_S
        measure, total = self._measure, len(self._objects)
        while measure is not None and self._n_done < total and time.monotonic() < end:
            try:
                row = measure(self._objects[self._n_done])
            except Exception as error:  # noqa: BLE001  told to the user, by kind
                self.cancel()
                self.failed.emit(error)
                return
            for name, values in row.items():
                self._columns[name] += values
            self._n_done += 1
        if self._n_done < total:
            self.progressed.emit(self._n_done, total)
            return
        self.cancel()
        self.finished.emit(self._columns, tuple(one.key for one in self._objects))


class _LastPlane:
    """An image source that remembers the plane read last."""

    def __init__(self, source: ImageSource) -> None:
        self._source = source
        self._last: tuple[PlaneKey, Plane] | None = None

    @property
    def identity(self) -> str:
        return self._source.identity

    def plane_shape(self, key: PlaneKey) -> tuple[int, int]:
        return self._source.plane_shape(key)

    def read_plane(self, key: PlaneKey) -> Plane:
        if self._last is None or self._last[0] != key:
            self._last = key, self._source.read_plane(key)
        return self._last[1]

    def plane_pixels(self, key: PlaneKey) -> PlanePixels:
        return self._source.plane_pixels(key)
