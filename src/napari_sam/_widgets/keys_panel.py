# SPDX-License-Identifier: Apache-2.0
"""All keys in one table."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_KEYS = "No keys are bound."


class KeysPanel(QWidget):
    """Lists keys and what they do."""

    def __init__(self) -> None:
        super().__init__()
        self.table = QLabel(NO_KEYS)
        self.table.setTextFormat(Qt.TextFormat.RichText)
        self.table.setWordWrap(True)
        self.table.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)

    def show_rows(self, rows: Iterable[tuple[str, str]]) -> None:
        """Show other rows.

        Parameters
        ----------
        rows : iterable of (str, str)
            A key as it is to be read, and what it does. Without key, a row stays out.
        """
        lines = [
            f"<tr><td><b>{escape(key).replace(' ', '&nbsp;')}</b>&nbsp;&nbsp;</td>"
            f"<td>{escape(what)}</td></tr>"
            for key, what in rows
            if key
        ]
        self.table.setText(f"<table>{''.join(lines)}</table>" if lines else NO_KEYS)
