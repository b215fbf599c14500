# SPDX-License-Identifier: Apache-2.0
"""The objects of the annotator: their table, the layer's selection, measurements."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtGui import QColor

from napari_sam._bridge.image_source import LayerImageSource
from napari_sam._widgets.binder import Binder
from napari_sam._widgets.measurements_panel import MeasurementsPanel
from napari_sam._widgets.measuring import Measuring
from napari_sam._widgets.objects_panel import ObjectsPanel
from napari_sam._widgets.pixel_size import pixel_size_um
from napari_sam.annotation.measurements import table_rows
from napari_sam.annotation.phases import Loading
from napari_sam.errors import PromptError
from napari_sam.io.object_table import write_table
from napari_sam.structures.view_settings import ViewSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.layers import Labels
    from qtpy.QtWidgets import QWidget

    from napari_sam._bridge.controller import PromptController
    from napari_sam.annotation.objects import ObjectChange, ObjectKey

NO_LINE = (
    "There is no line to cut along. Choose the tool 'Scribble' and draw a line across "
    "the object, from outside to outside."
)


class ObjectsBinder(Binder):
    """Connects the table of objects and the measurements.

    Parameters
    ----------
    parent : QWidget
        Ends the binder with it.
    attempt : callable
        Calls a function for the user and reports an error of ours.
    report : callable
        Takes an exception to the user.
    """

    def __init__(
        self,
        parent: QWidget,
        attempt: Callable[..., bool],
        report: Callable[[Exception], None],
    ) -> None:
        super().__init__(parent, attempt)
        self.objects = ObjectsPanel()
        self.measurements = MeasurementsPanel()
        self.measuring = Measuring(self)
        self._labels: Labels | None = None
        self._is_selecting = False
        panel, table = self.objects, self.measurements
        for signal, slot in (
            (panel.fly_wanted, self._fly),
            (panel.selected, self._select_in_layer),
            (panel.reopen_wanted, self._reopen),
            (panel.split_wanted, self._split),
            (panel.delete_wanted, self._delete),
            (panel.merge_wanted, self._merge),
            (panel.change_wanted, self._change),
            (table.measure_wanted, self._measure),
            (table.fly_wanted, self._fly_from_measurements),
            (table.export_wanted, self._export),
            (self.measuring.progressed, table.show_progress),
            (self.measuring.finished, table.show_columns),
            (self.measuring.failed, report),
        ):
            signal.connect(slot)
        self.refresh()

    def follow(self, controller: PromptController | None) -> None:
        """Listen to another controller, and to its labels layer."""
        self._follow_layer(None)
        self.measuring.cancel()
        self.measurements.show_columns({}, ())
        super().follow(controller)

    def connections(self, controller: PromptController) -> list[tuple[Any, Any]]:
        """List what to listen to."""
        return [
            (controller.annotator.objects_changed, self._on_objects),
            (controller.labels_changed, self._on_labels),
        ]

    def refresh(self) -> None:
        """Show all objects of the annotator."""
        controller = self.controller
        self.objects.set_usable(controller is not None)
        self.objects.set_objects(() if controller is None else self._all())
        self.measurements.set_n_objects(0 if controller is None else len(self._all()))
        self._on_labels()

    def _all(self) -> Any:
        return () if self.controller is None else self.controller.annotator.objects

    def _on_objects(self, changes: tuple[ObjectChange, ...]) -> None:
        if changes:
            self.objects.apply(changes)
        else:  # the table is another one
            self.objects.set_objects(self._all())
        self.measurements.set_n_objects(len(self._all()))
        self.measurements.mark_out_of_date()

    def _on_labels(self) -> None:
        controller = self.controller
        self._follow_layer(None if controller is None else controller.labels_layer)

    def _follow_layer(self, layer: Labels | None) -> None:
        before, self._labels = self._labels, layer
        if before is not None:
            before.events.selected_label.disconnect(self._select_in_table)
            before.events.colormap.disconnect(self._show_colors)
        if layer is not None:
            layer.events.selected_label.connect(self._select_in_table)
            layer.events.colormap.connect(self._show_colors)
        self._show_colors()

    def _show_colors(self, event: Any = None) -> None:
        layer = self._labels

        def color_of(object_id: int) -> QColor | None:
            color = None if layer is None else layer.get_color(object_id)
            return None if color is None else QColor.fromRgbF(*map(float, color))

        self.objects.model.set_colors(None if layer is None else color_of)

    def _select_in_layer(self, keys: tuple[ObjectKey, ...]) -> None:
        if self._labels is None or len(keys) != 1:
            return
        self._is_selecting = True
        try:
            self._labels.selected_label = keys[0][1]
        finally:
            self._is_selecting = False

    def _select_in_table(self, event: Any = None) -> None:
        controller, layer = self.controller, self._labels
        if self._is_selecting or controller is None or layer is None:
            return
        plane = controller.annotator.plane
        if plane is None:
            return
        key = (plane, int(layer.selected_label))
        self.objects.select([key] if key in self._all() else [])
        self.measurements.select(self.objects.keys)

    def _fly(self, key: ObjectKey) -> None:
        if self.controller is not None:
            self.attempt(self.controller.fly_to, key)
            self.measurements.select([key])

    def _fly_from_measurements(self, key: ObjectKey) -> None:
        if self.controller is not None and key in self._all():
            self.objects.select([key])
            self._select_in_layer((key,))
            self.attempt(self.controller.fly_to, key)

    def _reopen(self, key: ObjectKey) -> None:
        if self.controller is not None:
            self.attempt(self.controller.annotator.reopen, *key)

    def _delete(self, keys: tuple[ObjectKey, ...]) -> None:
        if self.controller is not None:
            self.attempt(self.controller.annotator.delete, keys)

    def _merge(self, keys: tuple[ObjectKey, ...]) -> None:
        if self.controller is not None:
            self.attempt(self.controller.annotator.merge, keys)

    def _change(self, keys: tuple[ObjectKey, ...], fields: dict[str, Any]) -> None:
        if self.controller is not None:
            change = self.controller.annotator.change
            self.attempt(lambda: change(keys, **fields))

    def _split(self, key: ObjectKey) -> None:
        if self.controller is not None:
            self.attempt(self._split_by_line, key)

    def _split_by_line(self, key: ObjectKey) -> None:
        """Cut an object along the line drawn last, and remove the line."""
        if self.controller is None:
            return
        annotator, plane = self.controller.annotator, key[0]
        drawn = annotator.drawn_on(plane)
        lines = [shape for shape in drawn.shapes if shape.kind.is_scribble]
        if not lines:
            raise PromptError(NO_LINE)
        annotator.split(key, lines[-1].vertices_yx)
        if not isinstance(annotator.phase, Loading):
            shapes = tuple(shape for shape in drawn.shapes if shape is not lines[-1])
            annotator.set_drawn(plane, replace(drawn, shapes=shapes))

    def _measure(self) -> None:
        controller = self.controller
        if controller is None:
            return
        image, labels = controller.image, controller.labels_layer
        axis = controller.source.channel_axis
        self.measuring.measure(
            self._all(),
            controller.annotator.labels,
            # As they are in the file, whatever the model is shown.
            LayerImageSource(image, ViewSettings(channel_axis=axis)),
            lambda plane: pixel_size_um(image, labels, plane),
        )

    def _export(self, path: Path) -> None:
        columns = self.measurements.model.columns
        self.attempt(write_table, path, table_rows(columns), columns)
