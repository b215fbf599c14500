# SPDX-License-Identifier: Apache-2.0
"""Columns of measurements as a Qt table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QPersistentModelIndex,
    Qt,
)

from napari_sam._widgets.objects_model import SORT_ROLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_sam.annotation.objects import ObjectKey

_ELSEWHERE = ("class_name", "status", "origin", "predicted_iou", "seconds")
"""Columns that the table of objects shows already; they are exported as well."""
_UNITS = {"_px": "px", "_um": "µm", "_um2": "µm²"}


def title_of(column: str) -> str:
    """Return the heading of a column: ``area_um2`` is "Area (µm²)"."""
    if column == "object_id":
        return "Id"
    for ending, unit in _UNITS.items():
        if column.endswith(ending):
            unit = "px²" if column == "area_px" else unit
            return f"{_words(column.removesuffix(ending))} ({unit})"
    return _words(column)


class MeasurementsModel(QAbstractTableModel):
    """Values by column, one row per object; nothing can be edited."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: tuple[ObjectKey, ...] = ()
        self.columns: dict[str, list[Any]] = {}
        self._names: list[str] = []

    def set_columns(
        self, columns: Mapping[str, list[Any]], keys: Sequence[ObjectKey]
    ) -> None:
        """Show other values; columns without any are left out of sight.

        Parameters
        ----------
        columns : mapping of str to list
            Values by column, as long as `keys`.
        keys : sequence of ObjectKey
            Whose values these are.
        """
        self.beginResetModel()
        self.keys, self.columns = tuple(keys), dict(columns)
        self._names = [
            name
            for name, values in self.columns.items()
            if name not in _ELSEWHERE
            and any(value not in (None, "") for value in values)
        ]
        self.endResetModel()

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008  Qt's own signature
        """Count objects."""
        return 0 if parent.isValid() else len(self.keys)

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008  Qt's own signature
        """Count columns with values."""
        return 0 if parent.isValid() else len(self._names)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = 0
    ) -> Any:
        """Return headings."""
        is_heading = orientation == Qt.Orientation.Horizontal
        if is_heading and role == Qt.ItemDataRole.DisplayRole:
            return title_of(self._names[section])
        return None

    def data(self, index: _Index, role: int = 0) -> Any:
        """Return what a cell shows, or is sorted by."""
        value = self.columns[self._names[index.column()]][index.row()]
        if role == SORT_ROLE:
            return value
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{value:.5g}" if isinstance(value, float) else value
        if role == Qt.ItemDataRole.TextAlignmentRole and not isinstance(value, str):
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None


_Index = QModelIndex | QPersistentModelIndex


def _words(name: str) -> str:
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]
