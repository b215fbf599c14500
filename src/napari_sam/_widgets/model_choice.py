# SPDX-License-Identifier: Apache-2.0
"""Which model, on which device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QSizePolicy

from napari_sam._bridge.model_holder import LoadedModel, LoadingModel
from napari_sam._bridge.model_segmenter import DEVICES, ModelSpec
from napari_sam._bridge.preferences import default_model
from napari_sam.weights import store

if TYPE_CHECKING:
    from qtpy.QtWidgets import QFormLayout

    from napari_sam._bridge.model_holder import ModelStatus
    from napari_sam._bridge.sessions import ViewerSession

_SPEC_ROLE = Qt.ItemDataRole.UserRole


class ModelChoice:
    """Two combo boxes; all of them on one viewer show the same choice.

    Parameters
    ----------
    session : ViewerSession
        Whose model is chosen.

    Attributes
    ----------
    chosen : Signal()
        The user took another model or device.
    """

    chosen: ClassVar[Signal] = Signal()

    def __init__(self, session: ViewerSession) -> None:
        self._session = session
        self.models = QComboBox()
        self.models.setToolTip(
            "The model that segments. 'embedded' is part of the package; others are "
            "downloaded in the panel 'Models', where a file can be chosen as well."
        )
        self.models.setSizePolicy(
            QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred
        )
        self.devices = QComboBox()
        self.devices.addItems(DEVICES)
        self.devices.setToolTip(
            "Where the model computes. 'auto' takes a GPU if there is one."
        )
        self.refresh()
        self._select(ModelSpec(default_model()))
        self.models.activated.connect(lambda _: self.chosen.emit())
        self.devices.activated.connect(lambda _: self.chosen.emit())

    def add_to(self, form: QFormLayout) -> None:
        """Add both as rows of a form."""
        form.addRow("Model", self.models)
        form.addRow("Device", self.devices)

    @property
    def spec(self) -> ModelSpec:
        """The present choice."""
        name, checkpoint = self.models.currentData(_SPEC_ROLE) or ("embedded", None)
        return ModelSpec(name, checkpoint, self.devices.currentText())

    @property
    def is_packaged(self) -> bool:
        """Whether the chosen weights are part of the package, and there."""
        spec = self.spec
        if spec.checkpoint is not None:
            return False
        status = store.status(spec.name)
        return status.row.packaged and status.state == "installed"

    def connect(self) -> None:
        """Follow the session."""
        self._session.models.changed.connect(self.follow)
        self._session.weights_changed.connect(self.refresh)
        self.refresh()
        self.follow(self._session.models.status)

    def disconnect(self) -> None:
        """Stop following the session."""
        self._session.models.changed.disconnect(self.follow)
        self._session.weights_changed.disconnect(self.refresh)

    def follow(self, status: ModelStatus) -> None:
        """Show the model that the session has or loads."""
        if isinstance(status, (LoadingModel, LoadedModel)):
            self._select(status.spec)

    def refresh(self) -> None:
        """List the catalogue and the user's files anew, keeping the choice."""
        before = self.models.currentData(_SPEC_ROLE)
        self.models.clear()
        for status in store.status_rows():
            row = status.row
            is_here = status.state in ("installed", "unverified")
            text = row.name if is_here else f"{row.name} (not on this machine)"
            self.models.addItem(text, (row.name, None))
            index = self.models.count() - 1
            self.models.setItemData(
                index, f"{row.trained_for}; {status.text}", Qt.ItemDataRole.ToolTipRole
            )
            model: Any = self.models.model()
            model.item(index).setEnabled(is_here)
        for path in self._session.checkpoints:
            self.models.addItem(f"{path.name} (file)", (path.stem, str(path)))
            self.models.setItemData(
                self.models.count() - 1, str(path), Qt.ItemDataRole.ToolTipRole
            )
        if before is not None:
            name, checkpoint = before
            self._select(ModelSpec(name, checkpoint, self.devices.currentText()))

    def _select(self, spec: ModelSpec) -> None:
        for index in range(self.models.count()):
            if self.models.itemData(index, _SPEC_ROLE) == (spec.name, spec.checkpoint):
                self.models.setCurrentIndex(index)
        if spec.device in DEVICES:
            self.devices.setCurrentText(spec.device)
