# SPDX-License-Identifier: Apache-2.0
"""Prompts in numbers: every point, shape or label of a layer becomes one object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from napari.layers import Labels, Points, Shapes
from psygnal import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from napari_sam._widgets.buttons import ActionButton
from napari_sam._widgets.layer_choice import layer_choice
from napari_sam._widgets.scope_choice import ScopeChoice

if TYPE_CHECKING:
    from napari.components import ViewerModel

KINDS: Any = (Points, Shapes, Labels)


class BatchPanel(QWidget):
    """Lets the user choose a layer whose items are prompts, and run them.

    Parameters
    ----------
    viewer : ViewerModel
        Whose layers are offered.

    Attributes
    ----------
    run_wanted : Signal(Layer, Scope)
    cancel_wanted : Signal()
    """

    run_wanted: ClassVar[Signal] = Signal(object, object)
    cancel_wanted: ClassVar[Signal] = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.layer = layer_choice(
            viewer,
            KINDS,
            tooltip="Points, shapes, or the objects of a labels layer. Each becomes an "
            "object to review: points and centres of labels are clicks, rectangles and "
            "ellipses boxes, polygons boxes with a mask.",
        )
        # The name of a layer may be long; the panel is not to grow with it.
        policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        self.layer.native.setSizeAdjustPolicy(policy)
        self.scope = ScopeChoice()
        self.run = ActionButton(
            "Segment each item", "Make one object of every point, shape or label."
        )
        self.cancel = ActionButton(
            "Cancel", "Stop soon and keep the objects found by then."
        )
        self.progress = QProgressBar()
        self.message = QLabel()
        self.message.setWordWrap(True)
        self._can_run = self._is_running = False
        self._lay_out()
        self.run.clicked.connect(self._tell_run)
        self.cancel.clicked.connect(lambda: self.cancel_wanted.emit())
        self._show_state()

    def reset_choices(self) -> None:
        """Follow the layer list."""
        self.layer.reset_choices()
        self._show_state()

    def set_can_run(self, can_run: bool) -> None:  # noqa: FBT001  a state, not an option
        """Say whether an image is being prompted."""
        self._can_run = can_run
        self._show_state()

    def show_running(self, text: str = "") -> None:
        """Show that a batch is under way."""
        self._is_running = True
        self.progress.setRange(0, 0)
        self.message.setText(text)
        self._show_state()

    def show_progress(self, done: int, total: int) -> None:
        """Show how far the batch is."""
        self.progress.setRange(0, total)
        self.progress.setValue(done)

    def show_result(self, text: str) -> None:
        """Show what became of the prompts."""
        self._is_running = False
        self.message.setText(text)
        self._show_state()

    def _tell_run(self) -> None:
        if self.layer.value is not None:
            self.run_wanted.emit(self.layer.value, self.scope.scope)

    def _show_state(self) -> None:
        has_layer = self.layer.value is not None
        self.run.setEnabled(self._can_run and has_layer and not self._is_running)
        self.cancel.setEnabled(self._is_running)
        self.progress.setVisible(self._is_running)
        self.message.setVisible(bool(self.message.text()))

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow("Prompts", self.layer.native)
        form.addRow("Scope", self.scope)
        row = QHBoxLayout()
        row.addWidget(self.run, stretch=1)
        row.addWidget(self.cancel)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form)
        column.addLayout(row)
        column.addWidget(self.progress)
        column.addWidget(self.message)
