# SPDX-License-Identifier: Apache-2.0
"""Saving and opening annotation files, and taking up what a crash left behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_sam._bridge.annotation_record import load_record, save_record
from napari_sam._widgets.buttons import ActionButton
from napari_sam.io.annotation_file import SUFFIX
from napari_sam.io.journal_reader import discard_journal

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam._bridge.controller import PromptController
    from napari_sam._bridge.sessions import ViewerSession
    from napari_sam.io.journal_reader import JournalInfo

FILTER = f"Annotation (*{SUFFIX})"


class RecordPanel(QWidget):
    """Buttons for annotation files of the image that is prompted.

    Parameters
    ----------
    session : ViewerSession
        Whose controller is meant.
    attempt : callable
        Does something for the user; whether it worked.
    """

    def __init__(self, session: ViewerSession, attempt: Callable[..., bool]) -> None:
        super().__init__()
        self._session = session
        self._attempt = attempt
        self.save = ActionButton(
            "Save annotation ...",
            "Write labels, objects, prompts and settings into one file.",
        )
        self.open = ActionButton(
            "Open annotation ...",
            "Go on with an annotation file of this image, instead of the objects here; "
            "undo takes it back.",
        )
        self.save.clicked.connect(self._ask_where_to_save)
        self.open.clicked.connect(self._ask_what_to_open)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.save)
        row.addWidget(self.open)
        self.show_controller(None)

    def show_controller(self, controller: PromptController | None) -> None:
        """Enable the buttons while an image is prompted."""
        for button in (self.save, self.open):
            button.setEnabled(controller is not None)

    def save_to(self, path: Path) -> bool:
        """Write an annotation file; whether that worked."""
        controller = self._session.controller
        if controller is None or not self._attempt(save_record, controller, path):
            return False
        if self._session.autosave is not None:
            self._session.autosave.mark_saved()
        return True

    def open_from(self, path: Path) -> bool:
        """Go on with an annotation file; whether that worked."""
        controller = self._session.controller
        return controller is not None and self._attempt(load_record, controller, path)

    def _ask_where_to_save(self) -> None:
        controller = self._session.controller
        if controller is None:
            return
        name = f"{controller.image.name}{SUFFIX}"
        path, _ = QFileDialog.getSaveFileName(self, "Save annotation", name, FILTER)
        if path:
            complete = path if path.endswith(SUFFIX) else path + SUFFIX
            self.save_to(Path(complete))

    def _ask_what_to_open(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open annotation", "", FILTER)
        if path:
            self.open_from(Path(path))


class RestoreOffer(QFrame):
    """Says what a session that ended early has left of this image, if it has.

    Parameters
    ----------
    session : ViewerSession
        Whose journals are meant.
    attempt : callable
        Does something for the user; whether it worked.
    tell : callable
        Takes a line for the user.
    """

    def __init__(
        self,
        session: ViewerSession,
        attempt: Callable[..., bool],
        tell: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._session = session
        self._attempt = attempt
        self._tell = tell
        self._offer: JournalInfo | None = None
        self.setObjectName("sam_restore")
        self.setStyleSheet("#sam_restore { border-left: 3px solid #e69f00; }")
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.restore = ActionButton(
            "Restore",
            "Bring back labels, objects and prompts instead of those here; undo takes "
            "it back.",
        )
        self.forget = ActionButton("Forget", "Delete what was left behind, for good.")
        self.restore.clicked.connect(self._restore)
        self.forget.clicked.connect(self._forget)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(self.forget)
        row.addWidget(self.restore)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 0, 0, 0)
        column.addWidget(self.text)
        column.addLayout(row)
        self.hide()

    def show_controller(self, controller: PromptController | None) -> None:
        """Look for what was left of the image that is prompted now."""
        autosave = self._session.autosave
        offers = [] if controller is None or autosave is None else autosave.offers()
        self._offer = offers[0] if offers else None
        if self._offer is not None:
            when = self._offer.modified.replace("T", " ")[:16]
            more = f" ({len(offers) - 1} more)" if len(offers) > 1 else ""
            self.text.setText(
                f"Work on this image was left without being saved, last step at "
                f"{when} UTC{more}."
            )
        self.setVisible(self._offer is not None)

    def _restore(self) -> None:
        autosave, offer = self._session.autosave, self._offer
        if autosave is None or offer is None:
            return
        notices: list[str] = []
        if self._attempt(lambda: notices.extend(autosave.restore(offer))):
            self._tell(
                " ".join(["The work was restored; undo takes it back.", *notices])
            )
        self.show_controller(self._session.controller)

    def _forget(self) -> None:
        if self._offer is not None:
            self._attempt(discard_journal, self._offer.path)
        self.show_controller(self._session.controller)
