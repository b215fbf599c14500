# SPDX-License-Identifier: Apache-2.0
"""Small pictures of the tools, drawn rather than stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF
from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap, QPolygonF

if TYPE_CHECKING:
    from collections.abc import Callable

_ICON_PX = 16


def tool_icon(name: str, color: str) -> QIcon:
    """Draw the picture of a tool or of a sign, 16 pixels large.

    Parameters
    ----------
    name : str
        A tool of `tool_choice.TOOLS`, "positive" or "negative".
    color : str
        Of the lines.
    """
    pixmap = QPixmap(_ICON_PX, _ICON_PX)
    pixmap.fill(QColor("transparent"))
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(color), 2))
    _DRAWINGS[name](painter)
    painter.end()
    return QIcon(pixmap)


def _draw_disc(painter: QPainter) -> None:
    painter.setBrush(painter.pen().color())
    painter.drawEllipse(QRectF(3, 3, 10, 10))


def _draw_cross(painter: QPainter) -> None:
    painter.drawLine(QPointF(4, 4), QPointF(12, 12))
    painter.drawLine(QPointF(4, 12), QPointF(12, 4))


def _draw_point(painter: QPainter) -> None:
    painter.setBrush(painter.pen().color())
    painter.drawEllipse(QRectF(5, 5, 6, 6))


def _draw_box(painter: QPainter) -> None:
    painter.drawRect(QRectF(2, 4, 12, 8))


def _draw_ellipse(painter: QPainter) -> None:
    painter.drawEllipse(QRectF(2, 4, 12, 8))


def _draw_polygon(painter: QPainter) -> None:
    corners = [(8, 2), (14, 7), (11, 13), (4, 13), (2, 6)]
    painter.drawPolygon(QPolygonF([QPointF(x, y) for x, y in corners]))


def _draw_lasso(painter: QPainter) -> None:
    painter.drawEllipse(QRectF(2, 2, 12, 8))
    painter.drawLine(QPointF(5, 9), QPointF(3, 14))


def _draw_scribble(painter: QPainter) -> None:
    corners = [(2, 12), (5, 4), (8, 11), (11, 4), (14, 12)]
    painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in corners]))


_DRAWINGS: dict[str, Callable[[QPainter], None]] = {
    "positive": _draw_disc,
    "negative": _draw_cross,
    "point": _draw_point,
    "box": _draw_box,
    "ellipse": _draw_ellipse,
    "polygon": _draw_polygon,
    "lasso": _draw_lasso,
    "scribble": _draw_scribble,
}
