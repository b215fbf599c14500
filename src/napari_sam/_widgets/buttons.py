# SPDX-License-Identifier: Apache-2.0
"""Buttons that say what they do, and which key does the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QCheckBox, QPushButton

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtWidgets import QWidget


class _KeyedTooltip:
    """The tooltip of a button, with the key that does the same."""

    def __init__(self, button: QAbstractButton, text: str) -> None:
        self._button = button
        self._text = text
        self._key = ""
        self._write()

    def describe(self, text: str) -> None:
        self._text = text
        self._write()

    def show_key(self, key: str) -> None:
        self._key = key
        self._write()

    def _write(self) -> None:
        key = f"\nKey: {self._key}" if self._key else ""
        self._button.setToolTip(self._text + key)


class ActionButton(QPushButton):
    """A push button with a key.

    Parameters
    ----------
    text : str
        What is written on it.
    tooltip : str
        What it does.
    action : str
        Name of the action in the table of keys; empty if there is no key.
    is_checkable : bool
        Whether it stays pressed.

    Attributes
    ----------
    keyed : object
        The tooltip: `describe` says something else, `show_key` names the key.
    """

    def __init__(
        self, text: str, tooltip: str, *, action: str = "", is_checkable: bool = False
    ) -> None:
        super().__init__(text)
        # After a click the keyboard stays with the viewer: Space is for panning there.
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCheckable(is_checkable)
        self.action = action
        self.keyed = _KeyedTooltip(self, tooltip)

    def describe(self, tooltip: str) -> None:
        """Say something else about what the button does now."""
        self.keyed.describe(tooltip)


class ActionCheckBox(QCheckBox):
    """A check box with a key; arguments as for `ActionButton`."""

    def __init__(self, text: str, tooltip: str, *, action: str = "") -> None:
        super().__init__(text)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.action = action
        self.keyed = _KeyedTooltip(self, tooltip)


def show_keys(widget: QWidget, keys: Mapping[str, str]) -> None:
    """Name the keys in the tooltips of all our buttons inside a widget.

    Parameters
    ----------
    widget : QWidget
        A panel.
    keys : mapping of str to str
        Key by action, as it is to be read: ``{"accept": "X"}``.
    """
    buttons: list[ActionButton | ActionCheckBox] = [
        *widget.findChildren(ActionButton),
        *widget.findChildren(ActionCheckBox),
    ]
    for button in buttons:
        button.keyed.show_key(keys.get(button.action, ""))
