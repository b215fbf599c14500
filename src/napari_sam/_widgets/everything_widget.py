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

from napari_sam._bridge.everything_run import (
    NO_PROMPTING,
    EverythingRun,
    result_text,
)
from napari_sam._bridge.many_desk import desk_of
from napari_sam._bridge.model_holder import LoadedModel, LoadingModel, NoModel
from napari_sam._widgets.auto_settings_form import AutoSettingsForm
from napari_sam._widgets.dock import Dock
from napari_sam._widgets.layer_choice import NO_IMAGE_TEXT, layer_choice
from napari_sam._widgets.many_binder import ManyBinder
from napari_sam._widgets.model_choice import ModelChoice
from napari_sam._widgets.scope_choice import ScopeChoice
from napari_sam._widgets.way_choice import WayChoice
from napari_sam.annotation.scope import Scope
from napari_sam.errors import PhaseError

if TYPE_CHECKING:
    import napari
    from napari.layers import Labels

    from napari_sam._bridge.model_holder import ModelStatus
    from napari_sam.annotation.grid_run import GridResult


class EverythingWidget(Dock):
    """Finds all objects of a plane or of all planes.

    Fully automatic, they go into a new labels layer; semi-automatic, sure ones go into
    the labels being prompted and the others are proposed.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer or napari's proxy of it.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.image = layer_choice(self.viewer, Image, tooltip="The image to segment.")
        self.region = layer_choice(
            self.viewer,
            Shapes,
            none="whole image",
            tooltip="Shapes that limit the search: the selected ones, or all of the "
            "layer. Objects that lie mostly inside are kept.",
        )
        self.scope = ScopeChoice()
        self.model = ModelChoice(self.session)
        self.way = WayChoice()
        self.settings = AutoSettingsForm()
        self.run = QPushButton("Segment everything")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop soon and keep the objects found by then.")
        self.progress = QProgressBar()
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.many = ManyBinder(self, self.attempt, self.session, self.viewer)
        self.everything = EverythingRun(self.viewer, self.session)
        # Qt is destroying the panel then: the slot must not reach for it.
        everything = self.everything
        self.destroyed.connect(lambda *_: everything.close())
        self._lay_out()
        self.run.clicked.connect(self._start)
        self.cancel.clicked.connect(self._cancel)
        self._show_state()

    def reset_choices(self, event: Any = None) -> None:
        """Follow the layer list."""
        self.image.reset_choices()
        self.region.reset_choices()
        self.many.batch.reset_choices()
        self._show_state()

    def entered(self) -> None:
        """Connect to the session."""
        self.session.models.changed.connect(self._follow_model)
        self.session.grid_progressed.connect(self._follow_progress)
        self.session.grid_finished.connect(self._follow_result)
        self.session.controller_changed.connect(self.many.follow)
        self.everything.progressed.connect(self._follow_progress)
        self.everything.finished.connect(self._follow_text)
        self.model.connect()
        self.many.follow(self.session.controller)
        self._follow_model(self.session.models.status)
        if isinstance(self.session.models.status, NoModel) and self.model.is_packaged:
            # Small, and its own defaults are then shown before the first run.
            self.session.use_model(self.model.spec)

    def left(self) -> None:
        """Let go of the session; a run goes on and its result still comes."""
        self.session.models.changed.disconnect(self._follow_model)
        self.session.grid_progressed.disconnect(self._follow_progress)
        self.session.grid_finished.disconnect(self._follow_result)
        self.session.controller_changed.disconnect(self.many.follow)
        self.everything.progressed.disconnect(self._follow_progress)
        self.everything.finished.disconnect(self._follow_text)
        self.model.disconnect()
        self.many.follow(None)

    def _lay_out(self) -> None:
        source = QGroupBox("Image and model")
        form = QFormLayout(source)
        form.addRow("Image", self.image.native)
        form.addRow("Planes", self.scope)
        form.addRow("Region", self.region.native)
        self.model.add_to(form)
        form.addRow(self.way)
        row = QHBoxLayout()
        row.addWidget(self.run, stretch=1)
        row.addWidget(self.cancel)
        self.column.addWidget(source)
        self.column.addLayout(row)
        self.column.addWidget(self.progress)
        self.column.addWidget(self.message)
        for section in self.many.sections():
            # What unfolds may be wider than what was there.
            section.toggled.connect(lambda *_: self.updateGeometry())
            self.column.addWidget(section)
        self.column.addWidget(self.settings)
        self.add_diagnostics_button()

    def _start(self) -> None:
        if self.image.value is None:
            self.message.setText(NO_IMAGE_TEXT)
            return
        self.progress.setRange(0, 0)
        self.message.setText("Looking at the image ...")
        if not self.attempt(self._begin):
            self.message.setText("")
        self._show_state()

    def _begin(self) -> None:
        image, spec = self.image.value, self.model.spec
        settings, region = self.settings.overrides, self.region.value
        if self.way.is_semi:
            desk = desk_of(self.session)
            if desk is None:
                raise PhaseError(NO_PROMPTING)
            self.everything.start(
                image, spec, settings, self.scope.scope, region, desk, self.way.sure
            )
        elif self.scope.scope is Scope.ALL or self.everything.is_large(image):
            self.everything.start(image, spec, settings, self.scope.scope, region)
        else:
            self.session.start_grid(image, spec, settings, region)

    def _cancel(self) -> None:
        self.message.setText("Stopping ...")
        if self.everything.is_running:
            self.everything.cancel()
        else:
            self.session.cancel_grid()

    def _follow_model(self, status: ModelStatus) -> None:
        if isinstance(status, LoadedModel):
            self.settings.set_model_defaults(status.segmenter.auto_defaults)
            self.way.set_model_defaults(status.segmenter.auto_defaults)
        elif isinstance(status, LoadingModel) and self._is_running:
            self.message.setText(f"Loading the model {status.spec.name} ...")
        self._show_state()

    def _follow_progress(self, done: int, total: int) -> None:
        self.progress.setRange(0, total)
        self.progress.setValue(done)
        if not (self.session.is_grid_cancelled or self.everything.is_cancelled):
            points = f"{done} of {total} points"
            is_counted = self.settings.is_grid
            self.message.setText(
                points if is_counted else f"{100 * done // max(total, 1)} %"
            )

    def _follow_result(
        self, layer: Labels | None, result: GridResult | None, reason: str
    ) -> None:
        self._follow_text(result_text(layer, result, reason))

    def _follow_text(self, text: str) -> None:
        if self.many.proposals.has_proposals:
            self.many.proposals_section.expand(animate=False)
        self.message.setText(text)
        self._show_state()

    @property
    def _is_running(self) -> bool:
        return self.session.is_grid_running or self.everything.is_running

    def _show_state(self) -> None:
        """Enable what can be done now."""
        if self.message.text() in ("", NO_IMAGE_TEXT):
            self.message.setText(NO_IMAGE_TEXT if self.image.value is None else "")
        is_running = self._is_running
        self.run.setEnabled(self.image.value is not None and not is_running)
        self.cancel.setEnabled(is_running)
        self.progress.setVisible(is_running)
