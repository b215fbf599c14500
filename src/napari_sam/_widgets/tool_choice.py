# SPDX-License-Identifier: Apache-2.0
"""What the next click or stroke means: where the object is, or where it is not."""

from __future__ import annotations

from typing import ClassVar

from psygnal import Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QGridLayout,
    QHBoxLayout,
    QVBoxLayout,
    QWidget,
)

from napari_sam._bridge.prompt_style import COLORS, NEGATIVE, POSITIVE
from napari_sam._widgets.buttons import ActionButton, ActionCheckBox
from napari_sam._widgets.tool_icons import tool_icon

POINT = "point"
BOX = "box"
ELLIPSE = "ellipse"
POLYGON = "polygon"
LASSO = "lasso"
SCRIBBLE = "scribble"

TOOLS = {
    POINT: (
        "Point",
        "Click on the object; Ctrl-click or right-click beside it; drag a box.",
    ),
    BOX: ("Box", "Drag a rectangle around the object."),
    ELLIPSE: ("Ellipse", "Drag an ellipse around the object; its box is used."),
    POLYGON: (
        "Polygon",
        "Click corners around the object, Enter ends: a box and a mask as a start.",
    ),
    LASSO: ("Lasso", "Draw around the object: a box and a mask as a start."),
    SCRIBBLE: (
        "Scribble",
        "Draw a stroke on the object, or beside it with 'Not object'.",
    ),
}
SIGNED = (POINT, SCRIBBLE)
"""Tools that can also say what is not the object."""
_TOOL_COLOR = COLORS[POSITIVE]


class ToolChoice(QWidget):
    """Chooses the tool and the sign of what is drawn with it.

    Attributes
    ----------
    chosen : Signal(str, str)
        Tool, one of `TOOLS`, and polarity of the next prompts.
    hover_chosen : Signal(bool)
        Whether the mask under the pointer is shown before any click.
    """

    chosen: ClassVar[Signal] = Signal(str, str)
    hover_chosen: ClassVar[Signal] = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.positive = ActionButton(
            "Object",
            "The next points and scribbles lie on the object.",
            action="toggle_polarity",
            is_checkable=True,
        )
        self.negative = ActionButton(
            "Not object",
            "The next points and scribbles lie where the mask is too large.",
            action="toggle_polarity",
            is_checkable=True,
        )
        self.positive.setIcon(tool_icon(POSITIVE, COLORS[POSITIVE]))
        self.negative.setIcon(tool_icon(NEGATIVE, COLORS[NEGATIVE]))
        self.tools = {
            name: ActionButton(text, tooltip, is_checkable=True)
            for name, (text, tooltip) in TOOLS.items()
        }
        for name, button in self.tools.items():
            button.setIcon(tool_icon(name, _TOOL_COLOR))
        self.box = self.tools[BOX]
        self.hover = ActionCheckBox(
            "Show the mask under the pointer",
            "The preview before any click; it rests while you pan.",
            action="toggle_hover",
        )
        self.hover.setChecked(True)
        self._signs, self._group = QButtonGroup(self), QButtonGroup(self)
        self._lay_out()
        self.positive.setChecked(True)
        self.tools[POINT].setChecked(True)
        self.positive.clicked.connect(self._choose_sign)
        self.negative.clicked.connect(self._choose_sign)
        for button in self.tools.values():
            button.clicked.connect(self._choose_tool)
        self.hover.toggled.connect(self.hover_chosen.emit)

    @property
    def tool(self) -> str:
        """The tool, one of `TOOLS`."""
        return next(name for name, one in self.tools.items() if one.isChecked())

    @property
    def polarity(self) -> str:
        """What the next points and scribbles are."""
        return NEGATIVE if self.negative.isChecked() else POSITIVE

    def show_tool(self, tool: str) -> None:
        """Follow the layers, whose modes can be changed there as well."""
        if tool in self.tools:
            self.tools[tool].setChecked(True)

    def show_polarity(self, polarity: str) -> None:
        """Follow the layers, whose defaults change with what is selected."""
        (self.negative if polarity == NEGATIVE else self.positive).setChecked(True)

    def show_hover(self, is_on: bool) -> None:  # noqa: FBT001  a setter
        """Show whether the mask under the pointer is drawn."""
        was_blocked = self.hover.blockSignals(True)  # noqa: FBT003  Qt's own signature
        self.hover.setChecked(is_on)
        self.hover.blockSignals(was_blocked)

    def _lay_out(self) -> None:
        signs = QHBoxLayout()
        for button in (self.positive, self.negative):
            self._signs.addButton(button)
            signs.addWidget(button)
        grid = QGridLayout()
        for number, button in enumerate(self.tools.values()):
            self._group.addButton(button)
            grid.addWidget(button, number // 3, number % 3)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(signs)
        column.addLayout(grid)
        column.addWidget(self.hover)

    def _choose_sign(self) -> None:
        if self.tool not in SIGNED:
            self.tools[POINT].setChecked(True)
        self.chosen.emit(self.tool, self.polarity)

    def _choose_tool(self) -> None:
        if self.tool not in SIGNED:
            self.positive.setChecked(True)
        self.chosen.emit(self.tool, self.polarity)
