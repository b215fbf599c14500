# SPDX-License-Identifier: Apache-2.0
"""Single fields of the view panel that stay narrow and leave the wheel to scrolling."""

from __future__ import annotations

from typing import TypeVar

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QSizePolicy, QWidget

from napari_sam._widgets.auto_settings_form import IgnoreWheel

Field = TypeVar("Field", bound=QWidget)


def narrow_combo(tooltip: str) -> QComboBox:
    """Make a combo box that long entries do not widen."""
    combo = QComboBox()
    combo.setToolTip(tooltip)
    combo.setSizeAdjustPolicy(
        QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
    )
    combo.setMinimumContentsLength(6)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return leave_wheel(combo)


def narrow_number(tooltip: str) -> QDoubleSpinBox:
    """Make a field for a number that tells of it once it is typed to the end."""
    field = QDoubleSpinBox()
    field.setToolTip(tooltip)
    field.setKeyboardTracking(False)
    field.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)  # room for digits
    field.setMinimumWidth(50)
    field.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return leave_wheel(field)


def leave_wheel(field: Field) -> Field:
    """Let the wheel scroll the panel unless the field has the focus."""
    field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    field.installEventFilter(IgnoreWheel(field))
    return field
