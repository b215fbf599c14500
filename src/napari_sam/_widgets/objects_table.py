# SPDX-License-Identifier: Apache-2.0
"""A compact table view with a few rows in sight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QItemSelectionModel, QSize, Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_sam._widgets.field_filter import is_letter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qtpy.QtCore import QModelIndex, QSortFilterProxyModel

_N_ROWS_SHOWN = 8
_ROW_PX = 22


class CompactTable(QTableView):
    """Shows a sorted model; whole rows are selected.

    Parameters
    ----------
    proxy : QSortFilterProxyModel
        What is shown; its owner keeps it.
    """

    def __init__(self, proxy: QSortFilterProxyModel) -> None:
        super().__init__()
        self.setModel(proxy)
        self.sortByColumn(-1, Qt.SortOrder.AscendingOrder)  # the model's own order
        self.setSortingEnabled(True)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.DoubleClicked)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setWordWrap(False)
        rows: Any = self.verticalHeader()
        rows.setVisible(False)
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setMinimumSectionSize(_ROW_PX)
        rows.setDefaultSectionSize(_ROW_PX)

    def set_widths(self, widths_px: Iterable[int]) -> None:
        """Set the widths of the first columns."""
        header: Any = self.horizontalHeader()
        for column, width in enumerate(widths_px):
            header.resizeSection(column, width)

    def selected_rows(self) -> list[int]:
        """Return the selected rows from top to bottom."""
        selection: Any = self.selectionModel()
        # Ranges: asking for an index of each of thousands of rows takes a second.
        spans = ((one.top(), one.bottom()) for one in selection.selection())
        return sorted({row for top, end in spans for row in range(top, end + 1)})

    def select(self, indices: Iterable[QModelIndex]) -> None:
        """Select the rows of some indices, and no others; scroll to the last."""
        selection: Any = self.selectionModel()
        flag = QItemSelectionModel.SelectionFlag
        selection.clearSelection()
        for index in indices:
            if index.isValid():
                selection.setCurrentIndex(index, flag.NoUpdate)
                selection.select(index, flag.Select | flag.Rows)
                self.scrollTo(index)

    def keyPressEvent(self, event: Any) -> None:
        """Let letters reach napari: after a click here its keys still work."""
        if is_letter(event):
            event.ignore()
        else:
            super().keyPressEvent(event)

    def sizeHint(self) -> QSize:
        """Return a height that leaves room for other panels."""
        header: Any = self.horizontalHeader()
        bar: Any = self.horizontalScrollBar()
        height = header.sizeHint().height() + bar.sizeHint().height()
        height += _N_ROWS_SHOWN * _ROW_PX + 2 * self.frameWidth()
        return QSize(280, height)

    def minimumSizeHint(self) -> QSize:
        """Return the same height: the panel around it scrolls instead."""
        return QSize(120, self.sizeHint().height())
