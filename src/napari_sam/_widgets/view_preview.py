# SPDX-License-Identifier: Apache-2.0
"""What the model sees, how its embedding stands, and the button to renew it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_sam._widgets.view_thumbnail import ViewThumbnail

if TYPE_CHECKING:
    from napari_sam.annotation.ports import JobRunner


class ViewPreview(QWidget):
    """A thumbnail with a state line and a button beside it.

    Parameters
    ----------
    runner : JobRunner or None
        Where the thumbnail is read.
    """

    def __init__(self, runner: JobRunner | None) -> None:
        super().__init__()
        self.thumbnail = ViewThumbnail(runner)
        self.state = QLabel()
        self.state.setWordWrap(True)
        self.embed = QPushButton("Embed now")
        self.embed.setToolTip("Let the model look at the image as it is shown here.")
        title = QLabel("What the model sees")
        title.setWordWrap(True)
        beside = QVBoxLayout()
        beside.addWidget(title)
        beside.addWidget(self.state)
        beside.addStretch(1)
        beside.addWidget(self.embed)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.thumbnail, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(beside, 1)
