# SPDX-License-Identifier: Apache-2.0
"""Measurements of the objects, linked to them, and their export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal
from qtpy.QtCore import QSortFilterProxyModel
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHeaderView,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_sam._widgets.buttons import ActionButton
from napari_sam._widgets.measurements_model import MeasurementsModel
from napari_sam._widgets.objects_model import SORT_ROLE
from napari_sam._widgets.objects_table import CompactTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtpy.QtCore import QModelIndex

    from napari_sam.annotation.objects import ObjectKey

NOT_MEASURED = "Nothing measured yet."
OUT_OF_DATE = "Objects have changed since: measure again."


class MeasurementsPanel(QWidget):
    """A table of what was measured when 'Measure' was pressed last.

    Attributes
    ----------
    measure_wanted : Signal()
        Values are to be computed anew; `show_columns` is to follow.
    fly_wanted : Signal(object)
        Key of the object whose row was clicked.
    export_wanted : Signal(Path)
        The values are to be written to a CSV file.
    """

    measure_wanted: ClassVar[Signal] = Signal()
    fly_wanted: ClassVar[Signal] = Signal(object)
    export_wanted: ClassVar[Signal] = Signal(Path)

    def __init__(self) -> None:
        super().__init__()
        self.model = MeasurementsModel()
        self.proxy = QSortFilterProxyModel()
        self.proxy.setSourceModel(self.model)
        self.proxy.setSortRole(SORT_ROLE)
        self.table = CompactTable(self.proxy)
        header: Any = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.measure = ActionButton(
            "Measure",
            "Measure all objects: in µm if the image layer has a scale in a length "
            "unit, in pixels otherwise.",
        )
        self.export = ActionButton(
            "Export CSV ...", "Write all columns to a file for spreadsheets."
        )
        self.message = QLabel(NOT_MEASURED)
        self.message.setWordWrap(True)
        self._n_objects = 0
        grid = QGridLayout()
        grid.addWidget(self.measure, 0, 0)
        grid.addWidget(self.export, 0, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)
        column.addWidget(self.message)
        column.addLayout(grid)
        self.measure.clicked.connect(lambda: self.measure_wanted.emit())
        self.export.clicked.connect(self._choose_file)
        self.table.clicked.connect(self._on_clicked)
        self.set_n_objects(0)

    def set_n_objects(self, n_objects: int) -> None:
        """Tell how many objects there are to be measured."""
        self._n_objects = n_objects
        self._show_state()

    def show_columns(
        self, columns: Mapping[str, list[Any]], keys: Sequence[ObjectKey]
    ) -> None:
        """Show values.

        Parameters
        ----------
        columns : mapping of str to list
            Values by column, as long as `keys`.
        keys : sequence of ObjectKey
            Whose values these are.
        """
        self.model.set_columns(columns, keys)
        self.message.setText(f"{len(keys):,} measured." if keys else NOT_MEASURED)
        self._show_state()

    def mark_out_of_date(self) -> None:
        """Say that the objects are no longer those that were measured."""
        if self.model.keys:
            self.message.setText(OUT_OF_DATE)

    def show_progress(self, done: int, total: int) -> None:
        """Say how far the measuring is."""
        self.message.setText(f"Measuring {done:,} of {total:,} ...")
        self.measure.setEnabled(False)

    def select(self, keys: Sequence[ObjectKey]) -> None:
        """Select the rows of objects, without flying anywhere."""
        rows = {key: row for row, key in enumerate(self.model.keys)}
        indices = (self.model.index(rows[key], 0) for key in keys if key in rows)
        self.table.select([self.proxy.mapFromSource(index) for index in indices])

    def _show_state(self) -> None:
        self.measure.setEnabled(self._n_objects > 0)
        self.export.setEnabled(bool(self.model.keys))

    def _on_clicked(self, index: QModelIndex) -> None:
        self.fly_wanted.emit(self.model.keys[self.proxy.mapToSource(index).row()])

    def _choose_file(self) -> None:
        text, _ = QFileDialog.getSaveFileName(
            self, "Export measurements", "objects.csv", "CSV (*.csv)"
        )
        if text:
            path = Path(text)
            self.export_wanted.emit(path if path.suffix else path.with_suffix(".csv"))
