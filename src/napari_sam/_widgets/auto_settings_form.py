# SPDX-License-Identifier: Apache-2.0
"""The settings of the automatic mode as a form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_sam._widgets.auto_fields import (
    GRID_ONLY,
    GROUPS,
    SettingField,
    plain_defaults,
)
from napari_sam.structures.settings import GRID_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPEN_GROUPS = 2
"""How many groups are unfolded at first; the rest is for the curious."""


class IgnoreWheel(QObject):
    """Lets the panel scroll where a field would otherwise change its value."""

    def eventFilter(self, field: Any, event: Any) -> bool:
        """Refuse the wheel unless the field has the focus."""
        if event.type() == QEvent.Type.Wheel and not field.hasFocus():
            event.ignore()
            return True
        return False


class AutoSettingsForm(QWidget):
    """Fields for every setting; knows which of them the user changed.

    Fields that were not touched follow the model's own defaults and are not part of
    `overrides`, so that the same run on the command line needs the same options.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, QWidget] = {}
        self._touched: set[str] = set()
        self._defaults = plain_defaults()
        self._ignore_wheel = IgnoreWheel(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for number, (title, group) in enumerate(GROUPS.items()):
            section = QCollapsible(title)
            page = QWidget()
            form = QFormLayout(page)
            for field in group:
                widget = self._make(field)
                widget.setToolTip(field.help)
                widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                widget.installEventFilter(self._ignore_wheel)
                form.addRow(field.label, widget)
                label: Any = form.labelForField(widget)
                label.setToolTip(field.help)
                self.fields[field.name] = widget
            form.setContentsMargins(0, 0, 0, 0)
            section.addWidget(page)
            inner: Any = section.content().layout()
            inner.setContentsMargins(12, 2, 0, 2)
            if number < _OPEN_GROUPS:
                section.expand(animate=False)
            column.addWidget(section)
        self.reset = QPushButton("Defaults of the model")
        self.reset.setToolTip("Set every field to what the model was tuned for.")
        self.reset.clicked.connect(self.forget_changes)
        column.addWidget(self.reset)
        method: Any = self.fields["method"]
        method.currentIndexChanged.connect(self._follow_method)
        self._show_defaults()

    @property
    def overrides(self) -> dict[str, Any]:
        """Names and values of the settings that the user changed and that do something.

        What only the grid knows is left out when another method is chosen.
        """
        unused = () if self.is_grid else GRID_ONLY
        names = self._touched.difference(unused)
        if not self.is_grid and names.intersection(GRID_NUMBERS):
            names.add("method")  # such numbers alone would choose the grid
        return {name: self.value(name) for name in sorted(names)}

    @property
    def is_grid(self) -> bool:
        """Whether every point of the grid is asked, one step of progress each."""
        return bool(self.value("method") == "grid")

    def value(self, name: str) -> Any:
        """Return the present value of a setting."""
        widget: Any = self.fields[name]
        if isinstance(widget, QCheckBox):
            return widget.isChecked()
        if isinstance(widget, QComboBox):
            return widget.currentData()
        return widget.value()

    def set_value(self, name: str, value: Any) -> None:
        """Set a field as the user would."""
        _put(self.fields[name], value)

    def set_model_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Show a model's own defaults in the fields that were not touched."""
        self._defaults = {**plain_defaults(), **defaults}
        self._show_defaults()

    def forget_changes(self) -> None:
        """Go back to the defaults."""
        self._touched.clear()
        self._show_defaults()

    def _show_defaults(self) -> None:
        for name, widget in self.fields.items():
            if name not in self._touched and name in self._defaults:
                with QSignalBlocker(widget):
                    _put(widget, self._defaults[name])
        self._follow_method()

    def _follow_method(self) -> None:
        """Enable the settings that the chosen method knows."""
        for name in GRID_ONLY:
            self.fields[name].setEnabled(self.is_grid)

    def _make(self, field: SettingField) -> QWidget:
        name = field.name
        if field.kind == "bool":
            check = QCheckBox()
            check.toggled.connect(lambda: self._touched.add(name))
            return check
        if field.kind == "choice":
            combo = QComboBox()
            for text, value in field.choices.items():
                combo.addItem(text, value)
            combo.currentIndexChanged.connect(lambda: self._touched.add(name))
            return combo
        if field.kind == "int":
            whole = QSpinBox()
            whole.setRange(int(field.low), int(field.high))
            whole.setSingleStep(int(field.step))
            whole.valueChanged.connect(lambda: self._touched.add(name))
            return whole
        number = QDoubleSpinBox()
        number.setRange(field.low, field.high)
        number.setSingleStep(field.step)
        number.setDecimals(3)
        number.valueChanged.connect(lambda: self._touched.add(name))
        return number


def _put(widget: Any, value: Any) -> None:
    if isinstance(widget, QCheckBox):
        widget.setChecked(bool(value))
    elif isinstance(widget, QComboBox):
        index = next(
            (i for i in range(widget.count()) if widget.itemData(i) == value), -1
        )
        if index < 0:
            widget.addItem(str(value), value)
            index = widget.count() - 1
        widget.setCurrentIndex(index)
    else:
        widget.setValue(value)
