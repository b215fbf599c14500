# SPDX-License-Identifier: Apache-2.0
"""The review: one object after the other, the worst first."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_sam._widgets.buttons import ActionButton

if TYPE_CHECKING:
    from napari_sam.annotation.objects import AnnotatedObject

NOTHING_LEFT = "Nothing to review. Objects of a batch, and unsure ones, come here."


class ReviewPanel(QWidget):
    """Shows the object under review, and tells what the user decides.

    Attributes
    ----------
    accept_wanted, reject_wanted, refine_wanted, unsure_wanted : Signal()
        What is to become of the object shown.
    step_wanted : Signal(int)
        1 for the next object, -1 for the one before.
    show_wanted : Signal()
        The object is to be brought into view.
    """

    accept_wanted: ClassVar[Signal] = Signal()
    reject_wanted: ClassVar[Signal] = Signal()
    refine_wanted: ClassVar[Signal] = Signal()
    unsure_wanted: ClassVar[Signal] = Signal()
    step_wanted: ClassVar[Signal] = Signal(int)
    show_wanted: ClassVar[Signal] = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.left = QLabel()
        self.about = QLabel()
        self.about.setWordWrap(True)
        self.accept = ActionButton(
            "Accept", "Keep the object as it is and go to the next."
        )
        self.reject = ActionButton("Reject", "Delete the object and go to the next.")
        self.refine = ActionButton("Refine", "Open its prompts again to correct it.")
        self.unsure = ActionButton(
            "Unsure", "Mark it as unsure, which keeps it in the queue; next."
        )
        self.previous = ActionButton("Previous", "Go back without a decision.")
        self.next = ActionButton("Next", "Go on without a decision.")
        self.show_it = ActionButton("Show", "Move the view to the object.")
        self._lay_out()
        for button, signal in (
            (self.accept, self.accept_wanted),
            (self.reject, self.reject_wanted),
            (self.refine, self.refine_wanted),
            (self.unsure, self.unsure_wanted),
            (self.show_it, self.show_wanted),
        ):
            button.clicked.connect(lambda *_, signal=signal: signal.emit())
        self.previous.clicked.connect(lambda: self.step_wanted.emit(-1))
        self.next.clicked.connect(lambda: self.step_wanted.emit(1))
        self.show_object(None, 0)

    def show_object(self, known: AnnotatedObject | None, n_left: int) -> None:
        """Show the object under review and how many are left, it included."""
        for button in self.findChildren(ActionButton):
            button.setEnabled(known is not None)
        self.left.setVisible(known is not None)
        if known is None:
            self.about.setText(NOTHING_LEFT)
            return
        self.left.setText(f"{n_left} to review, lowest predicted IoU first")
        score = "no score" if known.predicted_iou is None else None
        score = score or f"predicted IoU {known.predicted_iou:.2f}"
        where = f", plane {', '.join(map(str, known.plane.index))}"
        self.about.setText(
            f"Object {known.object_id}: {score}, {known.area} px, {known.status}"
            f"{where if known.plane.index else ''}"
        )

    def _lay_out(self) -> None:
        grid = QGridLayout()
        for place, button in enumerate((self.accept, self.reject, self.refine)):
            grid.addWidget(button, 0, 2 * place, 1, 2)
        for place, button in enumerate((self.previous, self.next, self.unsure)):
            grid.addWidget(button, 1, 2 * place, 1, 2)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.left)
        column.addWidget(self.about)
        column.addLayout(grid)
        column.addWidget(self.show_it)
