# SPDX-License-Identifier: Apache-2.0
"""Delivers what the model thread has finished: the only crossing from thread to Qt."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Protocol

from qtpy.QtCore import (  # type: ignore[attr-defined]  # Signal is the binding's
    QObject,
    Qt,
    QTimer,
    Signal,
)

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL_MS = 20


class Pumped(Protocol):
    """Something with answers to deliver.

    Attributes
    ----------
    on_ready : callable or None
        What it calls, from any thread, when an answer waits.
    """

    on_ready: Callable[[], None] | None

    @property
    def is_busy(self) -> bool:
        """Whether answers are still to come."""
        ...

    def pump(self) -> object:
        """Deliver what is there, in the calling thread."""
        ...


class Waker(QObject):
    """Takes word from any thread to the event loop, at most one at a time.

    Attributes
    ----------
    ready : Signal()
        To be connected as queued.
    """

    ready = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._is_on_its_way = False

    def wake(self) -> None:
        """Say that something waits; called from any thread."""
        # Two threads may both see False: that is one event too many, and no harm.
        if not self._is_on_its_way:
            self._is_on_its_way = True
            self.ready.emit()

    def arrived(self) -> None:
        """Let the next word through; called before delivering."""
        self._is_on_its_way = False


_WAKERS: weakref.WeakKeyDictionary[Pumped, Waker] = weakref.WeakKeyDictionary()


class Pump(QTimer):
    """Delivers at once what is ready while wanted, and until all is delivered.

    A source says itself when something waits. A timer of 20 ms looks as well, for what
    was put down without a word. Several pumps may share a source.

    Parameters
    ----------
    source : Pumped
        Where answers come from.
    parent : QObject
        Ends the pump with it.
    """

    def __init__(self, source: Pumped, parent: QObject) -> None:
        super().__init__(parent)
        self._source = source
        self._is_wanted = False
        self.setInterval(INTERVAL_MS)
        self.timeout.connect(self._tick)
        waker = _WAKERS.get(source)
        if waker is None:
            waker = _WAKERS[source] = Waker()
        self._waker = waker
        source.on_ready = waker.wake
        waker.ready.connect(self._wake, Qt.ConnectionType.QueuedConnection)

    def open(self) -> None:
        """Deliver from now on."""
        self._is_wanted = True
        self.start()

    def release(self) -> None:
        """Stop once nothing is left to deliver."""
        self._is_wanted = False

    def _wake(self) -> None:
        self._waker.arrived()
        if self.isActive():
            self._tick()

    def _tick(self) -> None:
        self._source.pump()
        if not self._is_wanted and not self._source.is_busy:
            self.stop()
