# SPDX-License-Identifier: Apache-2.0
"""Fully or semi-automatic, and from where on a mask is sure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFormLayout,
    QVBoxLayout,
    QWidget,
)

from napari_sam._widgets.auto_settings_form import IgnoreWheel
from napari_sam.annotation.semi_automatic import sure_thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping

SEMI_TOOLTIP = (
    "Sure masks become locked objects of the image being prompted; the others are "
    "proposed, to be filtered, accepted or dropped. Without it, every object goes into "
    "a new labels layer."
)


class WayChoice(QWidget):
    """A switch, and two thresholds while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.semi = QCheckBox("Semi-automatic")
        self.semi.setToolTip(SEMI_TOOLTIP)
        self.iou, self.stability = QDoubleSpinBox(), QDoubleSpinBox()
        self._is_touched = False
        wheel = IgnoreWheel(self)
        self.thresholds = QWidget()
        form = QFormLayout(self.thresholds)
        form.setContentsMargins(0, 0, 0, 0)
        for text, field, tooltip in (
            ("Sure from IoU", self.iou, "Predicted IoU of a sure mask, at least."),
            ("and stability", self.stability, "Stability of a sure mask, at least."),
        ):
            field.setRange(0.0, 1.0)
            field.setSingleStep(0.01)
            field.setToolTip(tooltip)
            field.installEventFilter(wheel)
            field.valueChanged.connect(self._on_touched)
            form.addRow(text, field)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.semi)
        column.addWidget(self.thresholds)
        self.semi.toggled.connect(self.thresholds.setVisible)
        self.thresholds.setVisible(False)
        self.set_model_defaults({})

    @property
    def is_semi(self) -> bool:
        """Whether the semi-automatic way is chosen."""
        return bool(self.semi.isChecked())

    @property
    def sure(self) -> tuple[float, float] | None:
        """Thresholds that the user set, None for the model's own."""
        return (self.iou.value(), self.stability.value()) if self._is_touched else None

    def set_model_defaults(self, defaults: Mapping[str, float]) -> None:
        """Show a model's thresholds unless the user has set others."""
        if self._is_touched:
            return
        values = sure_thresholds(defaults)
        for field, value in zip((self.iou, self.stability), values, strict=True):
            with QSignalBlocker(field):
                field.setValue(value)

    def _on_touched(self) -> None:
        self._is_touched = True
