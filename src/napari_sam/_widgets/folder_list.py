# SPDX-License-Identifier: Apache-2.0
"""The images of a folder, with how far each of them is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QListWidget, QListWidgetItem

from napari_sam.io.folder_state import ImageState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam.io.folder_project import FolderProject

_SIGNS = {ImageState.TODO: "○", ImageState.STARTED: "◐", ImageState.DONE: "●"}
_TEXTS = {
    ImageState.TODO: "nothing is written yet",
    ImageState.STARTED: "there are labels",
    ImageState.DONE: "done",
}
_PROBLEM = "✕"
_MIN_HEIGHT_PX = 120


class FolderList(QListWidget):
    """One line per image; a click opens it.

    Attributes
    ----------
    chosen : Signal(int)
        The user clicked on the image of this place.
    """

    chosen: ClassVar[Signal] = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setUniformItemSizes(True)  # thousands of images are laid out at once
        self.setMinimumHeight(_MIN_HEIGHT_PX)
        self.setToolTip(
            "Click on an image to open it. ○ to do, ◐ started, ● done, ✕ unreadable."
        )
        self.itemActivated.connect(self._choose)
        self.itemClicked.connect(self._choose)

    def show_project(
        self, project: FolderProject, current: int | None, problems: Mapping[str, str]
    ) -> None:
        """Show the images and their states.

        Parameters
        ----------
        project : FolderProject
            Whose images.
        current : int or None
            Place of the image that is open.
        problems : mapping of str to str
            Why images could not be opened, by name.
        """
        while self.count() > len(project):
            self.takeItem(self.count() - 1)
        while self.count() < len(project):
            self.addItem(QListWidgetItem())
        for place, image in enumerate(project.images):
            state, problem = project.state(image), problems.get(image.name)
            sign = _PROBLEM if problem else _SIGNS[state]
            text = f"{sign} {image.name}"
            item = self.item(place)
            # Only what is new: writing an item is what costs in a long list.
            if item is not None and item.text() != text:
                item.setText(text)
                item.setToolTip(f"{image.path}\n{problem or _TEXTS[state]}")
        if current is None:
            self.setCurrentItem(None)
        elif current != self.currentRow():
            self.setCurrentRow(current)

    def _choose(self, item: QListWidgetItem) -> None:
        self.chosen.emit(self.row(item))
