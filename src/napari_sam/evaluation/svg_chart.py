# SPDX-License-Identifier: Apache-2.0
"""Small charts as SVG that stands in an HTML page.

Written with the standard library: inline SVG takes colours and fonts from the page's
style, so one picture suits light and dark screens; a plotting package would draw two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH, HEIGHT = 460, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 44
_LEGEND_STEP = 18
N_COLOURS = 6
"""Classes c0, c1, ... that the page's style gives colours to."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a chart.

    Attributes
    ----------
    label : str
        What it shows, with its unit.
    low, high : float
        Its ends; an axis without extent is widened.
    is_log : bool
        Logarithmic; both ends are positive then.
    ticks : tuple of (value, text)
        Where it is labelled; found automatically if empty.
    """

    label: str
    low: float
    high: float
    is_log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()

    def place(self, value: float) -> float:
        """Return where a value lies, 0 at the lower end and 1 at the upper one."""
        low, high, at = self.low, self.high, value
        if self.is_log:
            low, high, at = math.log10(low), math.log10(high), math.log10(value)
        if high <= low:
            low, high = low - 0.5, high + 0.5
        return (at - low) / (high - low)

    def marks(self) -> list[tuple[float, str]]:
        """Return values to be labelled, and their labels."""
        if self.ticks:
            return list(self.ticks)
        if self.is_log:
            return _log_marks(self.low, self.high)
        step = _round_step((self.high - self.low) / 5)
        first, last = (
            math.ceil(self.low / step - 1e-9),
            math.floor(self.high / step + 1e-9),
        )
        return [(i * step, f"{i * step:,.10g}") for i in range(first, last + 1)]


class Chart:
    """One chart; shapes are drawn in the order in which they are added.

    Parameters
    ----------
    title : str
        What it shows, in one line; the picture's name for a screen reader.
    x, y : Axis
        Its axes.
    height : int
        Pixels, without a legend.
    left : int
        Pixels left of the plot, for the labels of the y axis.
    """

    def __init__(
        self, title: str, x: Axis, y: Axis, *, height: int = HEIGHT, left: int = _LEFT
    ) -> None:
        self._title, self._x, self._y = title, x, y
        self._height, self._left = height, left
        self._shapes: list[str] = []
        self._legend: list[tuple[str, str]] = []
        self._says: list[str] = []

    def say(self, sentence: str) -> None:
        """Add to what a screen reader tells of the chart."""
        self._says.append(sentence)

    def bars(
        self, edges: Sequence[float], heights: Sequence[float], colour: int
    ) -> None:
        """Draw a bar between neighbouring edges, from the lower end of the y axis."""
        floor = self._py(self._y.low)
        for left, right, value in zip(edges[:-1], edges[1:], heights, strict=True):
            if value > self._y.low:
                x0, x1, top = self._px(left), self._px(right), self._py(value)
                self._shapes.append(
                    f'<rect class="bar c{colour % N_COLOURS}" x="{x0 + 0.5:.1f}" '
                    f'y="{top:.1f}" width="{max(x1 - x0 - 1, 0.5):.1f}" '
                    f'height="{floor - top:.1f}"><title>{left:.2f} to {right:.2f}: '
                    f"{value:,.10g}</title></rect>"
                )

    def line(
        self,
        points: Iterable[tuple[float, float]],
        colour: int,
        *,
        has_dots: bool = True,
    ) -> None:
        """Draw a line through points."""
        places = [(self._px(x), self._py(y), y) for x, y in points]
        if len(places) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
            self._shapes.append(
                f'<polyline class="line c{colour % N_COLOURS}" points="{path}"/>'
            )
        if has_dots or len(places) == 1:
            self._shapes += [
                f'<circle class="dot c{colour % N_COLOURS}" cx="{x:.1f}" cy="{y:.1f}" '
                f'r="3"><title>{value:.3f}</title></circle>'
                for x, y, value in places
            ]

    def band(self, ends: Sequence[tuple[float, float, float]], colour: int) -> None:
        """Fill between (x, low, high)."""
        if len(ends) < 2:
            return
        there = [(self._px(x), self._py(high)) for x, _, high in ends]
        back = [(self._px(x), self._py(low)) for x, low, _ in reversed(ends)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*there, *back])
        self._shapes.append(
            f'<polygon class="band c{colour % N_COLOURS}" points="{path}"/>'
        )

    def cloud(self, points: Iterable[tuple[float, float]], colour: int) -> None:
        """Draw many points as one shape."""
        path = "".join(f"M{self._px(x):.1f} {self._py(y):.1f}h0" for x, y in points)
        if path:
            self._shapes.append(
                f'<path class="cloud c{colour % N_COLOURS}" d="{path}"/>'
            )

    def interval(
        self, y: float, value: float, low: float, high: float, colour: int
    ) -> None:
        """Draw a value with its interval along the x axis."""
        at, css = self._py(y), f"c{colour % N_COLOURS}"
        x0, x1, x = self._px(low), self._px(high), self._px(value)
        self._shapes.append(
            f'<path class="line {css}" '
            f'd="M{x0:.1f} {at - 4:.1f}v8m0 -4H{x1:.1f}m0 -4v8"/>'
            f'<circle class="dot {css}" cx="{x:.1f}" cy="{at:.1f}" r="4">'
            f"<title>{value:.3f} ({low:.3f} to {high:.3f})</title></circle>"
        )

    def upright(self, x: float, text: str) -> None:
        """Draw a dashed line at an x, with a label."""
        at, top, bottom = self._px(x), self._py(self._y.high), self._py(self._y.low)
        is_right = self._x.place(x) > 0.5
        anchor, shift = ("end", -4) if is_right else ("start", 4)
        self._shapes.append(
            f'<path class="rule" d="M{at:.1f} {bottom:.1f}V{top:.1f}"/>'
            f'<text class="tick" x="{at + shift:.1f}" y="{top + 10:.1f}" '
            f'text-anchor="{anchor}">{escape(text)}</text>'
        )

    def legend(self, colour: int, text: str) -> None:
        """Name a colour."""
        self._legend.append((f"c{colour % N_COLOURS}", text))

    def svg(self) -> str:
        """Return the chart as an SVG element."""
        height = self._height + _LEGEND_STEP * len(self._legend)
        described = " ".join([f"{self._title}.", *self._says])
        head = (
            f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" aria-label="{escape(described)}">'
        )
        shapes = [*self._grid(), *self._shapes, *self._keys()]
        return f"{head}{''.join(shapes)}</svg>"

    def _px(self, value: float) -> float:
        inner = WIDTH - self._left - _RIGHT
        return self._left + inner * self._x.place(value)

    def _py(self, value: float) -> float:
        inner = self._height - _TOP - _BOTTOM
        return _TOP + inner * (1 - self._y.place(value))

    def _grid(self) -> Iterable[str]:
        left, right = self._left, WIDTH - _RIGHT
        top, bottom = _TOP, self._height - _BOTTOM
        for value, text in self._x.marks():
            at = self._px(value)
            yield f'<path class="grid" d="M{at:.1f} {top}V{bottom}"/>'
            yield (
                f'<text class="tick" x="{at:.1f}" y="{bottom + 15}" '
                f'text-anchor="middle">{escape(text)}</text>'
            )
        for value, text in self._y.marks():
            at = self._py(value)
            yield f'<path class="grid" d="M{left} {at:.1f}H{right}"/>'
            yield (
                f'<text class="tick" x="{left - 6}" y="{at + 4:.1f}" '
                f'text-anchor="end">{escape(text)}</text>'
            )
        yield f'<path class="axis" d="M{left} {top}V{bottom}H{right}"/>'
        yield (
            f'<text class="name" x="{(left + right) / 2:.0f}" y="{bottom + 34}" '
            f'text-anchor="middle">{escape(self._x.label)}</text>'
        )
        if self._y.label:
            middle = (top + bottom) / 2
            yield (
                f'<text class="name" text-anchor="middle" '
                f'transform="translate(14 {middle:.0f}) rotate(-90)">'
                f"{escape(self._y.label)}</text>"
            )

    def _keys(self) -> Iterable[str]:
        for row, (css, text) in enumerate(self._legend):
            y = self._height + _LEGEND_STEP * row + 8
            yield (
                f'<path class="line {css}" d="M{self._left} {y}h20"/>'
                f'<circle class="dot {css}" cx="{self._left + 10}" cy="{y}" r="3"/>'
                f'<text class="tick" x="{self._left + 28}" y="{y + 4}">'
                f"{escape(text)}</text>"
            )


def _log_marks(low: float, high: float) -> list[tuple[float, str]]:
    """Return powers of ten between two values; of few, their 2- and 5-folds as well."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        values = [n * 10.0**d for d in decades for n in factors]
        values = [v for v in values if low <= v <= high]
        if len(values) > 2:
            break
    return [(v, f"{v:,.10g}") for v in values]


def _round_step(step: float) -> float:
    """Return the next of 1, 2, 5, 10, ... at or above a step."""
    if not step > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= step * (1 - 1e-9))
