# SPDX-License-Identifier: Apache-2.0
"""What is kept of the image encoder's work: how much, where, and how to clear it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_sam._bridge.embeddings import (
    apply_embedding_settings,
    chosen_folder,
    clear_kept,
    count_kept,
    fit_kept,
    is_folder_fixed,
)
from napari_sam._bridge.preferences import (
    embedding_settings,
    save_embedding_settings,
)
from napari_sam.annotation.job import Priority
from napari_sam.weights.catalogue import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam._bridge.embeddings import Kept
    from napari_sam._bridge.sessions import ViewerSession
    from napari_sam.io.embedding_store import Usage

_LANE = "embeddings-kept"
_COUNTING = "Counting ..."
_INTERVAL_MS = 3000


class EmbeddingsPanel(QWidget):
    """Shows how many embeddings are kept, and lets the user say how many and where.

    Files are counted and deleted in the thread for errands: however many there are,
    the window does not wait.

    Parameters
    ----------
    session : ViewerSession
        Its threads.
    """

    def __init__(self, session: ViewerSession) -> None:
        super().__init__()
        self._session = session
        self.text = QLabel(_COUNTING)
        self.text.setWordWrap(True)
        self.on_disk = QCheckBox("Keep on disk")
        self.on_disk.setToolTip(
            "Images that were opened before are ready at once, also after a restart."
        )
        self.limit = QDoubleSpinBox()
        self.limit.setRange(0.1, 10_000.0)
        self.limit.setDecimals(1)
        self.limit.setSuffix(" GiB")
        self.limit.setToolTip("Embeddings used longest ago make room for new ones.")
        self.half = QCheckBox("Half precision")
        self.half.setToolTip(
            "Half the space on disk. Masks stay the same but for single pixels."
        )
        self.ahead = QCheckBox("Embed neighbouring planes ahead")
        self.ahead.setToolTip(
            "The next planes of a stack are embedded while the model has nothing else "
            "to do. Clicks go first. Holds from the next Start on."
        )
        self.folder = QLineEdit()
        self.choose = QPushButton("...")
        self.choose.setToolTip("Choose a folder.")
        self.show_folder = QPushButton("Show folder")
        self.show_folder.setToolTip("Open the folder in the file manager.")
        self.clear = QPushButton("Clear")
        self.clear.setToolTip(
            "Forget all embeddings and delete their files. They are made again when "
            "they are needed; labels and annotations are not touched."
        )
        self._timer = QTimer(self)
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.timeout.connect(self.count)
        self._lay_out()
        self.on_disk.toggled.connect(self._save)
        self.half.toggled.connect(self._save)
        self.ahead.toggled.connect(self._save)
        self.limit.editingFinished.connect(self._save)
        self.folder.editingFinished.connect(self._save)
        self.choose.clicked.connect(self._ask_for_folder)
        self.show_folder.clicked.connect(self._open_folder)
        self.clear.clicked.connect(self._clear)

    def refresh(self, *_: object) -> None:
        """Show what is set, and count anew; nothing while the panel is folded away."""
        if not self.isVisible():
            return
        settings = embedding_settings()
        for widget, is_on in (
            (self.on_disk, settings.is_on_disk),
            (self.half, settings.is_half),
            (self.ahead, settings.is_ahead),
        ):
            was_blocked = widget.blockSignals(True)  # noqa: FBT003  Qt's argument
            widget.setChecked(is_on)
            widget.blockSignals(was_blocked)
        self.limit.setValue(settings.max_gib)
        self.folder.setText(str(chosen_folder()))
        self._enable()
        self.count()

    def count(self) -> None:
        """Count what is kept; a count that has not begun yet is dropped."""
        self._submit(count_kept, _LANE)

    def showEvent(self, event: Any) -> None:
        """Count from time to time."""
        super().showEvent(event)
        self._timer.start()

    def hideEvent(self, event: Any) -> None:
        """Stop counting."""
        super().hideEvent(event)
        self._timer.stop()

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.folder, stretch=1)
        row.addWidget(self.choose)
        form = QFormLayout()
        form.addRow(self.on_disk)
        form.addRow("At most", self.limit)
        form.addRow(self.half)
        form.addRow("Folder", row)
        form.addRow(self.ahead)
        buttons = QHBoxLayout()
        buttons.addWidget(self.show_folder)
        buttons.addWidget(self.clear)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.text)
        column.addLayout(form)
        column.addLayout(buttons)

    def _enable(self) -> None:
        is_on = self.on_disk.isChecked()
        self.limit.setEnabled(is_on)
        self.half.setEnabled(is_on)
        self.folder.setEnabled(is_on and not is_folder_fixed())
        self.choose.setEnabled(is_on and not is_folder_fixed())

    def _save(self, *_: Any) -> None:
        """Keep what is entered, if it is new, and use it."""
        before = embedding_settings()
        folder = self.folder.text().strip()
        after = replace(
            before,
            is_on_disk=self.on_disk.isChecked(),
            max_gib=self.limit.value(),
            is_half=self.half.isChecked(),
            is_ahead=self.ahead.isChecked(),
            folder=before.folder if folder == str(chosen_folder()) else folder,
        )
        if after == before:
            return
        save_embedding_settings(after)
        apply_embedding_settings()
        self.refresh()
        self._submit(fit_kept)

    def _ask_for_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(
            self, "Folder for embeddings", self.folder.text()
        )
        if folder:
            self.folder.setText(folder)
            self._save()

    def _open_folder(self) -> None:
        folder = chosen_folder()
        if folder.is_dir():
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))
        else:
            self.text.setText(f"Nothing was written to {folder} yet.")

    def _clear(self) -> None:
        self.clear.setEnabled(False)
        self._submit(clear_kept)

    def _submit(self, work: Callable[[], Kept], lane: str = "") -> None:
        self._session.errands.submit(
            lambda _: work(),
            priority=Priority.INTERACTIVE,
            lane=lane,
            on_result=self._show,
            on_error=self._session.report,
        )

    def _show(self, kept: Kept) -> None:
        self.clear.setEnabled(True)
        self.text.setText(
            f"In memory: {_in_words(kept.in_memory)}. "
            f"On disk: {_in_words(kept.on_disk)}."
        )


def _in_words(usage: Usage) -> str:
    if not usage.n_embeddings:
        return "none"
    noun = "embedding" if usage.n_embeddings == 1 else "embeddings"
    return f"{usage.n_embeddings} {noun}, {format_bytes(usage.n_bytes)}"
