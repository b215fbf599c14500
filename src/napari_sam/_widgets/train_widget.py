# SPDX-License-Identifier: Apache-2.0
"""The dock "Train on my masks"."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QWidget

from napari_sam._bridge.training_run import TrainingRun
from napari_sam._widgets.curves import LineChart
from napari_sam._widgets.dock import Dock
from napari_sam._widgets.example_masks import ExampleMasks
from napari_sam._widgets.field_filter import FieldFilter
from napari_sam._widgets.main_thread import Pump
from napari_sam._widgets.train_form import SettingsForm, SourceForm
from napari_sam._widgets.train_texts import (
    data_text,
    earlier_text,
    error_text,
    outcome_text,
    progress_text,
)
from napari_sam.errors import Cancelled, NapariSamError

if TYPE_CHECKING:
    from pathlib import Path

    import napari

    from napari_sam._bridge.model_segmenter import ModelSpec
    from napari_sam._bridge.training_order import Outcome, Prepared
    from napari_sam.training.task import TrainingProgress

_PARTS = 1000  # of the progress bar
INTRO = "Teach a copy of a model to segment as you do, by masks that you have made."
STOPPING = "Stopping after this step; the best weights are kept ..."


class TrainWidget(Dock):
    """Trains a copy of a model on the user's own masks, and offers it for use.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer or napari's proxy of it.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.sources = SourceForm(self.viewer, self.session)
        self.settings = SettingsForm(self.session)
        self.model = self.settings.model
        self.train = QPushButton("Train")
        self.stop = QPushButton("Stop and keep the best")
        self.stop.setToolTip("End after this step; the best weights so far are kept.")
        self.intro = _text(INTRO)
        self.reason = _text()
        self.message = _text()
        self.progress = QProgressBar()
        self.progress.setRange(0, 0)
        self.data = _text()
        self.loss = LineChart("Loss", {"loss": "loss"})
        self.scores = LineChart(
            "IoU", {"point": "click", "box": "box", "corrected": "corrected"}
        )
        self.loss.setToolTip("What training makes small, on images it learns from.")
        self.scores.setToolTip(
            "How well masks fit, 1 is perfect, on objects it does not learn from: with "
            "one click, a box, and a click with one correction."
        )
        self.examples = ExampleMasks()
        self.use = QPushButton("Use this model")
        self.use.setToolTip("Prompt and segment with it from now on, in all panels.")
        self.open_folder = QPushButton("Open folder")
        self.open_folder.setToolTip("Show weights, card and log in the file manager.")
        self.resume = QPushButton("Go on")
        self.resume.setToolTip("Train the earlier result further.")
        self.anew = QPushButton("Start anew")
        self.anew.setToolTip("Forget the earlier run. Models in the list stay.")
        self.run = run = TrainingRun(self.session.runner)
        self._run_pump = Pump(run, self)
        # Qt is destroying the panel then: the slot must not reach for it.
        self.destroyed.connect(lambda *_: run.close())
        self._trained: ModelSpec | None = None
        self._earlier: Prepared | None = None
        self._folder: Path | None = None
        self._lay_out()
        self._connect()
        self._show_state()

    def reset_choices(self, event: Any = None) -> None:
        """Follow the layer list."""
        self.sources.refresh()

    def entered(self) -> None:
        """Follow the session."""
        self.session.weights_changed.connect(self._follow_weights)
        self.session.controller_changed.connect(self._follow_controller)
        self.session.models.changed.connect(self._follow_model)
        self._run_pump.open()
        self._follow_weights()

    def left(self) -> None:
        """Let go of the session; training goes on and its result still comes."""
        self.session.weights_changed.disconnect(self._follow_weights)
        self.session.controller_changed.disconnect(self._follow_controller)
        self.session.models.changed.disconnect(self._follow_model)
        self._run_pump.release()

    def _lay_out(self) -> None:
        buttons, answers, results = QWidget(), QWidget(), QWidget()
        self._charts = QWidget()
        for row, widgets in (
            (buttons, (self.train, self.stop)),
            (answers, (self.resume, self.anew)),
            (self._charts, (self.loss, self.scores)),
            (results, (self.use, self.open_folder)),
        ):
            layout = QHBoxLayout(row)
            layout.setContentsMargins(0, 0, 0, 0)
            for widget in widgets:
                layout.addWidget(widget)
                if isinstance(widget, QPushButton):
                    widget.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._answers, self._results = answers, results
        for part in (
            self.intro,
            self.sources,
            self.settings,
            buttons,
            self.reason,
            self.progress,
            self.message,
            answers,
            results,
            self.data,
            self._charts,
            self.examples,
        ):
            self.column.addWidget(part)
        self.add_diagnostics_button()
        FieldFilter(self).install(self.content)

    def _connect(self) -> None:
        self.sources.changed.connect(self._show_state)
        self.settings.changed.connect(self._show_state)
        self.train.clicked.connect(self._start)
        self.stop.clicked.connect(self._stop)
        self.resume.clicked.connect(lambda: self._go_on(is_anew=False))
        self.anew.clicked.connect(lambda: self._go_on(is_anew=True))
        self.use.clicked.connect(self._use)
        self.open_folder.clicked.connect(self._open_folder)
        self.run.stage.connect(self._follow_stage)
        self.run.prepared.connect(self._follow_data)
        self.run.asked.connect(self._ask)
        self.run.progressed.connect(self._follow_progress)
        self.run.finished.connect(self._follow_outcome)
        self.run.failed.connect(self._follow_error)

    def _start(self) -> None:
        self._clear()
        try:
            opener = self.sources.image_opener()
            self.run.start(self.settings.order(opener))
        except NapariSamError as error:
            self.message.setText(error_text(error))
        self._show_state()

    def _go_on(self, *, is_anew: bool) -> None:
        prepared, self._earlier = self._earlier, None
        if prepared is not None:
            self.attempt(lambda: self.run.go_on(prepared, is_anew=is_anew))
        self._show_state()

    def _clear(self) -> None:
        """Forget the run before."""
        self._trained = self._earlier = self._folder = None
        for chart in (self.loss, self.scores):
            chart.clear()
        self.examples.clear()
        self.data.setText("")
        self.message.setText("")
        self.progress.setRange(0, 0)

    def _stop(self) -> None:
        self.run.stop()
        self.message.setText(STOPPING)
        self._show_state()

    def _follow_stage(self, text: str) -> None:
        self.progress.setRange(0, 0)
        if not self.run.is_stopping:
            self.message.setText(text)

    def _follow_data(self, prepared: Prepared) -> None:
        self.data.setText(data_text(prepared))
        self._show_state()

    def _ask(self, prepared: Prepared) -> None:
        self._earlier = prepared
        self.message.setText(earlier_text(prepared))
        self._show_state()

    def _follow_progress(self, now: TrainingProgress) -> None:
        self.progress.setRange(0, _PARTS)
        self.progress.setValue(round(_PARTS * now.fraction))
        self.loss.add(now.step, now.losses)
        if now.scores is not None:
            self.scores.add(now.step, now.scores)
            self.examples.show_examples(now.examples)
        if not self.run.is_stopping:
            self.message.setText(progress_text(now))
        if self._charts.isHidden():  # not isVisible: the panel may be covered
            self._show_state()

    def _follow_outcome(self, outcome: Outcome) -> None:
        self._folder = outcome.folder
        if outcome.name:
            spec = replace(outcome.spec, name=outcome.name, checkpoint=None)
            self._trained = spec
            self.session.weights_changed.emit()
            self.settings.propose_name(is_used=True)
        self._tell(outcome_text(outcome))

    def _follow_error(self, error: Exception) -> None:
        folder = self.run.folder
        self._folder = folder if folder is not None and folder.exists() else None
        if not isinstance(error, (NapariSamError, Cancelled)):
            self.session.report(error)
        self._tell(error_text(error))

    def _tell(self, text: str) -> None:
        """Say how it ended; also to a user who has closed the panel meanwhile."""
        self.message.setText(text)
        if not self.isVisible():
            from napari.utils.notifications import show_info

            show_info(text)
        self._show_state()

    def _use(self) -> None:
        if self._trained is not None:
            self.session.use_model(self._trained)
        self._show_state()

    def _open_folder(self) -> None:
        if self._folder is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._folder)))

    def _follow_weights(self) -> None:
        self.model.refresh()
        self.settings.propose_name()
        self._show_state()

    def _follow_controller(self, _: object) -> None:
        self.sources.refresh()

    def _follow_model(self, _: object) -> None:
        self._show_state()

    def _show_state(self, *_: object) -> None:
        """Enable what can be done now, and say why training cannot begin."""
        is_running = self.run.is_running
        reason = self.sources.reason or self.settings.reason
        self.train.setEnabled(not reason and not is_running)
        self.stop.setEnabled(is_running and not self.run.is_stopping)
        self.reason.setText("" if is_running else reason)
        self.reason.setVisible(bool(self.reason.text()))
        self.train.setToolTip(
            reason or "Train a copy of the model on the ticked masks."
        )
        self.sources.setEnabled(not is_running)
        self.settings.setEnabled(not is_running)
        self.progress.setVisible(is_running)
        self.message.setVisible(bool(self.message.text()) or is_running)
        self.data.setVisible(bool(self.data.text()))
        self._answers.setVisible(self._earlier is not None and not is_running)
        self._results.setVisible(self._folder is not None and not is_running)
        has_curves = any(self.loss.points.values()) or any(self.scores.points.values())
        self._charts.setVisible(has_curves)
        self.examples.setVisible(bool(self.examples.pictures))
        is_used = self._trained is not None and self.session.models.has(self._trained)
        self.use.setVisible(self._trained is not None)
        self.use.setEnabled(not is_used)
        self.use.setText("In use" if is_used else "Use this model")


def _text(text: str = "") -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
