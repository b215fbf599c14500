# SPDX-License-Identifier: Apache-2.0
"""Proposals: filters with counts, how much is done, what is under the pointer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from napari_sam._widgets.buttons import ActionButton
from napari_sam._widgets.range_row import RangeRow
from napari_sam.annotation.proposals import BACKGROUND, COVERED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam.annotation.proposals import Proposals
    from napari_sam.annotation.semi_automatic import Advance

FILTERS = {
    "predicted_iou": ("Predicted IoU", "The model's own estimate of a mask's quality."),
    "stability_score": (
        "Stability",
        "How little a mask changes when its threshold moves; soft borders have less.",
    ),
    "area": ("Area (px)", "Number of pixels of a mask."),
    "roundness": ("Roundness", "1 for a disc, 0 for a line."),
    "mean_intensity": (
        "Intensity",
        "Mean value of the image inside a mask, as the image has it.",
    ),
}
"""What each statistic is called, and what it says."""
NOTHING_YET = "No proposals on this plane."


class ProposalsPanel(QWidget):
    """Shows how proposals stand, and tells what the user wants of them.

    Attributes
    ----------
    filter_changed : Signal(str, float, float)
        Statistic, lowest and highest value that pass.
    background_toggled : Signal(bool)
        Whether masks that look like background are to be dropped.
    take_wanted, drop_wanted : Signal()
        All proposals that are shown.
    undo_wanted : Signal()
    """

    filter_changed: ClassVar[Signal] = Signal(str, float, float)
    background_toggled: ClassVar[Signal] = Signal(bool)
    take_wanted: ClassVar[Signal] = Signal()
    drop_wanted: ClassVar[Signal] = Signal()
    undo_wanted: ClassVar[Signal] = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._proposals: Proposals | None = None
        self.message = QLabel(NOTHING_YET)
        self.message.setWordWrap(True)
        self.rows = {
            name: RangeRow(self, name, *about, is_whole=name == "area")
            for name, about in FILTERS.items()
        }
        self.background = QCheckBox("Drop background")
        self.background.setChecked(True)
        self.background.setToolTip(
            "Drop masks that touch three borders of the plane or cover more than half "
            "of it."
        )
        self.take = ActionButton("Accept shown", "Make objects of all that is shown.")
        self.drop = ActionButton("Drop shown", "Put aside all that is shown.")
        self.undo = ActionButton("Undo", "Take the last step back, whatever it was.")
        self.done = QProgressBar()
        self.done.setToolTip("Part of the proposals that are accepted or dropped.")
        self.figures = QLabel()
        self.figures.setWordWrap(True)
        self.under_pointer = QLabel()
        self.under_pointer.setWordWrap(True)
        self.filters = QWidget()
        self._lay_out()
        for row in self.rows.values():
            row.changed.connect(self.filter_changed.emit)
        self.background.toggled.connect(self.background_toggled.emit)
        self.take.clicked.connect(lambda: self.take_wanted.emit())
        self.drop.clicked.connect(lambda: self.drop_wanted.emit())
        self.undo.clicked.connect(lambda: self.undo_wanted.emit())
        self.show_proposals(None, {})
        self.show_hovered(None)

    @property
    def has_proposals(self) -> bool:
        """Whether there is something to show."""
        return self._proposals is not None

    def show_proposals(
        self,
        proposals: Proposals | None,
        filters: Mapping[str, tuple[float, float]],
        advance: Advance | None = None,
    ) -> None:
        """Show other proposals or how they stand now, the filters, and the progress."""
        if proposals is not self._proposals:
            self._proposals = proposals
            self.show_hovered(None)
            if proposals is not None:
                for name, row in self.rows.items():
                    row.set_extent(*proposals.extent(name))
                    row.set_range(*filters.get(name, (-float("inf"), float("inf"))))
        for widget in (self.filters, self.take, self.drop, self.done, self.figures):
            widget.setVisible(proposals is not None)
        if proposals is None:
            self.message.setText(NOTHING_YET)
            return
        self._show_counts(proposals)
        if advance is not None:
            self._show_advance(advance)

    def show_hovered(self, numbers: Mapping[str, float] | None) -> None:
        """Say what is known of the proposal under the pointer."""
        if numbers is None:
            self.under_pointer.setText(
                "Click a proposal to accept it, Ctrl-click (or right-click) to drop it."
                if self._proposals is not None
                else ""
            )
            return
        self.under_pointer.setText(
            f"IoU {numbers['predicted_iou']:.2f} · "
            f"stability {numbers['stability_score']:.2f} · "
            f"{numbers['area']:.0f} px · "
            f"roundness {numbers['roundness']:.2f} · "
            f"intensity {numbers['mean_intensity']:.4g}"
        )

    def _show_counts(self, proposals: Proposals) -> None:
        counts = proposals.counts()
        for name, row in self.rows.items():
            row.show_dropped(counts.dropped[name], counts.dropped_alone[name])
        self.background.setText(f"Drop background ({proposals.n_background} found)")
        text = f"{counts.n_kept} of {counts.n_all} masks pass"
        n_covered = counts.dropped_alone[COVERED]
        if n_covered:
            text += f"; {n_covered} lie on objects that exist"
        if counts.dropped_alone[BACKGROUND]:
            text += f"; {counts.dropped_alone[BACKGROUND]} are background"
        if proposals.n_left_out:
            text += f"; the {proposals.n_left_out} of lowest score were not kept"
        self.message.setText(f"{text}.")
        n_shown = int(proposals.is_visible.sum())
        for button, verb in ((self.take, "Accept"), (self.drop, "Drop")):
            button.setText(f"{verb} {n_shown}")
            button.setEnabled(n_shown > 0)

    def _show_advance(self, advance: Advance) -> None:
        self.done.setValue(round(100 * advance.share_settled))
        self.done.setFormat("%p % settled")
        self.figures.setText(
            f"{advance.n_taken} accepted, {advance.n_dropped} dropped, "
            f"{advance.n_open} open, {advance.n_added} added by hand. Objects cover "
            f"{advance.share_covered:.0%} of the plane."
        )

    def _lay_out(self) -> None:
        grid = QGridLayout(self.filters)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        grid.setColumnMinimumWidth(2, 30)
        for number, row in enumerate(self.rows.values()):
            row.add_to(grid, number)
        below = len(self.rows)
        grid.addWidget(self.background, below, 0, 1, 3)
        buttons = QHBoxLayout()
        for button in (self.take, self.drop, self.undo):
            buttons.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        parts: list[Any] = [self.message, self.filters, self.under_pointer]
        for widget in parts:
            column.addWidget(widget)
        column.addLayout(buttons)
        column.addWidget(self.done)
        column.addWidget(self.figures)
