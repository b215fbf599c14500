# SPDX-License-Identifier: Apache-2.0
"""The dock "Segment with prompts"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
)

from napari_sam._bridge.model_holder import LoadingModel, NoModel
from napari_sam._widgets.dock import Dock
from napari_sam._widgets.layer_choice import NO_IMAGE_TEXT, layer_choice
from napari_sam._widgets.model_choice import ModelChoice
from napari_sam._widgets.tool_choice import ToolChoice
from napari_sam.annotation.commit_policy import Overlap
from napari_sam.annotation.phases import Editing, Loading

if TYPE_CHECKING:
    import napari

    from napari_sam._bridge.controller import PromptController
    from napari_sam._bridge.model_holder import ModelStatus

_OVERLAP_TEXTS = {
    Overlap.KEEP: "keep them",
    Overlap.OVERWRITE: "overwrite them",
}


class PromptWidget(Dock):
    """Points and boxes become a mask; an accepted mask becomes an object.

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
        self.labels = layer_choice(
            self.viewer,
            Labels,
            none="new layer",
            tooltip="Where accepted masks are written.",
        )
        self.model = ModelChoice(self.session)
        self.overlap = QComboBox()
        for overlap, text in _OVERLAP_TEXTS.items():
            self.overlap.addItem(text, overlap)
        self.overlap.setToolTip(
            "What an accepted mask does to pixels of objects that exist already."
        )
        self.start = QPushButton("Start")
        self.start.setToolTip("Make layers for points, boxes and objects on the image.")
        self.tools = ToolChoice()
        self.accept = QPushButton("Accept mask")
        self.accept.setToolTip("Write the mask shown as a new object.")
        self.clear = QPushButton("Clear prompts")
        self.clear.setToolTip("Remove points, boxes and mask; objects stay.")
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.busy = QProgressBar()
        self.busy.setRange(0, 0)
        self._lay_out()
        self.start.clicked.connect(self._toggle)
        self.accept.clicked.connect(self._accept)
        self.clear.clicked.connect(self._clear)
        self.tools.chosen.connect(self._use_tool)
        self.overlap.currentIndexChanged.connect(self._use_overlap)
        self.model.chosen.connect(self._use_model)
        # The user's choice only; magicgui would not tell of "new layer" either.
        self.labels.native.activated.connect(self._use_labels)
        self._controller: PromptController | None = None
        self._show_state()

    def reset_choices(self, event: Any = None) -> None:
        """Follow the layer list."""
        self.image.reset_choices()
        self.labels.reset_choices()
        self._show_labels()
        self._show_state()

    def entered(self) -> None:
        """Connect to the session; prompting goes on where it was left."""
        self.session.controller_changed.connect(self._follow_controller)
        self.session.models.changed.connect(self._follow_model)
        self.model.connect()
        self._follow_controller(self.session.controller)
        if self._controller is not None:
            self._controller.resume()
        if isinstance(self.session.models.status, NoModel) and self.model.is_packaged:
            # The package's own model is small: it is ready when Start is pressed.
            self.session.use_model(self.model.spec)

    def left(self) -> None:
        """Let go of session and viewer; layers and prompts stay."""
        if self._controller is not None:
            self._controller.pause()
        self._follow_controller(None)
        self.model.disconnect()
        self.session.controller_changed.disconnect(self._follow_controller)
        self.session.models.changed.disconnect(self._follow_model)

    def _lay_out(self) -> None:
        source = QGroupBox("Image and model")
        form = QFormLayout(source)
        form.addRow("Image", self.image.native)
        form.addRow("Objects in", self.labels.native)
        self.model.add_to(form)
        form.addRow("Existing objects", self.overlap)
        form.addRow(self.start)
        prompts = QGroupBox("Prompts")
        column = QVBoxLayout(prompts)
        column.addWidget(self.tools)
        row = QHBoxLayout()
        row.addWidget(self.accept)
        row.addWidget(self.clear)
        column.addLayout(row)
        self.column.addWidget(source)
        self.column.addWidget(prompts)
        self.column.addWidget(self.message)
        self.column.addWidget(self.busy)
        self.add_diagnostics_button()

    def _toggle(self) -> None:
        if self._controller is not None:
            self.session.stop_prompts()
            self.message.setText("")
            return
        if self.image.value is None:
            self.message.setText(NO_IMAGE_TEXT)
            return
        self.attempt(
            self.session.start_prompts,
            self.image.value,
            self.model.spec,
            self.labels.value,
        )

    def _accept(self) -> None:
        if self._controller is not None:
            self.attempt(self._controller.accept)

    def _clear(self) -> None:
        if self._controller is not None:
            self.attempt(self._controller.discard)

    def _use_tool(self, tool: str, polarity: str) -> None:
        if self._controller is not None:
            # In this order: a points layer made anew begins with positive points.
            self._controller.prompts.use_tool(self.viewer, tool)
            self._controller.prompts.set_polarity(polarity)

    def _use_overlap(self) -> None:
        if self._controller is not None:
            self._controller.annotator.overlap = self.overlap.currentData()

    def _use_model(self) -> None:
        if self._controller is not None:
            self.session.use_model(self.model.spec)

    def _use_labels(self, _index: int) -> None:
        if self._controller is None:
            return
        if not self.attempt(self._controller.use_labels, self.labels.value):
            self._show_labels()

    def _follow_controller(self, controller: PromptController | None) -> None:
        before, self._controller = self._controller, controller
        if before is not None:
            before.message_changed.disconnect(self._show_message)
            before.labels_changed.disconnect(self._show_labels)
            before.prompts.polarity_changed.disconnect(self._show_polarity)
            before.annotator.phase_changed.disconnect(self._show_state)
            before.annotator.embedding_changed.disconnect(self._show_state)
        if controller is not None:
            controller.message_changed.connect(self._show_message)
            controller.labels_changed.connect(self._show_labels)
            controller.prompts.polarity_changed.connect(self._show_polarity)
            controller.annotator.phase_changed.connect(self._show_state)
            controller.annotator.embedding_changed.connect(self._show_state)
            self._use_overlap()
            self._show_polarity(controller.prompts.polarity)
            self._show_labels()
        self._show_state()

    def _follow_model(self, status: ModelStatus) -> None:
        if isinstance(status, LoadingModel):
            self.message.setText(f"Loading the model {status.spec.name} ...")
        elif isinstance(status, NoModel):
            self.message.setText("No model is loaded. Choose another one.")
        elif self._controller is None:
            self.message.setText("")
        self._show_state()

    def _show_message(self, text: str) -> None:
        self.message.setText(text)

    def _show_polarity(self, polarity: str) -> None:
        self.tools.show_polarity(polarity)

    def _show_labels(self) -> None:
        """Let the combo box show the layer that is written to."""
        if self._controller is not None:
            layer = self._controller.labels_layer
            # A layer that is gone is replaced by a new one at the next object.
            self.labels.value = layer if layer in self.labels.choices else None

    def _show_state(self, *_: Any) -> None:
        """Enable what can be done now."""
        if self.message.text() in ("", NO_IMAGE_TEXT):
            self.message.setText(NO_IMAGE_TEXT if self.image.value is None else "")
        controller = self._controller
        phase = None if controller is None else controller.annotator.phase
        self.start.setText("Start" if controller is None else "Stop")
        self.start.setEnabled(controller is not None or self.image.value is not None)
        self.image.enabled = controller is None
        self.tools.setEnabled(controller is not None)
        self.accept.setEnabled(
            isinstance(phase, Editing)
            and (phase.is_pending or phase.candidates is not None)
        )
        self.clear.setEnabled(controller is not None)
        is_loading = isinstance(self.session.models.status, LoadingModel)
        is_waiting = isinstance(phase, Loading) and is_loading
        is_embedding = controller is not None and controller.annotator.is_embedding
        self.busy.setVisible(is_waiting or is_embedding)
