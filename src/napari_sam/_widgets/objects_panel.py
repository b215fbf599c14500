# SPDX-License-Identifier: Apache-2.0
"""The table of objects: find, fly there, change, merge, split, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal
from qtpy.QtWidgets import (
    QLabel,
    QLineEdit,
    QMenu,
    QVBoxLayout,
    QWidget,
)

from napari_sam._widgets.object_buttons import ObjectButtons
from napari_sam._widgets.object_columns import CLASS, ID, PLANE
from napari_sam._widgets.objects_model import ObjectsModel, ObjectsProxy
from napari_sam._widgets.objects_table import CompactTable
from napari_sam.annotation.objects import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qtpy.QtCore import QModelIndex, QPoint

    from napari_sam.annotation.objects import AnnotatedObject, ObjectKey

_WIDTHS_PX = (50, 64, 50, 34, 106, 66, 48, 54)


class ObjectsPanel(QWidget):
    """All objects of the image.

    The order of the selection does not matter; keys come in the table's order.

    Attributes
    ----------
    fly_wanted : Signal(object)
        Key of the object that was clicked.
    selected : Signal(tuple)
        Keys of the objects that the user selected.
    reopen_wanted, split_wanted : Signal(object)
        Key of the one selected object.
    delete_wanted, merge_wanted : Signal(tuple)
        Keys of the selected objects.
    change_wanted : Signal(tuple, dict)
        Keys, and the fields to change: class_name, status or is_locked.
    """

    fly_wanted: ClassVar[Signal] = Signal(object)
    selected: ClassVar[Signal] = Signal(tuple)
    reopen_wanted: ClassVar[Signal] = Signal(object)
    split_wanted: ClassVar[Signal] = Signal(object)
    delete_wanted: ClassVar[Signal] = Signal(tuple)
    merge_wanted: ClassVar[Signal] = Signal(tuple)
    change_wanted: ClassVar[Signal] = Signal(tuple, dict)

    def __init__(self) -> None:
        super().__init__()
        self.model = ObjectsModel()
        self.proxy = ObjectsProxy(self.model)
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("Filter: id, class or status")
        self.filter.setClearButtonEnabled(True)
        self.filter.setToolTip("Show only objects whose id, class or status has this.")
        self.filter.textChanged.connect(self._use_filter)
        self.count = QLabel()
        self.table = CompactTable(self.proxy)
        self.table.set_widths(_WIDTHS_PX)
        self.table.customContextMenuRequested.connect(self._open_menu)
        self._can_act = True
        self._is_following = False
        self.actions_row = ObjectButtons()
        self.actions_row.pressed.connect(self._act)
        self.buttons = self.actions_row.buttons
        self._lay_out()
        self.model.renamed.connect(self._on_renamed)
        selection: Any = self.table.selectionModel()
        selection.selectionChanged.connect(self._on_selection)
        self.table.clicked.connect(self._on_clicked)
        self._show_state()

    def set_objects(self, objects: Iterable[AnnotatedObject]) -> None:
        """Show other objects altogether."""
        self.model.set_objects(objects)
        self._show_state()

    def apply(self, changes: Iterable[Any]) -> None:
        """Follow `ObjectChange`s; what is selected stays selected."""
        before = self.keys
        self._is_following = True
        self.model.apply(changes)
        self._is_following = False
        if self.keys != before:
            self.select(before)
        self._show_state()

    @property
    def keys(self) -> tuple[ObjectKey, ...]:
        """Keys of the selected objects, in the table's order."""
        return tuple(one.key for one in self._objects())

    def select(self, keys: Iterable[ObjectKey]) -> None:
        """Select objects without telling that the user did."""
        rows = [self.model.row_of(key) for key in keys]
        indices = [self.model.index(row, ID) for row in rows if row is not None]
        self._is_following = True
        self.table.select([self.proxy.mapFromSource(index) for index in indices])
        self._is_following = False
        self._show_state()

    def set_usable(self, can_act: bool) -> None:  # noqa: FBT001  a setter
        """Let objects be changed, or only looked at."""
        self._can_act = can_act
        self._show_state()

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.filter, self.table, self.count, self.actions_row):
            column.addWidget(widget)

    def _use_filter(self, text: str) -> None:
        self.proxy.setFilterFixedString(text)
        self._show_state()

    def _objects(self) -> list[AnnotatedObject]:
        rows = self.table.selected_rows()
        return [self._object_at(self.proxy.index(row, ID)) for row in rows]

    def _object_at(self, index: QModelIndex) -> AnnotatedObject:
        return self.model.object_at(self.proxy.mapToSource(index).row())

    def _on_clicked(self, index: QModelIndex) -> None:
        if len(self.keys) == 1:
            self.fly_wanted.emit(self._object_at(index).key)

    def _on_selection(self, *_: Any) -> None:
        if not self._is_following:
            self._show_state()
            self.selected.emit(self.keys)

    def _on_renamed(self, key: ObjectKey, name: str) -> None:
        keys = self.keys
        self._change(keys if key in keys else (key,), class_name=name)

    def _open_menu(self, position: QPoint) -> None:
        menu = QMenu(self)
        for button in self.buttons.values():
            action: Any = menu.addAction(button.text(), button.click)
            action.setEnabled(button.isEnabled())
            action.setToolTip(button.toolTip())
        menu.setToolTipsVisible(True)
        viewport: Any = self.table.viewport()
        menu.popup(viewport.mapToGlobal(position))

    def _act(self, name: str) -> None:
        """Do what a button says with the selected objects."""
        keys, chosen = self.keys, self._objects()
        if name in ("reopen", "split"):
            signal = self.reopen_wanted if name == "reopen" else self.split_wanted
            signal.emit(keys[0])
        elif name in ("delete", "merge"):
            (self.delete_wanted if name == "delete" else self.merge_wanted).emit(keys)
        elif name == "rename":
            self.table.edit(self.proxy.index(self.table.selected_rows()[0], CLASS))
        elif name == "unsure":
            is_unsure = all(one.status is Status.UNSURE for one in chosen)
            status = Status.ACCEPTED if is_unsure else Status.UNSURE
            self._change(keys, status=status)
        else:
            self._change(keys, is_locked=not all(one.is_locked for one in chosen))

    def _change(self, keys: tuple[ObjectKey, ...], **fields: Any) -> None:
        self.change_wanted.emit(keys, fields)

    def _show_state(self) -> None:
        """Enable what can be done with the selection, and name it."""
        chosen = self._objects()
        self.actions_row.show_selection(chosen, can_act=self._can_act)
        self.table.setColumnHidden(PLANE, not self.model.has_planes)
        total, shown = self.model.rowCount(), self.proxy.rowCount()
        text = f"{total:,} objects" if total != 1 else "1 object"
        text += f", {shown:,} shown" if shown != total else ""
        self.count.setText(
            text + (f", {len(chosen):,} selected" if len(chosen) > 1 else "")
        )
