# SPDX-License-Identifier: Apache-2.0
"""The rule by which masks become labels, as a form."""

from __future__ import annotations

from typing import Any, ClassVar

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QSizePolicy,
    QSpinBox,
    QWidget,
)

from napari_sam.annotation.commit_policy import CommitSettings, LabelMode, Overlap

_OVERLAP_TEXTS = {
    Overlap.KEEP: "keep them",
    Overlap.OVERWRITE: "overwrite them",
    Overlap.FILL: "fill only background",
}
_OVERLAP_TOOLTIP = (
    "What a mask does to pixels of objects that exist already.\n"
    "keep them: the mask is cut where it overlaps, and slivers are dropped.\n"
    "overwrite them: the mask takes the pixels, unless the object is locked.\n"
    "fill only background: nothing is taken from any object, nothing is dropped."
)
_MODE_TEXTS = {
    LabelMode.INSTANCE: "new id per object",
    LabelMode.SEMANTIC: "one id per class",
}
_MODE_TOOLTIP = (
    "What an id of the labels layer stands for: one object, or one class of objects."
)
_HOLES = "Holes are closed, unless they are large or hold a negative point."
_SPECKS = "Tiny pieces beside the mask are left out."
_PIECE = "Of several pieces, those under a positive point stay, or else the largest."
_CHECKS = {
    "fill_holes": ("Fill holes", _HOLES),
    "drop_specks": ("Drop specks", _SPECKS),
    "largest_piece": ("Largest piece only", _PIECE),
}
_MAX_AREA_PX = 1_000_000


class CommitRule(QWidget):
    """Edits `CommitSettings`.

    Attributes
    ----------
    chosen : Signal(CommitSettings)
        The user wants another rule.
    """

    chosen: ClassVar[Signal] = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.overlap = _combo(_OVERLAP_TEXTS, _OVERLAP_TOOLTIP)
        self.mode = _combo(_MODE_TEXTS, _MODE_TOOLTIP)
        self.checks = {name: QCheckBox(text) for name, (text, _) in _CHECKS.items()}
        for name, box in self.checks.items():
            box.setToolTip(_CHECKS[name][1])
            box.toggled.connect(self._choose)
        self.min_area = QSpinBox()
        self.min_area.setRange(0, _MAX_AREA_PX)
        self.min_area.setSuffix(" px")
        self.min_area.setSpecialValueText("any size")
        self.min_area.setToolTip("Masks with fewer pixels are refused.")
        self.overlap.currentIndexChanged.connect(self._choose)
        self.mode.currentIndexChanged.connect(self._choose)
        self.min_area.valueChanged.connect(self._choose)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Existing objects", self.overlap)
        form.addRow("Labels", self.mode)
        for box in self.checks.values():
            form.addRow(box)
        form.addRow("Smallest mask", self.min_area)
        self.show_settings(CommitSettings())

    @property
    def settings(self) -> CommitSettings:
        """What is shown."""
        checks = {name: box.isChecked() for name, box in self.checks.items()}
        return CommitSettings(
            overlap=self.overlap.currentData(),
            mode=self.mode.currentData(),
            min_area=self.min_area.value(),
            **checks,
        )

    def show_settings(self, settings: CommitSettings) -> None:
        """Show a rule."""
        fields = [self.overlap, self.mode, self.min_area, *self.checks.values()]
        blockers = [QSignalBlocker(field) for field in fields]
        self.overlap.setCurrentIndex(list(_OVERLAP_TEXTS).index(settings.overlap))
        self.mode.setCurrentIndex(list(_MODE_TEXTS).index(settings.mode))
        self.min_area.setValue(settings.min_area)
        for name, box in self.checks.items():
            box.setChecked(getattr(settings, name))
        del blockers

    def _choose(self, _: Any = None) -> None:
        self.chosen.emit(self.settings)


def _combo(texts: dict[Any, str], tooltip: str) -> QComboBox:
    box = QComboBox()
    for value, text in texts.items():
        box.addItem(text, value)
    box.setToolTip(tooltip)
    # The texts may be cut off rather than widen the panel.
    box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return box
