# SPDX-License-Identifier: Apache-2.0
"""The dock "Models": what is on this machine, and how to get the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
)

from napari_sam._widgets.dock import Dock
from napari_sam._widgets.embeddings_panel import EmbeddingsPanel
from napari_sam._widgets.section import Section
from napari_sam._widgets.weights_places import WeightsPlaces
from napari_sam.annotation.job import Job, Priority
from napari_sam.errors import Cancelled
from napari_sam.weights import download, store
from napari_sam.weights.catalogue import format_bytes

if TYPE_CHECKING:
    import napari

    from napari_sam.weights.store import ModelStatus, Verification

_MB = 1_000_000


class ModelsWidget(Dock):
    """Lists the catalogue; downloads, verifies and deletes weights.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer or napari's proxy of it.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.rows = QTreeWidget()
        self.rows.setHeaderLabels(["Model", "On this machine"])
        self.rows.setRootIsDecorated(False)
        self.rows.setMinimumHeight(160)
        self.details = QLabel()
        self.details.setWordWrap(True)
        self.details.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
        )
        self.download = QPushButton("Download")
        self.cancel = QPushButton("Cancel")
        self.verify = QPushButton("Verify")
        self.verify.setToolTip("Read the whole file and compare its hash.")
        self.delete = QPushButton("Delete")
        self.delete.setToolTip("Remove the file from the weights folder.")
        self.progress = QProgressBar()
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.choose_file = QPushButton("Use a weights file ...")
        self.choose_file.setToolTip(
            "A .safetensors, .pth or .pt file of a Segment Anything model. Its "
            "architecture is found out; no code in it is run."
        )
        self.places = WeightsPlaces()
        self.embeddings = EmbeddingsPanel(self.session)
        self.kept = Section("Embeddings", self.embeddings)
        self._job: Job | None = None
        self._lay_out()
        self.rows.currentItemChanged.connect(self._show_state)
        self.download.clicked.connect(self._download)
        self.cancel.clicked.connect(self._cancel)
        self.verify.clicked.connect(self._verify)
        self.delete.clicked.connect(self._delete)
        self.choose_file.clicked.connect(self._ask_for_file)
        self.places.changed.connect(self._save_places)
        self.kept.toggled.connect(self.embeddings.refresh)
        self.refresh()

    def entered(self) -> None:
        """Look at the folders again."""
        self.refresh()
        self.embeddings.refresh()

    def refresh(self) -> None:
        """List the catalogue anew, keeping the selected row."""
        selected = self._name()
        self.rows.clear()
        for status in store.status_rows():
            item = QTreeWidgetItem([status.row.name, _in_short(status)])
            item.setData(0, Qt.ItemDataRole.UserRole, status.row.name)
            item.setToolTip(0, status.row.trained_for)
            item.setToolTip(1, status.text)
            self.rows.addTopLevelItem(item)
            if status.row.name == selected:
                self.rows.setCurrentItem(item)
        if self.rows.currentItem() is None:
            self.rows.setCurrentItem(self.rows.topLevelItem(0))
        self.rows.resizeColumnToContents(0)
        self.attempt(self.places.refresh)
        self._show_state()

    def select(self, name: str) -> None:
        """Select the row of a model."""
        for index in range(self.rows.topLevelItemCount()):
            item: Any = self.rows.topLevelItem(index)
            if item.data(0, Qt.ItemDataRole.UserRole) == name:
                self.rows.setCurrentItem(item)

    def use_file(self, path: Path) -> None:
        """Offer a weights file of the user's as a model, and load it."""
        spec = self.session.add_checkpoint(path)
        self.message.setText(f"{path.name} is now one of the models to choose.")
        self.session.use_model(spec)

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        for button in (self.download, self.cancel, self.verify, self.delete):
            row.addWidget(button)
        self.column.addWidget(self.rows)
        self.column.addWidget(self.details)
        self.column.addLayout(row)
        self.column.addWidget(self.progress)
        self.column.addWidget(self.message)
        self.column.addWidget(self.choose_file)
        self.column.addWidget(self.places)
        self.column.addWidget(self.kept)
        self.add_diagnostics_button()

    def _name(self) -> str | None:
        item = self.rows.currentItem()
        return None if item is None else item.data(0, Qt.ItemDataRole.UserRole)

    def _show_state(self, *_: object) -> None:
        """Describe the selected row and enable what can be done with it."""
        name = self._name()
        if name is None:
            return
        status = store.status(name)
        is_idle = self._job is None
        self.details.setText(_describe(status))
        is_here = status.path is not None
        self.download.setEnabled(
            is_idle and status.row.kind == "download" and status.state != "installed"
        )
        self.verify.setEnabled(is_idle and is_here)
        self.delete.setEnabled(is_idle and status.is_removable)
        self.cancel.setEnabled(not is_idle)
        self.progress.setVisible(not is_idle)

    def _download(self) -> None:
        status = store.status(self._name() or "")
        self.progress.setRange(0, 0)
        self.message.setText(f"Downloading {status.row.name} ...")
        self._job = self.session.errands.submit(
            lambda context: download.fetch(
                status.row, progress=context.progress, cancel=context.cancel
            ),
            priority=Priority.INTERACTIVE,
            on_result=self._receive_file,
            on_error=self._receive_error,
            on_progress=self._follow_progress,
        )
        self._show_state()

    def _verify(self) -> None:
        name = self._name() or ""
        self.progress.setRange(0, 0)
        self.message.setText(f"Reading the file of {name} ...")
        self._job = self.session.errands.submit(
            lambda _: store.verify(name),
            priority=Priority.INTERACTIVE,
            on_result=self._receive_verification,
            on_error=self._receive_error,
        )
        self._show_state()

    def _cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self.message.setText("Stopping ...")

    def _delete(self) -> None:
        name = self._name() or ""
        if self.attempt(lambda: self._tell_freed(name, store.delete(name))):
            self._weights_changed()

    def _tell_freed(self, name: str, n_bytes: int) -> None:
        self.message.setText(f"Deleted {name}: {format_bytes(n_bytes)} set free.")

    def _ask_for_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self, "Weights file", "", "Weights (*.safetensors *.pth *.pt);;All (*)"
        )
        if name:
            self.use_file(Path(name))

    def _save_places(self) -> None:
        if self.attempt(self.places.save):
            self.message.setText("Saved.")
        self._weights_changed()

    def _follow_progress(self, done: int, total: int) -> None:
        # In megabytes: Qt counts in 32 bits.
        self.progress.setRange(0, total // _MB)
        self.progress.setValue(done // _MB)
        self.message.setText(f"{format_bytes(done)} of {format_bytes(total or None)}")

    def _receive_file(self, path: Path) -> None:
        self._job = None
        self.message.setText(f"Saved as {path}.")
        self._weights_changed()

    def _receive_verification(self, verification: Verification) -> None:
        self._job = None
        self.message.setText(verification.text)
        self._weights_changed()

    def _receive_error(self, error: Exception) -> None:
        self._job = None
        is_cancelled = isinstance(error, Cancelled)
        self.message.setText("Cancelled; nothing was kept." if is_cancelled else "")
        self.session.report(error)
        self._weights_changed()

    def _weights_changed(self) -> None:
        self.refresh()
        self.session.weights_changed.emit()


def _in_short(status: ModelStatus) -> str:
    """Say in a few words whether a model is here, or how it would come."""
    if status.state == "absent" and status.row.kind == "trained":
        return "its file is gone"
    if status.state == "absent":
        is_link = status.row.kind != "download"
        return "by hand" if is_link else f"{format_bytes(status.row.bytes)} to download"
    return {
        "installed": "yes",
        "unverified": "yes, not yet verified",
        "mismatch": "wrong file",
    }[status.state]


def _describe(status: ModelStatus) -> str:
    row = status.row
    lines = [
        f"{row.name}: {row.trained_for}.",
        f"Architecture {row.architecture}, licence {row.licence or 'unconfirmed'}.",
        f"Cite: {row.citation}",
    ]
    if status.path is not None:
        lines.append(f"File: {status.path}")
    elif row.kind == "link":
        lines.append(store.hand_instructions(row))
    return "\n".join(lines)
