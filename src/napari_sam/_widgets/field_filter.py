# SPDX-License-Identifier: Apache-2.0
"""Keeps fields of a panel from taking wheel and keys that are meant for others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox

from napari_sam._widgets.auto_settings_form import IgnoreWheel

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


class FieldFilter(IgnoreWheel):
    """Lets the wheel scroll the panel, and letters reach napari.

    After a choice in a combo box the focus stays there. Qt would take the next letter
    to search the list, and the viewer's keys would seem to be dead.
    """

    def install(self, panel: QWidget) -> None:
        """Watch over all combo and spin boxes of a panel."""
        for field in (
            *panel.findChildren(QComboBox),
            *panel.findChildren(QAbstractSpinBox),
        ):
            field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            field.installEventFilter(self)

    def eventFilter(self, field: Any, event: Any) -> bool:
        """Refuse letters for boxes without a text field; and the wheel."""
        if (
            event.type() == QEvent.Type.KeyPress
            and isinstance(field, QComboBox)
            and not field.isEditable()
            and is_letter(event)
        ):
            event.ignore()
            return True
        return super().eventFilter(field, event)


def is_letter(event: Any) -> bool:
    """Whether a key event would type something, other than a space."""
    commands = (
        Qt.KeyboardModifier.ControlModifier
        | Qt.KeyboardModifier.AltModifier
        | Qt.KeyboardModifier.MetaModifier
    )
    text = event.text()
    is_command = bool(event.modifiers() & commands)
    return bool(text.strip()) and text.isprintable() and not is_command
