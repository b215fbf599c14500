# SPDX-License-Identifier: Apache-2.0
"""The dock "Annotate a folder"."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
)

from napari_sam._bridge.folder_session import FolderSession
from napari_sam._widgets.dock import Dock
from napari_sam._widgets.folder_list import FolderList
from napari_sam._widgets.model_choice import ModelChoice
from napari_sam.io.folder_project import FolderProject
from napari_sam.io.folder_state import ImageState

if TYPE_CHECKING:
    import napari

BEGIN_TEXT = "Choose a folder with images."
_TASKS = {"": "", "reading": "Reading the image ...", "saving": "Saving ..."}


class FolderWidget(Dock):
    """Images of a folder, one after the other, each with its labels.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer or napari's proxy of it.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.folder, self.browse = _place(
            "The folder with the images to annotate.", "Choose the folder of images."
        )
        self.output, self.browse_output = _place(
            "Where labels and annotation files are written. Empty: beside the images.",
            "Choose another folder for labels and annotation files.",
        )
        self.output.setPlaceholderText("beside the images")
        self.pattern = QLineEdit("*")
        self.pattern.setToolTip("Which files are meant, for instance *_dapi.tif.")
        self.start = _button(
            "Open folder", "List the images and open the one where you stopped."
        )
        self.model = ModelChoice(self.session)
        self.images = FolderList()
        self.progress = QProgressBar()
        self.progress.setToolTip("How many images are done.")
        self.previous = _button("◀ Previous", "Save, and open the image before.")
        self.next = _button("Next ▶", "Save, and open the image after.")
        self.done = _button(
            "Done and next",
            "Save, call this image done, and open the next one that is not done.",
        )
        self.undone = _button("Not done", "Call this image not done after all.")
        self.save = _button("Save", "Write labels and annotation of this image now.")
        self.refresh = _button("Look again", "Find images that came or went meanwhile.")
        self.message = QLabel(BEGIN_TEXT)
        self.message.setWordWrap(True)
        self._walk: FolderSession | None = None
        # The widget is gone when Qt says so; what it kept is not.
        kept = self._kept = _Kept()
        self.destroyed.connect(lambda *_: kept.close())
        self._lay_out()
        self._connect_buttons()
        self._show()

    @property
    def walk(self) -> FolderSession | None:
        """The folder that is open."""
        return self._walk

    def entered(self) -> None:
        """Connect to the session; the folder goes on where it was left."""
        self.model.connect()
        if self._walk is not None:
            self._follow(self._walk)
        self._show()

    def left(self) -> None:
        """Save and let go; the image stays open."""
        self.model.disconnect()
        if self._walk is not None:
            self._walk.save_now()
            self._unfollow(self._walk)

    def open_folder(self) -> None:
        """List the images of the folder and open the one to go on with.

        A folder that is open is saved and closed first. It stays open if that fails, or
        if there is nothing to open instead.
        """
        if not self.folder.text().strip():
            self.message.setText(BEGIN_TEXT)
            return
        self.attempt(self._open_folder)
        self._show()

    def _open_folder(self) -> None:
        output = self.output.text().strip()
        project = FolderProject(
            Path(self.folder.text().strip()).expanduser(),
            Path(output).expanduser() if output else None,
            self.pattern.text().strip() or "*",
        )
        before = self._walk
        if before is not None:
            if not before.close():
                return
            self._unfollow(before)
        walk = FolderSession(
            self.viewer,
            self.session,
            project,
            lambda: self.model.spec,
            None if before is None else before.opened,
        )
        self._walk = self._kept.walk = walk
        self._follow(walk)
        for notice in project.notices:
            self._tell(notice)
        walk.resume()

    def _follow(self, walk: FolderSession) -> None:
        walk.changed.connect(self._show)
        walk.message_changed.connect(self._tell)

    def _unfollow(self, walk: FolderSession) -> None:
        walk.changed.disconnect(self._show)
        walk.message_changed.disconnect(self._tell)

    def _lay_out(self) -> None:
        source = QGroupBox("Folder")
        form = QFormLayout(source)
        form.addRow("Images", _row(self.folder, self.browse))
        form.addRow("Results", _row(self.output, self.browse_output))
        form.addRow("Names", self.pattern)
        self.model.add_to(form)
        form.addRow(self.start)
        images = QGroupBox("Images")
        column = QVBoxLayout(images)
        column.addWidget(self.progress)
        column.addWidget(self.images)
        column.addLayout(_row(self.previous, self.next))
        column.addWidget(self.done)
        column.addLayout(_row(self.save, self.undone, self.refresh))
        self.column.addWidget(source)
        self.column.addWidget(images)
        self.column.addWidget(self.message)
        self.add_diagnostics_button()

    def _connect_buttons(self) -> None:
        self.browse.clicked.connect(lambda: self._choose(self.folder))
        self.browse_output.clicked.connect(lambda: self._choose(self.output))
        self.folder.returnPressed.connect(self.open_folder)
        self.start.clicked.connect(self.open_folder)
        self.previous.clicked.connect(lambda: self._go("previous"))
        self.next.clicked.connect(lambda: self._go("next"))
        self.done.clicked.connect(lambda: self._go("done_and_next"))
        self.undone.clicked.connect(lambda: self._go("mark_undone"))
        self.save.clicked.connect(lambda: self._go("save"))
        self.refresh.clicked.connect(lambda: self._go("refresh"))
        self.model.chosen.connect(self._use_model)
        self.images.chosen.connect(lambda index: self._go("open", index))

    def _choose(self, field: QLineEdit) -> None:
        folder = QFileDialog.getExistingDirectory(
            self, "Choose a folder", field.text() or self.folder.text()
        )
        if folder:
            field.setText(folder)
            if field is self.folder:
                self.open_folder()

    def _go(self, move: str, *arguments: Any) -> None:
        if self._walk is not None:
            self.attempt(getattr(self._walk, move), *arguments)
            self._show()

    def _use_model(self) -> None:
        if self.session.controller is not None:
            self.session.use_model(self.model.spec)

    def _tell(self, text: str) -> None:
        self.message.setText(text)

    def _show(self) -> None:
        """Show the list, how far it is, and what can be done now."""
        walk = self._walk
        is_free = walk is not None and not walk.task
        opened = None if walk is None else walk.opened
        for button in (self.previous, self.next, self.done, self.save):
            button.setEnabled(is_free and opened is not None)
        self.refresh.setEnabled(is_free)
        self.start.setEnabled(walk is None or is_free)
        self.images.setEnabled(is_free)
        self.progress.setVisible(walk is not None)
        self.undone.setEnabled(False)
        if walk is None:
            return
        if walk.task:
            self.message.setText(_TASKS[walk.task])
        project = walk.project
        self.images.show_project(project, walk.index, walk.problems)
        self.progress.setRange(0, len(project))
        self.progress.setValue(project.n_done)
        self.progress.setFormat(f"{project.n_done} of {len(project)} done")
        if opened is not None:
            is_done = project.state(opened.entry) is ImageState.DONE
            self.undone.setEnabled(is_free and is_done)


class _Kept:
    """What is to be saved and let go when Qt has destroyed the widget."""

    def __init__(self) -> None:
        self.walk: FolderSession | None = None

    def close(self) -> None:
        """Save; if that fails the user has been told, and the viewer goes anyway."""
        if self.walk is not None:
            self.walk.save_now()
            self.walk.release()
            self.walk = None


def _place(tooltip: str, browse_tooltip: str) -> tuple[QLineEdit, QPushButton]:
    """Make a field for a folder and the button that looks for one."""
    field = QLineEdit()
    field.setToolTip(tooltip)
    button = _button("...", browse_tooltip)
    button.setMaximumWidth(30)
    return field, button


def _button(text: str, tooltip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tooltip)
    return button


def _row(*widgets: Any) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    # Keys belong to the canvas: a button pressed once must not take the next space.
    for widget in widgets:
        if isinstance(widget, QPushButton):
            widget.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return row
