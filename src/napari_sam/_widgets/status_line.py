# SPDX-License-Identifier: Apache-2.0
"""Model, device, embedding, time of the last answer, in two short lines."""

from __future__ import annotations

from enum import StrEnum

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget
from superqt import QElidingLabel


class EmbeddingState(StrEnum):
    """What the model knows of the plane shown."""

    NONE = "not embedded yet"
    COMPUTING = "computing the embedding ..."
    READY = "ready"
    OUT_OF_DATE = "out of date"


_ABOUT = {
    EmbeddingState.NONE: "The model has not looked at this plane yet.",
    EmbeddingState.COMPUTING: "The model looks at the plane; then clicks are answered "
    "at once.",
    EmbeddingState.READY: "The model has looked at the plane: clicks are answered at "
    "once.",
    EmbeddingState.OUT_OF_DATE: "The image, or how it is shown to the model, has "
    "changed since the model looked.",
}
# Okabe-Ito colours; the words say the same without them.
_COLORS = {
    EmbeddingState.NONE: "#999999",
    EmbeddingState.COMPUTING: "#f0e442",
    EmbeddingState.READY: "#009e73",
    EmbeddingState.OUT_OF_DATE: "#e69f00",
}


class StatusLine(QWidget):
    """Says what answers, and how fast."""

    def __init__(self) -> None:
        super().__init__()
        self.model = QElidingLabel("no model")
        self.model.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.device = QLabel()
        self.embedding = QLabel()
        self.embedding.setTextFormat(Qt.TextFormat.RichText)
        self.time = QLabel()
        self.time.setToolTip("Time of the last answer, from prompt to mask.")
        right = Qt.AlignmentFlag.AlignRight
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(0)
        grid.setColumnStretch(0, 1)
        grid.addWidget(self.model, 0, 0)
        grid.addWidget(self.device, 0, 1, right)
        grid.addWidget(self.embedding, 1, 0)
        grid.addWidget(self.time, 1, 1, right)
        self.state = EmbeddingState.NONE
        self.show_model("", "")
        self.show_embedding(EmbeddingState.NONE)
        self.show_seconds(None)

    def show_model(self, name: str, device: str, about: str = "") -> None:
        """Name the model and where it computes; no name means none."""
        self.model.setText(name or "no model")
        self.model.setToolTip(about or name)
        self.device.setText(device)
        self.device.setToolTip("Where the model computes.")

    def show_embedding(self, state: EmbeddingState) -> None:
        """Tell what the model knows of the plane shown."""
        self.state = state
        self.embedding.setText(f'<span style="color:{_COLORS[state]}">●</span> {state}')
        self.embedding.setToolTip(_ABOUT[state])

    def show_seconds(self, seconds: float | None) -> None:
        """Show how long the last answer took; None shows nothing."""
        self.time.setText("" if seconds is None else f"{seconds * 1000:.0f} ms")
