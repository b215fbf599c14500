# SPDX-License-Identifier: Apache-2.0
"""The masks of the present answer, side by side, and advice about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_sam._widgets.buttons import ActionButton
from napari_sam.annotation.choices import Size, by_area, name_of

if TYPE_CHECKING:
    from napari_sam.structures.candidates import Answer

_PREFERENCES = {
    None: "automatic",
    Size.SMALL: "smallest",
    Size.MEDIUM: "middle",
    Size.LARGE: "largest",
}
_TOOLTIPS = {
    Size.SMALL: "The smallest mask, often a part of the object.",
    Size.MEDIUM: "The mask in the middle.",
    Size.LARGE: "The largest mask, often the object with its surroundings.",
    Size.SINGLE: "The one mask for prompts that leave no choice.",
}
_REFINE_KINDS = ("repeats", "inside")
# Orange of the Okabe-Ito palette: seen on the dark and on the light theme.
_ADVICE_STYLE = "#sam_advice { border-left: 3px solid #e69f00; }"


class CandidatePanel(QWidget):
    """Shows what the model offers and lets the user choose.

    Attributes
    ----------
    chosen : Signal(int)
        Index of the answer's mask that the user wants.
    preference_chosen : Signal(object)
        Size to begin with for the next objects, or None for the model's own choice.
    advice_taken : Signal()
        The advice shown is to be followed.
    """

    chosen: ClassVar[Signal] = Signal(int)
    preference_chosen: ClassVar[Signal] = Signal(object)
    advice_taken: ClassVar[Signal] = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._pixel_area_um2: float | None = None
        self._answer: Answer | None = None
        self._group = QButtonGroup(self)
        self._row = QHBoxLayout()
        self._row.setSpacing(4)
        self.buttons = {size: self._make_button(size) for size in _TOOLTIPS}
        self.preference = QComboBox()
        for size, text in _PREFERENCES.items():
            self.preference.addItem(text, size)
        self.preference.setToolTip(
            "Which of the three masks a new object begins with; 'automatic' takes the "
            "one that the model trusts most."
        )
        self.preference.activated.connect(
            lambda _: self.preference_chosen.emit(self.preference.currentData())
        )
        self.advice = QLabel()
        self.advice.setWordWrap(True)
        self.advice_button = ActionButton("", "", action="follow_advice")
        self.advice_button.clicked.connect(lambda: self.advice_taken.emit())
        self.advice_frame = self._make_advice_frame()
        prefer = QHBoxLayout()
        prefer.addWidget(QLabel("Begin next objects with"))
        prefer.addWidget(self.preference, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._row)
        column.addWidget(self.advice_frame)
        column.addLayout(prefer)
        self.show_answer(None)

    def set_pixel_area(self, um2: float | None) -> None:
        """Show areas in square micrometres, or in pixels if None."""
        self._pixel_area_um2 = um2
        self._write_texts()

    def show_answer(self, answer: Answer | None, index: int = 0) -> None:
        """Show the masks of an answer, the one of `index` as chosen."""
        self._answer = answer
        self._write_texts()
        self._group.setExclusive(False)
        for size, button in self.buttons.items():
            button.setChecked(answer is not None and name_of(answer, index) == size)
        self._group.setExclusive(True)

    def show_preference(self, preference: str | None) -> None:
        """Show which mask the next objects begin with."""
        self.preference.setCurrentIndex(list(_PREFERENCES).index(_size(preference)))

    def show_advice(
        self, kind: str = "", text: str = "", object_id: int | None = None
    ) -> None:
        """Show a piece of advice with the button that follows it; none without text."""
        if kind in _REFINE_KINDS:
            self.advice_button.setText("Refine that one")
            self.advice_button.describe(
                f"Drop this mask and open object {object_id} instead."
            )
        else:
            self.advice_button.setText("Go back")
            self.advice_button.describe("Take the last prompt back.")
        self.advice.setText(text)
        self.advice_frame.setVisible(bool(text))

    def _make_button(self, size: Size) -> ActionButton:
        button = ActionButton(
            "", _TOOLTIPS[size], action="next_candidate", is_checkable=True
        )
        button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        button.clicked.connect(lambda: self._choose(size))
        self._group.addButton(button)
        self._row.addWidget(button)
        return button

    def _make_advice_frame(self) -> QFrame:
        frame = QFrame()
        frame.setObjectName("sam_advice")
        frame.setStyleSheet(_ADVICE_STYLE)
        row = QHBoxLayout(frame)
        row.setContentsMargins(6, 0, 0, 0)
        row.addWidget(self.advice, 1)
        row.addWidget(self.advice_button, 0, Qt.AlignmentFlag.AlignVCenter)
        frame.setVisible(False)
        return frame

    def _choose(self, size: Size) -> None:
        index = self._indices().get(size)
        if index is not None:
            self.chosen.emit(index)

    def _indices(self) -> dict[str, int]:
        """Index of the mask that each button stands for."""
        answer = self._answer
        if answer is None:
            return {}
        readings = set(by_area(answer))
        indices = range(len(answer))
        return {
            name_of(answer, i): i for i in indices if i in readings or i == indices[0]
        }

    def _write_texts(self) -> None:
        indices = self._indices()
        for size, button in self.buttons.items():
            index = indices.get(size)
            button.setEnabled(index is not None)
            if index is None or self._answer is None:
                button.setText(f"{size}\n\n")
                continue
            score = float(self._answer.predicted_iou[index])
            area = self._area_text(self._answer.masks[index].area)
            button.setText(f"{size}\n{score:.2f}\n{area}")

    def _area_text(self, area_px: int) -> str:
        if self._pixel_area_um2 is None:
            # The buttons are narrow: large areas in thousands or millions.
            for least, unit, name in ((10**7, 10**6, "M"), (10**5, 10**3, "k")):
                if area_px >= least:
                    return f"{area_px / unit:,.0f}{name} px"
            return f"{area_px:,} px"
        return f"{area_px * self._pixel_area_um2:,.4g} µm²"


def _size(preference: str | None) -> Size | None:
    return None if preference is None else Size(preference)
