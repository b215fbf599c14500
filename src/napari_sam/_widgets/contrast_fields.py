# SPDX-License-Identifier: Apache-2.0
"""Fields that say which values of an image the model sees as black and white."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from psygnal import Signal
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QSlider,
    QWidget,
)
from superqt import QLabeledDoubleSlider

from napari_sam._widgets.view_fields import leave_wheel, narrow_combo, narrow_number
from napari_sam.structures.view_settings import CONTRASTS, ViewSettings

if TYPE_CHECKING:
    from napari.layers import Image
    from qtpy.QtWidgets import QFormLayout

GAMMA_RANGE = (0.2, 4.0)
WIDEST = 1e12
CONTRAST_HELP = (
    "percentiles: of each plane, so that all planes are equally bright.\n"
    "contrast limits: those of the layer, as you see it.\n"
    "fixed range: the same values for all planes and images."
)


class ContrastFields:
    """Rows of a form: contrast and its two values, gamma, inversion.

    Parameters
    ----------
    form : QFormLayout
        Where the rows go.

    Attributes
    ----------
    edited : Signal()
        The user changed something.
    """

    edited: ClassVar[Signal] = Signal()

    def __init__(self, form: QFormLayout) -> None:
        self._form = form
        self._layer: Image | None = None
        self._shown = ViewSettings()
        self.mode = narrow_combo(CONTRAST_HELP)
        self.mode.addItems(CONTRASTS)
        self.low = narrow_number("Value shown as black.")
        self.high = narrow_number("Value shown as white.")
        self._range = QWidget()
        row = QHBoxLayout(self._range)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.low, 1)
        row.addWidget(QLabel("to"))
        row.addWidget(self.high, 1)
        self.gamma = _gamma_slider()
        self.invert = QCheckBox()
        self.invert.setToolTip(
            "Swap black and white: for dark objects on a bright ground."
        )
        form.addRow("Contrast", self.mode)
        form.addRow("Range", self._range)
        form.addRow("Gamma", self.gamma)
        form.addRow("Invert", self.invert)
        self.show_settings(self._shown)
        self.mode.currentIndexChanged.connect(self._on_mode)
        self.low.valueChanged.connect(self._on_field)
        self.high.valueChanged.connect(self._on_field)
        self.gamma.valueChanged.connect(self._on_field)
        self.invert.toggled.connect(self._on_field)

    def apply_to(self, settings: ViewSettings) -> ViewSettings:
        """Return settings with the contrast of these fields.

        Raises
        ------
        SettingsError
            If black is not below white.
        """
        shown, mode = self._shown, self.mode.currentText()
        values: dict[str, Any] = {"contrast": mode, "limits": None}
        pair = (self.low.value(), self.high.value())
        if mode == "percentiles":
            values["percentiles"] = pair
        elif mode == "fixed range":
            # What came with more digits or colours than are shown here stays.
            is_kept = shown.contrast == mode and pair == _rounded(
                shown.limits_of(0), self.low.decimals()
            )
            values["limits"] = shown.limits if is_kept else pair
        is_kept = round(_clipped(shown.gamma), 2) == round(self.gamma.value(), 2)
        values["gamma"] = shown.gamma if is_kept else round(self.gamma.value(), 2)
        values["invert"] = self.invert.isChecked()
        return replace(settings, **values)

    def show_layer(self, layer: Image | None) -> None:
        """Offer what a layer has: a colour picture has no contrast limits."""
        self._layer = layer
        item: Any = self.mode.model()
        index = self.mode.findText("contrast limits")
        item.item(index).setEnabled(layer is not None and not layer.rgb)
        self._show_range(self.mode.currentText())

    def show_settings(self, settings: ViewSettings) -> None:
        """Fill the fields without telling anyone."""
        self._shown = settings
        with QSignalBlocker(self.mode):
            self.mode.setCurrentText(settings.contrast)
        with QSignalBlocker(self.gamma):
            self.gamma.setValue(_clipped(settings.gamma))
        with QSignalBlocker(self.invert):
            self.invert.setChecked(settings.invert)
        self._show_range(settings.contrast)

    def remember(self, settings: ViewSettings) -> None:
        """Take settings as what the fields show already."""
        self._shown = settings

    def _on_field(self) -> None:
        self.edited.emit()

    def _on_mode(self) -> None:
        self._show_range(self.mode.currentText())
        self.edited.emit()

    def _show_range(self, mode: str) -> None:
        """Show the two values that belong to a kind of contrast."""
        shown, layer = self._shown, self._layer
        # Contrast limits are the business of napari's own controls.
        self._range.setVisible(mode != "contrast limits")
        label: Any = self._form.labelForField(self._range)
        label.setVisible(mode != "contrast limits")
        if mode == "percentiles":
            self._fill(shown.percentiles, (0, 100), 2, "%")
            return
        limits = (0.0, 255.0) if layer is None else tuple(layer.contrast_limits)
        if mode == shown.contrast == "fixed range":
            limits = shown.limits_of(0) or limits
        is_whole = layer is not None and np.dtype(layer.dtype).kind in "bui"
        self._fill(limits, (-WIDEST, WIDEST), 0 if is_whole else 4, "")

    def _fill(
        self, pair: Any, span: tuple[float, float], digits: int, unit: str
    ) -> None:
        for field, value in zip((self.low, self.high), pair, strict=True):
            with QSignalBlocker(field):
                field.setDecimals(digits)
                field.setRange(*span)
                field.setSuffix(unit)
                field.setValue(float(value))


def _gamma_slider() -> QLabeledDoubleSlider:
    slider = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
    slider.setRange(*GAMMA_RANGE)
    # superqt's own type hints say int, its sliders of fractions mean floats.
    slider.setSingleStep(0.05)  # type: ignore[arg-type]
    slider.setDecimals(2)
    slider.setToolTip("Below 1 lights up what is dim, above 1 darkens it.")
    for part in slider.findChildren(QSlider):
        leave_wheel(part)
    return slider


def _clipped(gamma: float) -> float:
    return min(max(gamma, GAMMA_RANGE[0]), GAMMA_RANGE[1])


def _rounded(pair: Any, digits: int) -> Any:
    return None if pair is None else tuple(round(value, digits) for value in pair)
