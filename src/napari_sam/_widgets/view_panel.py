# SPDX-License-Identifier: Apache-2.0
"""Panel for what the model sees: channels, contrast, and a small picture of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget

from napari_sam._bridge.image_source import LayerImageSource
from napari_sam._widgets.channel_fields import ChannelFields
from napari_sam._widgets.contrast_fields import ContrastFields
from napari_sam._widgets.view_preview import ViewPreview
from napari_sam.errors import NapariSamError
from napari_sam.structures.view_settings import ViewSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image

    from napari_sam.annotation.ports import JobRunner, PlaneKey

PAUSE_MS = 1500
"""After so long without a change, the image is embedded anew."""

OUT_OF_DATE = "Out of date: embedded anew at the next prompt."


class ViewPanel(QWidget):
    """Fields of `ViewSettings` with a picture of what the model gets.

    The panel knows a layer and a plane, not the session: it tells what the user wants.

    Parameters
    ----------
    runner : JobRunner, optional
        Where thumbnails are read, as arrays on slow disks may take their time. By
        default they are read at once.

    Attributes
    ----------
    changed : Signal(ViewSettings)
        What was computed is out of date.
    embed_wanted : Signal()
        The button was pressed, or nothing was changed for a while.
    """

    changed: ClassVar[Signal] = Signal(object)
    embed_wanted: ClassVar[Signal] = Signal()

    def __init__(self, runner: JobRunner | None = None) -> None:
        super().__init__()
        self._layer: Image | None = None
        self._others: tuple[Image, ...] = ()
        self._plane: PlaneKey | None = None
        self._settings = ViewSettings()
        self._is_listening = False
        self._build(runner)
        self._pause = _timer(self, PAUSE_MS, self._on_embed)
        self._redraw = _timer(self, 0, self._show_thumbnail)
        self.channels.edited.connect(self._on_edit)
        self.contrast.edited.connect(self._on_edit)
        self.embed.clicked.connect(self._on_embed)
        self.set_source(None, None)

    @property
    def settings(self) -> ViewSettings:
        """What was announced last; limits of layers are in it as numbers."""
        return self._settings

    def set_source(
        self,
        layer: Image | None,
        plane: PlaneKey | None,
        others: Sequence[Image] = (),
    ) -> None:
        """Show another image or plane; nothing is emitted.

        Parameters
        ----------
        layer : Image or None
            A new one begins with the default settings.
        plane : PlaneKey or None
            The plane shown; None leaves the thumbnail empty.
        others : sequence of Image
            Images on the same pixels, offered as channels.
        """
        is_same = layer is not None and layer == self._layer
        is_same = is_same and tuple(others) == self._others
        self._plane = plane
        if not is_same:
            self._listen(is_wanted=False)
            if layer is None or layer != self._layer:
                self._settings = ViewSettings()
                self._pause.stop()
            self._layer, self._others = layer, tuple(others)
            self._listen(is_wanted=self.isVisible())
            self.set_settings(self._settings)
        self.form.setEnabled(layer is not None)
        self.embed.setEnabled(layer is not None)
        self._redraw.start()

    def set_settings(self, settings: ViewSettings) -> None:
        """Show settings that were remembered; nothing is emitted."""
        self._settings = settings
        self.channels.show_layer(self._layer, self._others, settings)
        self.contrast.show_layer(self._layer)
        self.contrast.show_settings(settings)
        self.problem.hide()
        self._redraw.start()

    def set_state(self, text: str) -> None:
        """Show how the embedding stands: ready, out of date, computing."""
        self.state.setText(text)

    def showEvent(self, event: Any) -> None:
        """Follow the layer's contrast limits while visible."""
        super().showEvent(event)
        self._listen(is_wanted=True)
        self._on_layer_limits()
        self._redraw.start()

    def hideEvent(self, event: Any) -> None:
        """Leave the layer alone."""
        super().hideEvent(event)
        self._listen(is_wanted=False)

    def _build(self, runner: JobRunner | None) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self.form = QWidget()
        rows = QFormLayout(self.form)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.channels = ChannelFields(rows)
        self.contrast = ContrastFields(rows)
        column.addWidget(self.form)
        self.problem = QLabel()
        self.problem.setWordWrap(True)
        self.problem.hide()
        column.addWidget(self.problem)
        preview = ViewPreview(runner)
        self.thumbnail, self.state = preview.thumbnail, preview.state
        self.embed = preview.embed
        column.addWidget(preview)
        column.addStretch(1)

    def _on_edit(self) -> None:
        """Announce what the fields say now, or why it makes no sense."""
        if self._layer is None:
            return
        try:
            settings = self.contrast.apply_to(
                ViewSettings(
                    channel_axis=self.channels.channel_axis,
                    channels=self.channels.channels,
                )
            )
            settings = LayerImageSource(self._layer, settings, self._others).settings
        except NapariSamError as error:
            self.problem.setText(str(error))
            self.problem.show()
            return
        self.problem.hide()
        if settings == self._settings:
            return
        self._settings = settings
        self.contrast.remember(settings)
        self._redraw.start()
        self._pause.start()
        self.set_state(OUT_OF_DATE)
        self.changed.emit(settings)

    def _on_embed(self) -> None:
        self._pause.stop()
        self.embed_wanted.emit()

    def _on_layer_limits(self, event: Any = None) -> None:
        if self._layer is not None and self._settings.contrast == "contrast limits":
            self.contrast.show_layer(self._layer)
            self._on_edit()

    def _listen(self, *, is_wanted: bool) -> None:
        if is_wanted == self._is_listening or self._layer is None:
            return
        self._is_listening = is_wanted
        for layer in (self._layer, *self._others):
            event = layer.events.contrast_limits
            (event.connect if is_wanted else event.disconnect)(self._on_layer_limits)

    def _show_thumbnail(self) -> None:
        if not self.isVisible():
            return  # nothing is read for a folded panel; it is drawn when it opens
        if self._layer is None or self._plane is None:
            self.thumbnail.clear_picture()
            return
        try:
            source = LayerImageSource(self._layer, self._settings, self._others)
        except NapariSamError as error:
            self.thumbnail.show_text(str(error))
            return
        self.thumbnail.show_plane(source, self._plane)


def _timer(parent: QWidget, interval_ms: int, slot: Any) -> QTimer:
    """Make a timer that fires once, counted from its last start."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(interval_ms)
    timer.timeout.connect(slot)
    return timer
