# SPDX-License-Identifier: Apache-2.0
"""The dock "Segment with prompts"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QLabel, QProgressBar

from napari_sam._bridge.key_table import ACTIONS
from napari_sam._bridge.keybindings import readable_keys
from napari_sam._bridge.model_holder import LoadingModel, NoModel
from napari_sam._bridge.preferences import (
    begins_with_hover,
    commit_rule,
    is_hint_seen,
    see_hint,
)
from napari_sam._widgets.buttons import ActionButton, show_keys
from napari_sam._widgets.dock import Dock
from napari_sam._widgets.field_filter import FieldFilter
from napari_sam._widgets.hints import Hints
from napari_sam._widgets.keys_panel import KeysPanel
from napari_sam._widgets.layer_choice import NO_IMAGE_TEXT
from napari_sam._widgets.mask_binder import MaskBinder
from napari_sam._widgets.objects_binder import ObjectsBinder
from napari_sam._widgets.record_panel import RecordPanel, RestoreOffer
from napari_sam._widgets.section import Section
from napari_sam._widgets.source_form import SourceForm
from napari_sam._widgets.tool_choice import ToolChoice
from napari_sam._widgets.view_binder import ViewBinder
from napari_sam.annotation.phases import Loading

if TYPE_CHECKING:
    import napari

    from napari_sam._bridge.controller import PromptController
    from napari_sam._bridge.model_holder import ModelStatus


class PromptWidget(Dock):
    """Prompts become a mask; an accepted mask becomes an object.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer or napari's proxy of it.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.source = SourceForm(self.viewer, self.session)
        self.image, self.labels = self.source.image, self.source.labels
        self.model = self.source.model
        self.start = ActionButton(
            "Start", "Make layers for prompts and objects on the image."
        )
        self.tools = ToolChoice()
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.busy = QProgressBar()
        self.busy.setRange(0, 0)
        self.hints = Hints(is_hint_seen, see_hint)
        self.keys = KeysPanel()
        self.masks = MaskBinder(self, self.attempt)
        self.table = ObjectsBinder(self, self.attempt, self.session.report)
        self.seen = ViewBinder(
            self, self.attempt, self.viewer, self.session, self._restart
        )
        self.record = RecordPanel(self.session, self.attempt)
        self.restore = RestoreOffer(self.session, self.attempt, self._show_message)
        self.accept, self.clear = self.masks.commit.accept, self.masks.commit.discard
        self.masks.commit.show_settings(commit_rule())
        self.tools.show_hover(begins_with_hover())
        self._controller: PromptController | None = None
        self._lay_out()
        self.start.clicked.connect(self._toggle)
        self.tools.chosen.connect(self._use_tool)
        self.tools.hover_chosen.connect(self._use_hover)
        self.model.chosen.connect(self._use_model)
        # The user's choice only; magicgui would not tell of "new layer" either.
        self.labels.native.activated.connect(self._use_labels)
        self.image.changed.connect(self.seen.show_image)
        self._show_state()

    def reset_choices(self, event: Any = None) -> None:
        """Follow the layer list."""
        self.source.reset_choices()
        self.seen.show_image(self.image.value)
        self._show_labels()
        self._show_state()

    def entered(self) -> None:
        """Connect to the session; prompting goes on where it was left."""
        self.session.controller_changed.connect(self._follow_controller)
        self.session.models.changed.connect(self._follow_model)
        self.model.connect()
        self.seen.open()
        self._show_keys()  # they may have been changed in the preferences
        self._follow_controller(self.session.controller)
        if self._controller is not None:
            self._controller.resume(self)
        if isinstance(self.session.models.status, NoModel) and self.model.is_packaged:
            # The package's own model is small: it is ready when Start is pressed.
            self.session.use_model(self.model.spec)

    def left(self) -> None:
        """Let go of session and viewer; layers and prompts stay."""
        if self._controller is not None:
            self._controller.pause(self)
        self._follow_controller(None)
        self.seen.close()
        self.model.disconnect()
        self.session.controller_changed.disconnect(self._follow_controller)
        self.session.models.changed.disconnect(self._follow_model)

    def _lay_out(self) -> None:
        for widget in (
            self.source,
            self.start,
            self.restore,
            self.message,
            self.busy,
            self.seen.status,
            self.hints,
            self.tools,
            self.masks.candidates,
            self.masks.commit,
            Section("Objects", self.table.objects, is_open=True),
            self.record,
            Section("Measurements", self.table.measurements),
            Section("What the model sees", self.seen.view),
            Section("Keys", self.keys),
        ):
            self.column.addWidget(widget)
        self.add_diagnostics_button()
        FieldFilter(self).install(self.content)

    def _show_keys(self) -> None:
        """Name the keys in tooltips, hints and the table."""
        keys = readable_keys()
        self.keys.show_rows(
            (keys.get(action.action_id, ""), action.title) for action in ACTIONS
        )
        show_keys(self.content, keys)
        self.hints.set_keys(keys)

    def _toggle(self) -> None:
        if self._controller is not None:
            self.session.stop_prompts()
            self._show_message("")
            return
        if self.image.value is None:
            self._show_message(NO_IMAGE_TEXT)
            return
        wishes, is_hover_on = self.masks.wishes, self.tools.hover.isChecked()
        is_started = self.attempt(
            self.session.start_prompts,
            self.image.value,
            self.model.spec,
            self.labels.value,
            self.seen.view.settings,
            self.seen.others,
        )
        if is_started:
            self.masks.fulfil(wishes)
            self._use_hover(is_hover_on)
            self.source.collapse(animate=False)

    def _restart(self) -> None:
        """Prompt the same image as other planes; the labels so far do not fit them."""
        self._toggle()
        self.labels.value = None
        self._toggle()

    def _use_tool(self, tool: str, polarity: str) -> None:
        if self._controller is not None:
            # In this order: a layer made anew begins with positive prompts.
            self._controller.prompts.use_tool(self.viewer, tool)
            self._controller.prompts.set_polarity(polarity)

    def _use_hover(self, is_on: bool) -> None:  # noqa: FBT001  a signal's payload
        if self._controller is not None:
            self._controller.annotator.is_hover_on = is_on
            if not is_on and self._controller.plane is not None:
                self._controller.annotator.hover(self._controller.plane, None)
            self._controller.annotator.options_changed.emit()

    def _show_hover(self) -> None:
        if self._controller is not None:
            self.tools.show_hover(self._controller.annotator.is_hover_on)

    def _use_model(self) -> None:
        if self._controller is not None:
            self.session.use_model(self.model.spec)

    def _use_labels(self, _index: int) -> None:
        if self._controller is None:
            return
        if not self.attempt(self._controller.use_labels, self.labels.value):
            self._show_labels()

    def _follow_controller(self, controller: PromptController | None) -> None:
        for signal, slot in self._connections(self._controller):
            signal.disconnect(slot)
        self._controller = controller
        for signal, slot in self._connections(controller):
            signal.connect(slot)
        for binder in (self.masks, self.table, self.seen):
            binder.follow(controller)
        self.record.show_controller(controller)
        self.restore.show_controller(controller)
        if controller is not None and self.isVisible():
            controller.resume(self)  # as long as one panel shows it
        if controller is None:
            self.source.expand(animate=False)
        else:
            self._show_hover()
            self._show_polarity(controller.prompts.polarity)
            self._show_labels()
        self._show_state()

    def _connections(
        self, controller: PromptController | None
    ) -> list[tuple[Any, Any]]:
        if controller is None:
            return []
        return [
            (controller.message_changed, self._show_message),
            (controller.labels_changed, self._show_labels),
            (controller.prompts.polarity_changed, self._show_polarity),
            (controller.prompts.tool_changed, self.tools.show_tool),
            (controller.annotator.phase_changed, self._show_state),
            (controller.annotator.embedding_changed, self._show_state),
            (controller.annotator.options_changed, self._show_hover),
        ]

    def _follow_model(self, status: ModelStatus) -> None:
        if isinstance(status, LoadingModel):
            self._show_message(f"Loading the model {status.spec.name} ...")
        elif isinstance(status, NoModel):
            self._show_message("No model is loaded. Choose another one.")
        elif self._controller is None:
            self._show_message("")
        self._show_state()

    def _show_message(self, text: str) -> None:
        self.message.setText(text)
        self.message.setVisible(bool(text))

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
            self._show_message(NO_IMAGE_TEXT if self.image.value is None else "")
        controller = self._controller
        phase = None if controller is None else controller.annotator.phase
        self.start.setText("Start" if controller is None else "Stop")
        self.start.setEnabled(controller is not None or self.image.value is not None)
        self.image.enabled = controller is None
        self.tools.setEnabled(controller is not None)
        is_loading = isinstance(self.session.models.status, LoadingModel)
        is_waiting = isinstance(phase, Loading) and is_loading
        is_embedding = controller is not None and controller.annotator.is_embedding
        self.busy.setVisible(is_waiting or is_embedding)
