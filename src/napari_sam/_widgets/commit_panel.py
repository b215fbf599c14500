# SPDX-License-Identifier: Apache-2.0
"""Accept, discard, undo, redo; class and rule of what is written next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGridLayout,
    QVBoxLayout,
    QWidget,
)

from napari_sam._widgets.buttons import ActionButton, ActionCheckBox
from napari_sam._widgets.commit_rule import CommitRule
from napari_sam._widgets.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_sam.annotation.commit_policy import CommitSettings


class CommitPanel(QWidget):
    """What becomes of the mask shown.

    Attributes
    ----------
    accepted, discarded, undone, redone : Signal()
        The button was pressed.
    settings_chosen : Signal(CommitSettings)
        Another commit rule.
    class_chosen : Signal(str)
        Class of the next object.
    turbo_chosen : Signal(bool)
        Whether a click is accepted at once.
    """

    accepted: ClassVar[Signal] = Signal()
    discarded: ClassVar[Signal] = Signal()
    undone: ClassVar[Signal] = Signal()
    redone: ClassVar[Signal] = Signal()
    settings_chosen: ClassVar[Signal] = Signal(object)
    class_chosen: ClassVar[Signal] = Signal(str)
    turbo_chosen: ClassVar[Signal] = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.accept = ActionButton(
            "Accept mask", "Write the mask shown as an object.", action="accept"
        )
        self.discard = ActionButton(
            "Discard mask",
            "Remove the prompts and the mask; objects stay.",
            action="discard",
        )
        self.undo = ActionButton("Undo", "", action="undo")
        self.redo = ActionButton("Redo", "", action="redo")
        self.class_name = QComboBox()
        self.class_name.setEditable(True)
        self.class_name.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.class_name.setToolTip("Class of the next object; type a new one.")
        line: Any = self.class_name.lineEdit()
        line.setPlaceholderText("no class")
        self.turbo = ActionCheckBox(
            "Turbo: a click is accepted at once",
            "Every click becomes an object without Accept; one Undo takes it back.",
            action="toggle_turbo",
        )
        self.rule = CommitRule()
        self.section = Section("How masks are written", self.rule)
        self._lay_out()
        self._connect()
        self.show_history("", "")
        self.set_usable(can_accept=False, can_discard=False)

    def set_usable(self, *, can_accept: bool, can_discard: bool) -> None:
        """Enable what can be done with the mask shown."""
        self.accept.setEnabled(can_accept)
        self.discard.setEnabled(can_discard)

    def show_settings(self, settings: CommitSettings) -> None:
        """Show a commit rule."""
        self.rule.show_settings(settings)

    def show_history(self, undo_text: str, redo_text: str) -> None:
        """Name what undo and redo would do; empty if there is nothing."""
        for button, text in ((self.undo, undo_text), (self.redo, redo_text)):
            button.setEnabled(bool(text))
            word = button.text()
            button.describe(f"{word}: {text}." if text else f"Nothing to {word}.")

    def show_class(self, name: str) -> None:
        """Show the class of the next object."""
        # What is being typed may end in a space.
        if name != self.class_name.currentText().strip():
            blocker = QSignalBlocker(self.class_name)
            self.class_name.setCurrentText(name)
            del blocker

    def set_class_names(self, names: Iterable[str]) -> None:
        """Offer the classes that are known; the text typed stays."""
        box = self.class_name
        wanted = sorted({name for name in names if name}, key=str.casefold)
        if wanted == [box.itemText(i) for i in range(box.count())]:
            return
        text = box.currentText()
        blocker = QSignalBlocker(box)
        box.clear()
        box.addItems(wanted)
        box.setCurrentText(text)
        del blocker

    def show_turbo(self, is_on: bool) -> None:  # noqa: FBT001  a setter
        """Show whether clicks are accepted at once."""
        blocker = QSignalBlocker(self.turbo)
        self.turbo.setChecked(is_on)
        del blocker

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setSpacing(4)
        grid.addWidget(self.accept, 0, 0)
        grid.addWidget(self.discard, 0, 1)
        grid.addWidget(self.undo, 1, 0)
        grid.addWidget(self.redo, 1, 1)
        form = QFormLayout()
        form.addRow("Class of the next", self.class_name)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(grid)
        column.addLayout(form)
        column.addWidget(self.turbo)
        column.addWidget(self.section)

    def _connect(self) -> None:
        for button, signal in (
            (self.accept, self.accepted),
            (self.discard, self.discarded),
            (self.undo, self.undone),
            (self.redo, self.redone),
        ):
            button.clicked.connect(lambda _, emit=signal.emit: emit())
        self.rule.chosen.connect(self._pass_settings)
        self.class_name.currentTextChanged.connect(
            lambda text: self.class_chosen.emit(text.strip())
        )
        self.turbo.toggled.connect(self.turbo_chosen.emit)

    def _pass_settings(self, settings: CommitSettings) -> None:
        self.settings_chosen.emit(settings)
