# SPDX-License-Identifier: Apache-2.0
"""What connects panels to the controller of the moment, and lets go of it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam._bridge.controller import PromptController


class Binder(QObject):
    """Follows one controller at a time.

    A subclass names what it listens to and shows what it finds. Panels never know the
    annotator: they tell what the user wants, and are told what to show.

    Parameters
    ----------
    parent : QObject
        Ends the binder with it.
    attempt : callable
        Calls a function for the user and reports an error of ours.
    """

    def __init__(self, parent: QObject, attempt: Callable[..., bool]) -> None:
        super().__init__(parent)
        self.attempt = attempt
        self.controller: PromptController | None = None
        self._connected: list[tuple[Any, Any]] = []

    def follow(self, controller: PromptController | None) -> None:
        """Listen to another controller, or to none, and show how it stands."""
        for signal, slot in self._connected:
            signal.disconnect(slot)
        self.controller = controller
        self._connected = [] if controller is None else self.connections(controller)
        for signal, slot in self._connected:
            signal.connect(slot)
        self.refresh()

    def connections(self, controller: PromptController) -> list[tuple[Any, Any]]:
        """List what to listen to, and which method listens."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Show how the controller stands, or that there is none."""
        raise NotImplementedError
