# SPDX-License-Identifier: Apache-2.0
"""Delivers what the model thread has finished: the only crossing from thread to Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    from qtpy.QtCore import QObject

INTERVAL_MS = 20


class Pumped(Protocol):
    """Something with answers to deliver."""

    @property
    def is_busy(self) -> bool:
        """Whether answers are still to come."""
        ...

    def pump(self) -> object:
        """Deliver what is there, in the calling thread."""
        ...


class Pump(QTimer):
    """Calls ``pump`` every 20 ms while wanted, and afterwards until all is delivered.

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

    def open(self) -> None:
        """Deliver from now on."""
        self._is_wanted = True
        self.start()

    def release(self) -> None:
        """Stop once nothing is left to deliver."""
        self._is_wanted = False

    def _tick(self) -> None:
        self._source.pump()
        if not self._is_wanted and not self._source.is_busy:
            self.stop()
