# SPDX-License-Identifier: Apache-2.0
"""Fields that say which channels of an image the model sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QLabel

from napari_sam._bridge.view_settings import (
    COLOURS,
    channel_axis_hint,
    channel_names,
    choose_channels,
    image_shape,
)
from napari_sam._widgets.view_fields import narrow_combo
from napari_sam.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image
    from qtpy.QtWidgets import QComboBox, QFormLayout

    from napari_sam.structures.view_settings import Channel, ViewSettings

# Light enough for napari's dark theme and dark enough for the light one.
SWATCHES = {"red": "#e5484d", "green": "#3c9d4e", "blue": "#3f8efc"}


class ChannelFields:
    """Rows of a form: axis of the channels, grey or colours, the channels.

    Parameters
    ----------
    form : QFormLayout
        Where the rows go.

    Attributes
    ----------
    edited : Signal()
        The user chose something else.
    """

    edited: ClassVar[Signal] = Signal()

    def __init__(self, form: QFormLayout) -> None:
        self._form = form
        self._layer: Image | None = None
        self._others: tuple[Image, ...] = ()
        self._names: tuple[str, ...] = ()
        self.axis = narrow_combo(
            "Axis of the array along which the channels lie, if any."
        )
        self.hint = QLabel()
        self.shown_as = narrow_combo(
            "One channel as a grey picture, or up to three colours."
        )
        self.shown_as.addItems(["grey", "colours"])
        self.colours = [
            narrow_combo(f"Channel that the model sees in {colour}.")
            for colour in COLOURS
        ]
        form.addRow("Channels", self.axis)
        form.addRow(self.hint)
        form.addRow("Shown as", self.shown_as)
        for colour, combo in zip(COLOURS, self.colours, strict=True):
            form.addRow(colour.capitalize(), combo)
            combo.currentIndexChanged.connect(self._on_colour)
        self.axis.currentIndexChanged.connect(self._on_axis)
        self.shown_as.currentIndexChanged.connect(self._on_shown_as)
        self.show_layer(None)

    @property
    def channel_axis(self) -> int | None:
        """Axis that was chosen."""
        return self.axis.currentData()

    @property
    def channels(self) -> tuple[Channel, Channel, Channel] | None:
        """Channels that were chosen, None if they are the ones shown anyway."""
        if self._layer is None or len(self._names) < 2:
            return None
        red, green, blue = (combo.currentData() for combo in self.colours)
        if self.shown_as.currentText() == "grey":
            green = blue = red
        if (red, green, blue) == self._usual or red is green is blue is None:
            return None
        # Layers change their order, so they go by name.
        by_name = self._layer.rgb is False and self.channel_axis is None
        red, green, blue = (
            self._names[index] if by_name and index is not None else index
            for index in (red, green, blue)
        )
        return red, green, blue

    def show_layer(
        self,
        layer: Image | None,
        others: Sequence[Image] = (),
        settings: ViewSettings | None = None,
    ) -> None:
        """Offer what a layer has, and show the choice in `settings`."""
        self._layer, self._others = layer, tuple(others)
        shape = () if layer is None else image_shape(layer)
        with QSignalBlocker(self.axis):
            self.axis.clear()
            self.axis.addItem("no axis", None)
            if layer is not None and not layer.rgb and len(shape) > 2:
                for axis, size in enumerate(shape):
                    self.axis.addItem(_axis_text(layer, axis, size), axis)
            wanted = None if settings is None else settings.channel_axis
            self.axis.setCurrentIndex(max(self.axis.findData(wanted), 0))
        self._set_visible(self.axis, self.axis.count() > 1)
        self._offer_channels(None if settings is None else settings.channels)

    @property
    def _usual(self) -> tuple[int | None, int | None, int | None]:
        """What is shown without a choice: a layer alone, not mixed with others."""
        is_mix = self._others and self.channel_axis is None
        return choose_channels(None, self._names[: 1 if is_mix else None])

    def _offer_channels(
        self, chosen: tuple[Channel, Channel, Channel] | None = None
    ) -> None:
        layer = self._layer
        self._names = (
            ()
            if layer is None
            else channel_names(layer, self.channel_axis, self._others)
        )
        indices = self._usual
        if chosen is not None and self._names:
            try:
                indices = choose_channels(chosen, self._names)
            except ImageError:  # a layer that has gone meanwhile
                indices = self._usual
        for combo, index in zip(self.colours, indices, strict=True):
            with QSignalBlocker(combo):
                combo.clear()
                for number, name in enumerate(self._names):
                    combo.addItem(name, number)
                combo.addItem("black", None)
                combo.setCurrentIndex(combo.findData(index))
        with QSignalBlocker(self.shown_as):
            is_grey = indices[0] == indices[1] == indices[2]
            self.shown_as.setCurrentText("grey" if is_grey else "colours")
        self._show_hint()
        self._show_rows()

    def _on_colour(self) -> None:
        self.edited.emit()

    def _on_axis(self) -> None:
        self._offer_channels()
        self.edited.emit()

    def _on_shown_as(self) -> None:
        """Begin colours with the first channels, and grey with what was red."""
        red, green, blue = self.colours
        if self.shown_as.currentText() == "colours":
            spread = choose_channels(None, self._names)
            for combo, index in zip(self.colours, spread, strict=True):
                with QSignalBlocker(combo):
                    combo.setCurrentIndex(combo.findData(index))
        elif red.currentData() is None:
            for combo in (green, blue):
                if combo.currentData() is not None:
                    with QSignalBlocker(red):
                        red.setCurrentIndex(combo.currentIndex())
                    break
        self._show_rows()
        self.edited.emit()

    def _show_rows(self) -> None:
        has_choice = len(self._names) > 1
        is_grey = self.shown_as.currentText() == "grey"
        self._set_visible(self.shown_as, has_choice)
        for colour, combo in zip(COLOURS, self.colours, strict=True):
            self._set_visible(combo, has_choice and (colour == "red" or not is_grey))
            label: Any = self._form.labelForField(combo)
            swatch = f'<span style="color:{SWATCHES[colour]}">●</span>'
            label.setText("Channel" if is_grey else f"{swatch} {colour.capitalize()}")

    def _show_hint(self) -> None:
        axis = None if self._layer is None else channel_axis_hint(self._layer)
        is_hinted = axis is not None and self.channel_axis is None
        if axis is not None and self._layer is not None:
            size = image_shape(self._layer)[axis]
            self.hint.setText(f"Does axis {axis}, of {size} entries, hold channels?")
        self.hint.setVisible(is_hinted)

    def _set_visible(self, field: QComboBox, is_visible: bool) -> None:  # noqa: FBT001  as in Qt
        field.setVisible(is_visible)
        label: Any = self._form.labelForField(field)
        label.setVisible(is_visible)


def _axis_text(layer: Image, axis: int, size: int) -> str:
    label = str(layer.axis_labels[axis]).removeprefix("axis ")
    name = "" if label.lstrip("-").isdigit() else f" {label}"
    return f"axis {axis}{name} ({size})"
