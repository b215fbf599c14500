# SPDX-License-Identifier: Apache-2.0
"""Three buttons: a point on the object, a point beside it, a box around it."""

from __future__ import annotations

from typing import ClassVar

from psygnal import Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QWidget

from napari_sam._bridge.prompt_layers import BOX_COLOR, COLORS, NEGATIVE, POSITIVE

_ICON_PX = 16


class ToolChoice(QWidget):
    """Chooses what the next click or drag means.

    Attributes
    ----------
    chosen : Signal(str, str)
        Tool, "point" or "box", and polarity of the next points.
    """

    chosen: ClassVar[Signal] = Signal(str, str)

    def __init__(self) -> None:
        super().__init__()
        self.positive = _button(
            "Object", COLORS[POSITIVE], "Click on the object: a positive point."
        )
        self.negative = _button(
            "Not object",
            COLORS[NEGATIVE],
            "Click where the mask is too large: a negative point.",
        )
        self.box = _button("Box", BOX_COLOR, "Drag a rectangle around the object.")
        self._group = QButtonGroup(self)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for button in (self.positive, self.negative, self.box):
            self._group.addButton(button)
            row.addWidget(button)
        self.positive.setChecked(True)
        self.positive.clicked.connect(lambda: self.chosen.emit("point", POSITIVE))
        self.negative.clicked.connect(lambda: self.chosen.emit("point", NEGATIVE))
        self.box.clicked.connect(lambda: self.chosen.emit("box", self.polarity))

    @property
    def polarity(self) -> str:
        """What the next points are."""
        return NEGATIVE if self.negative.isChecked() else POSITIVE

    def show_polarity(self, polarity: str) -> None:
        """Follow the points layer, whose default changes with the selected point."""
        if not self.box.isChecked():
            button = self.negative if polarity == NEGATIVE else self.positive
            button.setChecked(True)


def _button(text: str, color: str, tooltip: str) -> QPushButton:
    button = QPushButton(text)
    button.setCheckable(True)
    button.setToolTip(tooltip)
    pixmap = QPixmap(_ICON_PX, _ICON_PX)
    pixmap.fill(QColor("transparent"))
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(QColor(color))
    painter.setPen(QColor(color))
    painter.drawEllipse(2, 2, _ICON_PX - 4, _ICON_PX - 4)
    painter.end()
    button.setIcon(QIcon(pixmap))
    return button
