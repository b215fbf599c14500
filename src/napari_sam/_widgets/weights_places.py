# SPDX-License-Identifier: Apache-2.0
"""Where weights come from when the internet is out of reach."""

from __future__ import annotations

from typing import ClassVar

from psygnal import Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
)

from napari_sam._bridge.preferences import save_weights_preferences
from napari_sam.weights.locations import (
    MIRROR_VARIABLE,
    OFFLINE_DIR_VARIABLE,
    current_locations,
)


class WeightsPlaces(QGroupBox):
    """An offline folder and a mirror, kept for later sessions.

    Attributes
    ----------
    changed : Signal()
        The user entered something; `save` keeps it.
    """

    changed: ClassVar[Signal] = Signal()

    def __init__(self) -> None:
        super().__init__("Without internet")
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("none")
        self.folder.setToolTip(
            "A folder with weights files, searched first and never written. The "
            f"environment variable {OFFLINE_DIR_VARIABLE} wins over it."
        )
        self.browse = QPushButton("...")
        self.browse.setToolTip("Choose a folder.")
        self.mirror = QLineEdit()
        self.mirror.setPlaceholderText("none")
        self.mirror.setToolTip(
            "Web address that holds the same file names, tried before the publisher. "
            f"The environment variable {MIRROR_VARIABLE} wins over it."
        )
        row = QHBoxLayout()
        row.addWidget(self.folder, stretch=1)
        row.addWidget(self.browse)
        form = QFormLayout(self)
        form.addRow("Offline folder", row)
        form.addRow("Mirror", self.mirror)
        self.folder.editingFinished.connect(self._announce)
        self.mirror.editingFinished.connect(self._announce)
        self.browse.clicked.connect(self._ask)
        self._shown = ("", "")

    def refresh(self) -> None:
        """Show what holds now.

        Raises
        ------
        SettingsError
            If the saved settings cannot be read.
        """
        places = current_locations()
        self._shown = (str(places.offline_dir or ""), places.mirror or "")
        self.folder.setText(self._shown[0])
        self.mirror.setText(self._shown[1])

    def save(self) -> None:
        """Keep what is entered.

        Raises
        ------
        NapariSamError
            If the folder does not exist, the mirror is no web address, or they cannot
            be saved.
        """
        save_weights_preferences(self.folder.text().strip(), self.mirror.text().strip())

    def _announce(self) -> None:
        if (self.folder.text().strip(), self.mirror.text().strip()) != self._shown:
            self.changed.emit()

    def _ask(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder with weights files")
        if folder:
            self.folder.setText(folder)
            self._announce()
