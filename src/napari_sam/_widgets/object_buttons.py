# SPDX-License-Identifier: Apache-2.0
"""What can be done with the selected objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal
from qtpy.QtWidgets import QGridLayout, QWidget

from napari_sam._widgets.buttons import ActionButton
from napari_sam.annotation.objects import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.annotation.objects import AnnotatedObject

_BUTTONS = (
    ("reopen", "Reopen", "Bring the object's prompts back, to change it."),
    ("delete", "Delete", "Erase the objects' pixels."),
    ("merge", "Merge", "Make one object of two or more on one plane."),
    ("split", "Split", "Cut the object along the line drawn last."),
    ("rename", "Class", "Type a class for all selected objects."),
    ("unsure", "Unsure", "Mark as unsure, or accept again."),
    ("lock", "Lock", "Keep the pixels whatever is written later."),
)
_ACTIONS = {"reopen": "reopen", "delete": "delete", "unsure": "mark_unsure"}
"""Buttons that have a key."""
_N_COLUMNS = 4


class ObjectButtons(QWidget):
    """Buttons that are enabled when the selection suits them.

    Attributes
    ----------
    pressed : Signal(str)
        Name of the button.
    """

    pressed: ClassVar[Signal] = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.buttons: dict[str, ActionButton] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        for number, (name, text, tooltip) in enumerate(_BUTTONS):
            button = ActionButton(text, tooltip, action=_ACTIONS.get(name, ""))
            button.clicked.connect(lambda _, name=name: self.pressed.emit(name))
            grid.addWidget(button, number // _N_COLUMNS, number % _N_COLUMNS)
            self.buttons[name] = button
        self.show_selection((), can_act=False)

    def show_selection(
        self, chosen: Sequence[AnnotatedObject], *, can_act: bool
    ) -> None:
        """Enable what can be done with some objects; locked ones stay as they are."""
        n, can_act = len(chosen), can_act and bool(chosen)
        is_free = can_act and not any(one.is_locked for one in chosen)
        is_one_plane = len({one.plane for one in chosen}) == 1
        for name in ("rename", "unsure", "lock"):
            self.buttons[name].setEnabled(can_act)
        self.buttons["delete"].setEnabled(is_free)
        self.buttons["merge"].setEnabled(is_free and n > 1 and is_one_plane)
        for name in ("reopen", "split"):
            self.buttons[name].setEnabled(is_free and n == 1)
        is_unsure = n > 0 and all(one.status is Status.UNSURE for one in chosen)
        self.buttons["unsure"].setText("Sure" if is_unsure else "Unsure")
        is_locked = n > 0 and all(one.is_locked for one in chosen)
        self.buttons["lock"].setText("Unlock" if is_locked else "Lock")
