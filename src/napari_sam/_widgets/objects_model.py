# SPDX-License-Identifier: Apache-2.0
"""The objects as a Qt table: one row per object, updated by what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal
from qtpy.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QPersistentModelIndex,
    QSortFilterProxyModel,
    Qt,
)

from napari_sam._widgets.object_columns import (
    CLASS,
    COLUMNS,
    ID,
    NUMBERS,
    status_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qtpy.QtGui import QColor

    from napari_sam.annotation.objects import (
        AnnotatedObject,
        ObjectChange,
        ObjectKey,
    )

SORT_ROLE = int(Qt.ItemDataRole.UserRole)
FILTER_ROLE = SORT_ROLE + 1
_TEXT_ROLES = (
    Qt.ItemDataRole.DisplayRole,
    Qt.ItemDataRole.EditRole,
    Qt.ItemDataRole.ToolTipRole,
)
_FLAGS = (
    Qt.ItemFlag.ItemIsSelectable
    | Qt.ItemFlag.ItemIsEnabled
    | Qt.ItemFlag.ItemNeverHasChildren
)
_EDITABLE = _FLAGS | Qt.ItemFlag.ItemIsEditable
_MAX_RUNS = 50
"""From so many separate stretches of rows on, telling of all at once is cheaper."""


class ObjectsModel(QAbstractTableModel):
    """Objects in the order in which they were made.

    Attributes
    ----------
    has_planes : bool
        Whether an object came that lies on one plane of several.
    renamed : Signal(object, str)
        Key and the class that the user typed for it.
    """

    renamed: ClassVar[Signal] = Signal(object, str)

    def __init__(self) -> None:
        super().__init__()
        self._objects: list[AnnotatedObject] = []
        self._rows: dict[ObjectKey, int] = {}
        self._color_of: Callable[[int], QColor | None] | None = None
        self.has_planes = False

    def set_objects(self, objects: Iterable[AnnotatedObject]) -> None:
        """Show other objects altogether."""
        self.beginResetModel()
        self._objects = list(objects)
        self._index_from(0)
        self.endResetModel()

    def apply(self, changes: Iterable[ObjectChange]) -> None:
        """Follow changes; the cost is that of the rows that changed."""
        gone: set[ObjectKey] = set()
        made: dict[ObjectKey, AnnotatedObject] = {}
        for change in changes:
            before, after = change.before, change.after
            if before is not None and (after is None or after.key != before.key):
                gone.add(before.key)
                made.pop(before.key, None)
            if after is not None:
                made[after.key] = after
        self._remove(gone - made.keys())
        added, changed = [], []
        for key, one in made.items():
            row = self._rows.get(key)
            if row is None:
                added.append(one)
            else:
                self._objects[row] = one
                changed.append(row)
        runs = _runs(changed)
        if len(runs) > _MAX_RUNS:
            runs = [(runs[0][0], runs[-1][1])]
        for first, last in runs:
            corner = self.index(last, len(COLUMNS) - 1)
            self.dataChanged.emit(self.index(first, 0), corner)
        if added:
            first = len(self._objects)
            self.beginInsertRows(QModelIndex(), first, first + len(added) - 1)
            self._objects += added
            self._index_from(first)
            self.endInsertRows()

    def set_colors(self, color_of: Callable[[int], QColor | None] | None) -> None:
        """Show a swatch of the colour that an id has in the labels layer."""
        self._color_of = color_of
        if self._objects:
            last = self.index(len(self._objects) - 1, ID)
            self.dataChanged.emit(self.index(0, ID), last)

    def object_at(self, row: int) -> AnnotatedObject:
        """Return the object of a row."""
        return self._objects[row]

    def row_of(self, key: ObjectKey) -> int | None:
        """Return the row of an object, None if it is not there."""
        return self._rows.get(key)

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008  Qt's own signature
        """Count objects."""
        return 0 if parent.isValid() else len(self._objects)

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008  Qt's own signature
        """Count columns."""
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = 0
    ) -> Any:
        """Return titles and what they mean."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section].title
        if role == Qt.ItemDataRole.ToolTipRole:
            return COLUMNS[section].tooltip or None
        return None

    def data(self, index: _Index, role: int = 0) -> Any:
        """Return what a cell shows, or is sorted or filtered by."""
        one, column = self._objects[index.row()], index.column()
        if role == SORT_ROLE:  # first, since sorting asks ten times a row
            return COLUMNS[column].value(one)
        if role in _TEXT_ROLES:
            return COLUMNS[column].text(one)
        if role == FILTER_ROLE:
            return f"{one.object_id} {one.class_name} {status_text(one)}"
        if role == Qt.ItemDataRole.TextAlignmentRole and column in NUMBERS:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.DecorationRole and column == ID and self._color_of:
            return self._color_of(one.object_id)
        return None

    def setData(self, index: _Index, value: Any, role: int = 0) -> bool:
        """Pass a typed class on; the row changes when the object does."""
        if role != Qt.ItemDataRole.EditRole or index.column() != CLASS:
            return False
        one, name = self._objects[index.row()], str(value).strip()
        if name != one.class_name:
            self.renamed.emit(one.key, name)
        return True

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Let the class be edited."""
        return _EDITABLE if index.column() == CLASS else _FLAGS

    def _remove(self, keys: set[ObjectKey]) -> None:
        runs = _runs(self._rows[key] for key in keys if key in self._rows)
        if len(runs) > _MAX_RUNS:
            self.set_objects([o for o in self._objects if o.key not in keys])
            return
        for first, last in reversed(runs):
            self.beginRemoveRows(QModelIndex(), first, last)
            for one in self._objects[first : last + 1]:
                del self._rows[one.key]
            del self._objects[first : last + 1]
            self._index_from(first)
            self.endRemoveRows()

    def _index_from(self, first: int) -> None:
        if first == 0:
            self._rows.clear()
        for row in range(first, len(self._objects)):
            one = self._objects[row]
            self._rows[one.key] = row
            self.has_planes |= bool(one.plane.index)


_Index = QModelIndex | QPersistentModelIndex


def _runs(rows: Iterable[int]) -> list[tuple[int, int]]:
    """First and last row of each stretch of neighbouring rows."""
    runs: list[tuple[int, int]] = []
    for row in sorted(rows):
        if runs and row == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], row)
        else:
            runs.append((row, row))
    return runs


class ObjectsProxy(QSortFilterProxyModel):
    """Sorts by any column and keeps rows whose id, class or status has a text."""

    def __init__(self, model: ObjectsModel) -> None:
        super().__init__()
        self.setSourceModel(model)
        self.setSortRole(SORT_ROLE)
        self.setFilterRole(FILTER_ROLE)
        self.setFilterKeyColumn(ID)
        self.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
