# SPDX-License-Identifier: Apache-2.0
"""A small line chart, painted by Qt: nothing to import, nothing to wait for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Mapping

# Okabe and Ito: told apart by colour-blind eyes, and on light and dark ground.
COLOURS = ("#56b4e9", "#e69f00", "#009e73")
_MARGINS = (34.0, 18.0, 6.0, 18.0)  # left, top, right, bottom
_DOT_PX, _LINE_PX = 2.0, 1.6


class LineChart(QWidget):
    """Lines over the steps of a training, with the range of values beside them.

    Parameters
    ----------
    title : str
    names : mapping of str
        What each line is called, by its key.
    limits : (low, high), optional
        Range of values; by default what the values need.
    """

    def __init__(
        self,
        title: str,
        names: Mapping[str, str],
        limits: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self._title, self._names, self._limits = title, dict(names), limits
        self.points: dict[str, list[tuple[float, float]]] = {}
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.clear()

    def sizeHint(self) -> QSize:
        """Ask for little; sideways it grows."""
        return QSize(150, 118)

    def minimumSizeHint(self) -> QSize:
        """Ask for what is still readable."""
        return QSize(120, 118)

    def clear(self) -> None:
        """Forget all values."""
        self.points = {key: [] for key in self._names}
        self.update()

    def add(self, step: float, values: Mapping[str, float]) -> None:
        """Add values of a step; others than the named ones, and NaN, are left out."""
        for key, line in self.points.items():
            value = values.get(key)
            if value is not None and math.isfinite(value):
                line.append((float(step), float(value)))
        self.update()

    def paintEvent(self, _: Any) -> None:
        """Paint title, legend, axes and lines."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = self.font()
        font.setPointSizeF(max(6.0, font.pointSizeF() * 0.85))
        painter.setFont(font)
        text = self.palette().text().color()
        faint = QColor(text)
        faint.setAlpha(70)
        left, top, right, bottom = _MARGINS
        area = QRectF(self.rect()).adjusted(left, top, -right, -bottom)
        self._paint_legend(painter, text)
        painter.setPen(QPen(faint, 1))
        painter.drawRect(area)
        drawn = [point for line in self.points.values() for point in line]
        if not drawn:
            painter.end()
            return
        low, high = self._limits or _range([value for _, value in drawn])
        last = max(max(step for step, _ in drawn), 1.0)
        painter.setPen(text)
        self._paint_scale(painter, area, (low, high), last)
        for colour, line in zip(COLOURS, self.points.values(), strict=False):
            places = [
                QPointF(
                    area.left() + area.width() * step / last,
                    area.bottom()
                    - area.height() * (min(max(value, low), high) - low) / (high - low),
                )
                for step, value in line
            ]
            painter.setPen(QPen(QColor(colour), _LINE_PX))
            painter.drawPolyline(QPolygonF(places))
            if len(places) < 12:
                painter.setBrush(QColor(colour))
                for place in places:
                    painter.drawEllipse(place, _DOT_PX, _DOT_PX)
        painter.end()

    def _paint_legend(self, painter: QPainter, text: QColor) -> None:
        """Write the title and, of several lines, their names in their colours."""
        metrics = painter.fontMetrics()
        x, y = 2.0, float(metrics.ascent() + 1)
        painter.setPen(text)
        painter.drawText(QPointF(x, y), self._title)
        x += metrics.horizontalAdvance(self._title + "  ")
        if len(self._names) == 1:
            return
        for colour, name in zip(COLOURS, self._names.values(), strict=False):
            painter.setPen(QColor(colour))
            painter.drawText(QPointF(x, y), name)
            x += metrics.horizontalAdvance(name + "  ")

    @staticmethod
    def _paint_scale(
        painter: QPainter, area: QRectF, limits: tuple[float, float], last: float
    ) -> None:
        align = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for value, y in ((limits[1], area.top()), (limits[0], area.bottom())):
            box = QRectF(0, y - 8, area.left() - 3, 16)
            painter.drawText(box, int(align), f"{value:.2f}")
        below = QRectF(area.left(), area.bottom() + 1, area.width(), 16)
        painter.drawText(below, int(Qt.AlignmentFlag.AlignRight), f"step {last:.0f}")


def _range(values: list[float]) -> tuple[float, float]:
    """Return a range with some room, never empty."""
    low, high = min(values), max(values)
    room = max(0.05 * (high - low), 0.01)
    return low - room, high + room
