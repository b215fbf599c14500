# SPDX-License-Identifier: Apache-2.0
"""One filter as a row: its name, a slider with two ends, what it drops."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal
from qtpy.QtCore import QObject, QSignalBlocker, Qt
from qtpy.QtWidgets import QLabel
from superqt import QLabeledDoubleRangeSlider

if TYPE_CHECKING:
    from qtpy.QtWidgets import QGridLayout

N_STEPS = 500
"""Positions of an end; finer steps are not seen on a screen."""


class RangeRow(QObject):
    """Label, slider and count of one statistic; the slider's ends are its filter.

    An end that stands at the end of the slider lets everything beyond through, and
    what has no value as well.

    Parameters
    ----------
    parent : QObject
    name, text, tooltip : str
        Name of the statistic, what it is called, what it says.
    is_whole : bool
        Whether values are counts.

    Attributes
    ----------
    changed : Signal(str, float, float)
        Name, lowest and highest value that pass.
    """

    changed: ClassVar[Signal] = Signal(str, float, float)

    def __init__(
        self, parent: QObject, name: str, text: str, tooltip: str, *, is_whole: bool
    ) -> None:
        super().__init__(parent)
        self._name = name
        self._extent = (0.0, 1.0)
        self._is_whole = is_whole
        self.label = QLabel(text)
        # Its types are those of the slider of whole numbers.
        self.slider: Any = QLabeledDoubleRangeSlider(Qt.Orientation.Horizontal)
        # The values stand at both ends and can be typed; beside the handles they would
        # be cut off.
        modes = QLabeledDoubleRangeSlider.EdgeLabelMode
        self.slider.setEdgeLabelMode(modes.LabelIsValue)
        self.slider.setHandleLabelPosition(
            QLabeledDoubleRangeSlider.LabelPosition.NoLabel
        )
        self.count = QLabel()
        self.count.setAlignment(
            Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        )
        for widget in (self.label, self.slider, self.count):
            widget.setToolTip(tooltip)
        self.slider.valueChanged.connect(self._on_value)
        self.set_extent(0.0, 1.0)

    def add_to(self, grid: QGridLayout, row: int) -> None:
        """Put label, slider and count into the columns of a grid."""
        grid.addWidget(self.label, row, 0)
        grid.addWidget(self.slider, row, 1)
        grid.addWidget(self.count, row, 2)

    def set_extent(self, low: float, high: float) -> None:
        """Give the slider another range, with both ends open."""
        digits = (
            0 if self._is_whole or high - low > 200 else 1 if high - low > 20 else 2
        )
        scale = 10.0**digits
        # Outwards, so that the lowest and the highest value are inside.
        low, high = math.floor(low * scale) / scale, math.ceil(high * scale) / scale
        if high <= low:
            high = low + 1 / scale
        self._extent = (low, high)
        with QSignalBlocker(self.slider):
            self.slider.setDecimals(digits)
            self.slider.setRange(low, high)
            self.slider.setSingleStep(max((high - low) / N_STEPS, 1 / scale))
            self.slider.setValue((low, high))

    def set_range(self, low: float, high: float) -> None:
        """Show a filter without telling of it; infinite ends are open."""
        ends = max(low, self._extent[0]), min(high, self._extent[1])
        with QSignalBlocker(self.slider):
            self.slider.setValue((min(ends), max(ends)))

    def show_dropped(self, n_dropped: int, n_alone: int) -> None:
        """Say how many the filter drops, and how many only it drops."""
        self.count.setText(f"-{n_dropped}" if n_dropped else "")
        self.count.setToolTip(
            f"Drops {n_dropped}; {n_alone} of them would pass all other filters."
        )

    def _on_value(self, value: tuple[float, float]) -> None:
        low, high = value
        first, last = self._extent
        step = 0.5 * 10.0 ** -self.slider.decimals()
        self.changed.emit(
            self._name,
            -math.inf if low <= first + step else low,
            math.inf if high >= last - step else high,
        )
