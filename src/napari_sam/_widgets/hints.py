# SPDX-License-Identifier: Apache-2.0
"""Three hints for the first use, each shown until it is dismissed for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QVBoxLayout

from napari_sam._widgets.buttons import ActionButton

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HINTS = {
    "point": (
        "Move over an object: its mask appears. Click to take it; Ctrl-click or "
        "right-click where the mask is too large, or drag a box."
    ),
    "candidates": (
        "A point can mean a part or the whole: choose between small, medium and "
        "large below{next_candidate}."
    ),
    "accept": "Accept writes the mask as an object{accept}. Undo takes anything back.",
}
"""Texts by name; a name in braces becomes the key of that action."""


class Hints(QFrame):
    """Shows the first hint that has not been dismissed.

    Parameters
    ----------
    is_seen : callable
        Tells of a name whether the hint was dismissed.
    see : callable
        Remembers that it was.
    """

    def __init__(
        self, is_seen: Callable[[str], bool], see: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._left = [name for name in HINTS if not is_seen(name)]
        self._see = see
        self._keys: Mapping[str, str] = {}
        self.name = ""
        self.setObjectName("sam_hint")
        self.setStyleSheet("#sam_hint { border-left: 3px solid #56b4e9; }")
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.number = QLabel()
        self.next = ActionButton("Got it", "Do not show this hint again.")
        self.never = ActionButton("No hints", "Show none of the hints again.")
        self.next.clicked.connect(self._dismiss)
        self.never.clicked.connect(self._dismiss_all)
        row = QHBoxLayout()
        row.addWidget(self.number, 1)
        row.addWidget(self.never)
        row.addWidget(self.next)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 0, 0, 0)
        column.addWidget(self.text)
        column.addLayout(row)
        self.refresh()

    def set_keys(self, keys: Mapping[str, str]) -> None:
        """Name keys in the hints.

        Parameters
        ----------
        keys : mapping of str to str
            Key by action.
        """
        self._keys = keys
        self.refresh()

    def refresh(self) -> None:
        """Show the first hint that is left, or nothing."""
        self.name = self._left[0] if self._left else ""
        if not self.name:
            self.hide()
            return
        keys = {name: f" (key {key})" for name, key in self._keys.items()}
        words = dict.fromkeys(("next_candidate", "accept"), "") | keys
        self.text.setText(HINTS[self.name].format_map(words))
        self.number.setText(f"Hint {list(HINTS).index(self.name) + 1} of {len(HINTS)}")

    def _dismiss(self) -> None:
        self._see(self._left.pop(0))
        self.refresh()

    def _dismiss_all(self) -> None:
        while self._left:
            self._see(self._left.pop(0))
        self.refresh()
