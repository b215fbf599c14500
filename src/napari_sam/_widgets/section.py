# SPDX-License-Identifier: Apache-2.0
"""A part of a panel under a title that folds it away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtGui import QIcon
from superqt import QCollapsible

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

_NO_LIMIT = 16_777_215
"""Qt's own largest height."""
_HEADER_STYLE = (
    "text-align: left; border: none; outline: none; background: transparent; "
    "font-weight: bold; padding: 3px 0px;"
)


class Section(QCollapsible):
    """A foldable section, without animation.

    Parameters
    ----------
    title : str
    content : QWidget
        Hidden while folded, so that the Tab key does not walk through it.
    is_open : bool
        Whether it begins unfolded.
    tooltip : str
        What the section is for.
    """

    def __init__(
        self, title: str, content: QWidget, *, is_open: bool = False, tooltip: str = ""
    ) -> None:
        # The arrow is text: superqt paints its icons before napari's theme is known.
        super().__init__(title, expandedIcon=QIcon(), collapsedIcon=QIcon())
        self._title = title
        self.setDuration(0)
        self.setContent(content)
        column: Any = self.layout()
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        self.toggleButton().setToolTip(tooltip or f"Show or hide: {title}")
        self.toggleButton().setStyleSheet(_HEADER_STYLE)
        self.toggled.connect(self._show_content)
        self._show_content(is_open=False)
        if is_open:
            self.expand(animate=False)

    def _show_content(self, is_open: bool) -> None:  # noqa: FBT001  a Qt slot
        # superqt fixes the height it finds now; contents that grow later need more.
        if is_open:
            self.content().setMaximumHeight(_NO_LIMIT)
        self.content().setVisible(is_open)
        self.setText(f"{'▾' if is_open else '▸'} {self._title}")
