# SPDX-License-Identifier: Apache-2.0
"""The dock "Segment everything"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image, Shapes
from qtpy.QtWidgets import (
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
)

from napari_sam._bridge.model_holder import LoadedModel, LoadingModel, NoModel
from napari_sam._widgets.auto_settings_form import AutoSettingsForm
from napari_sam._widgets.dock import Dock
from napari_sam._widgets.layer_choice import NO_IMAGE_TEXT, layer_choice
from napari_sam._widgets.model_choice import ModelChoice

if TYPE_CHECKING:
    import napari
    from napari.layers import Labels

    from napari_sam._bridge.model_holder import ModelStatus
    from napari_sam.annotation.grid_run import GridResult


class EverythingWidget(Dock):
    """Finds all objects of a plane and puts them into a new labels layer.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer or napari's proxy of it.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.image = layer_choice(
            self.viewer, Image, tooltip="The image to segment; of a stack, its plane."
        )
        self.region = layer_choice(
            self.viewer,
            Shapes,
            none="whole image",
            tooltip="Shapes that limit the search: the selected ones, or all of the "
            "layer. Objects that lie mostly inside are kept.",
        )
        self.model = ModelChoice(self.session)
        self.settings = AutoSettingsForm()
        self.run = QPushButton("Segment everything")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop soon and keep the objects found by then.")
        self.progress = QProgressBar()
        self.message = QLabel()
        self.message.setWordWrap(True)
        self._lay_out()
        self.run.clicked.connect(self._start)
        self.cancel.clicked.connect(self._cancel)
        self._show_state()

    def reset_choices(self, event: Any = None) -> None:
        """Follow the layer list."""
        self.image.reset_choices()
        self.region.reset_choices()
        self._show_state()

    def entered(self) -> None:
        """Connect to the session."""
        self.session.models.changed.connect(self._follow_model)
        self.session.grid_progressed.connect(self._follow_progress)
        self.session.grid_finished.connect(self._follow_result)
        self.model.connect()
        self._follow_model(self.session.models.status)
        if isinstance(self.session.models.status, NoModel) and self.model.is_packaged:
            # Small, and its own defaults are then shown before the first run.
            self.session.use_model(self.model.spec)

    def left(self) -> None:
        """Let go of the session; a run goes on and its result still comes."""
        self.session.models.changed.disconnect(self._follow_model)
        self.session.grid_progressed.disconnect(self._follow_progress)
        self.session.grid_finished.disconnect(self._follow_result)
        self.model.disconnect()

    def _lay_out(self) -> None:
        source = QGroupBox("Image and model")
        form = QFormLayout(source)
        form.addRow("Image", self.image.native)
        form.addRow("Region", self.region.native)
        self.model.add_to(form)
        row = QHBoxLayout()
        row.addWidget(self.run, stretch=1)
        row.addWidget(self.cancel)
        self.column.addWidget(source)
        self.column.addLayout(row)
        self.column.addWidget(self.progress)
        self.column.addWidget(self.message)
        self.column.addWidget(self.settings)
        self.add_diagnostics_button()

    def _start(self) -> None:
        if self.image.value is None:
            self.message.setText(NO_IMAGE_TEXT)
            return
        self.progress.setRange(0, 0)
        self.message.setText("Looking at the image ...")
        is_started = self.attempt(
            self.session.start_grid,
            self.image.value,
            self.model.spec,
            self.settings.overrides,
            self.region.value,
        )
        if not is_started:
            self.message.setText("")
        self._show_state()

    def _cancel(self) -> None:
        self.message.setText("Stopping ...")
        self.session.cancel_grid()

    def _follow_model(self, status: ModelStatus) -> None:
        if isinstance(status, LoadedModel):
            self.settings.set_model_defaults(status.segmenter.auto_defaults)
        elif isinstance(status, LoadingModel) and self.session.is_grid_running:
            self.message.setText(f"Loading the model {status.spec.name} ...")
        self._show_state()

    def _follow_progress(self, done: int, total: int) -> None:
        self.progress.setRange(0, total)
        self.progress.setValue(done)
        if not self.session.is_grid_cancelled:
            self.message.setText(f"{done} of {total} points")

    def _follow_result(
        self, layer: Labels | None, result: GridResult | None, reason: str
    ) -> None:
        if reason or layer is None or result is None:
            text = reason or "No result: the viewer was closed."
        elif not result.records:
            text = (
                "No objects found: lower the thresholds of predicted IoU or stability, "
                "or take more points."
            )
        else:
            text = f"{len(result.records)} objects in the layer {layer.name!r}"
            text += " so far: the run was cancelled." if result.is_partial else "."
        self.message.setText(text)
        self._show_state()

    def _show_state(self) -> None:
        """Enable what can be done now."""
        if self.message.text() in ("", NO_IMAGE_TEXT):
            self.message.setText(NO_IMAGE_TEXT if self.image.value is None else "")
        is_running = self.session.is_grid_running
        self.run.setEnabled(self.image.value is not None and not is_running)
        self.cancel.setEnabled(is_running)
        self.progress.setVisible(is_running)
