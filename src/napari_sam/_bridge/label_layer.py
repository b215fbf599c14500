# SPDX-License-Identifier: Apache-2.0
"""A Labels layer as the store of accepted masks.

Only the bounding box of a mask is written, so the cost does not depend on the size of
the layer. Undo belongs to the annotator, for strokes of napari's own tools as well:
they are handed to it, and napari's history of the layer is kept empty, so that it never
writes old pixels over new objects.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from psygnal import Signal

from napari_sam._bridge.label_pyramid import (
    finest,
    make_levels,
    needs_levels,
    write_levels,
)
from napari_sam._bridge.paint_atoms import edits_between, edits_of_stroke
from napari_sam._bridge.preview_layer import PLUGIN_NAME
from napari_sam.errors import LabelsError, OutputError
from napari_sam.structures.array_blocks import highest_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.layers import Labels

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam.annotation.history import PlaneEdit
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.arrays import BoolMask, HalfOpenBox, LabelImage
    from napari_sam.structures.labels import LabelEdit

MAX_SCATTERED_PX = 4_000_000
"""Larger edits are written as a box: pixel by pixel they would take a second."""
MAX_COMPARED_PX = 64_000_000
"""Largest array of which two copies are compared to learn what a stroke changed."""


class LayerLabelStore:
    """A `LabelStore` on a napari Labels layer.

    Parameters
    ----------
    layer : napari.layers.Labels
        With coarser levels, those are kept up to date.
    plane_map : PlaneMap
        The image that is annotated.
    is_empty : bool
        Whether the layer is known to hold no label, so that none is searched for.

    Raises
    ------
    LabelsError
        If the layer does not lie on the image pixel by pixel, or cannot be edited.

    Attributes
    ----------
    axes : tuple of two int
        Array axes of the planes that painting is reported for; those of the plane
        shown, ascending.
    changed : Signal()
        Others changed labels, or what may be written over.
    painted : Signal(tuple of PlaneEdit)
        The user changed pixels with napari's own tools; once per stroke.
    replaced : Signal()
        The layer has another array now, or was changed in a way that cannot be told:
        earlier edits must not be taken back any more.
    lost : Signal()
        The layer's array has another shape now: it is no place for this image.
    is_present : callable
        Whether the layer is still in the viewer; nothing is written elsewhere.
    """

    changed: ClassVar[Signal] = Signal()
    painted: ClassVar[Signal] = Signal(tuple)
    replaced: ClassVar[Signal] = Signal()
    lost: ClassVar[Signal] = Signal()

    def __init__(
        self, layer: Labels, plane_map: PlaneMap, *, is_empty: bool = False
    ) -> None:
        check_alignment(layer, plane_map)
        self.layer = layer
        self.axes: tuple[int, int] = (plane_map.ndim - 2, plane_map.ndim - 1)
        self.is_present: Callable[[], bool] = lambda: True
        self._shape = tuple(layer.data.shape)
        self._highest: int | None = 0 if is_empty else None
        self._is_writing = False
        layer.events.paint.connect(self._on_paint)
        layer.events.data.connect(self._on_data)
        for event in self._change_events():
            event.connect(self._on_change)

    def disconnect(self) -> None:
        """Stop listening to the layer."""
        self.layer.events.paint.disconnect(self._on_paint)
        self.layer.events.data.disconnect(self._on_data)
        for event in self._change_events():
            event.disconnect(self._on_change)

    def _change_events(self) -> list[Any]:
        """Events of edited pixels, of data shown anew (undo, redo), of the option."""
        events = self.layer.events
        return [events.labels_update, events.set_data, events.preserve_labels]

    @property
    def keeps_existing(self) -> bool:
        """Whether the layer's own "preserve labels" is on."""
        return bool(self.layer.preserve_labels)

    def next_id(self) -> int:
        """Return an id above every other; counted here, not searched in the data.

        Raises
        ------
        LabelsError
            If the layer's dtype has no higher id.
        """
        if self._highest is None:
            self._highest = highest_label(finest(self.layer))
        following = self._highest + 1
        limit = int(np.iinfo(self.layer.data.dtype).max)
        if following > limit:
            msg = (
                f"The labels layer {self.layer.name!r} is {self.layer.data.dtype} and "
                f"holds ids up to {limit}. Convert it to uint32 "
                "(layer menu > Convert data type) to add more objects."
            )
            raise LabelsError(msg)
        return following

    def read(self, key: PlaneKey, box: HalfOpenBox) -> LabelImage:
        """Return a copy of the labels inside a box of a plane."""
        if not self._fits:
            # Somebody may ask before all have heard of it: there is nothing here.
            return np.zeros((box[2] - box[0], box[3] - box[1]), self.layer.data.dtype)
        return np.array(finest(self.layer)[_window(key, box)])

    def write(self, key: PlaneKey, edit: LabelEdit) -> None:
        """Write the changed pixels of an edit.

        Raises
        ------
        LabelsError
            If the layer is locked or not editable, or an id does not fit its dtype.
        """
        self._check_writable(edit)
        is_changed = edit.old != edit.new
        n_changed = int(np.count_nonzero(is_changed))
        if n_changed == 0:
            return
        with self._writing():
            if self.layer.multiscale:
                self._write_levels(key, edit, is_changed)
            elif n_changed <= MAX_SCATTERED_PX and not _is_lazy(self.layer.data):
                rows, columns = np.nonzero(is_changed)
                places = key.locate(rows + edit.box[0], columns + edit.box[1])
                indices = tuple(
                    np.broadcast_to(np.asarray(place, dtype=np.intp), rows.shape)
                    for place in places
                )
                self.layer.data_setitem(indices, edit.new[rows, columns])
            else:
                self.layer.data[_window(key, edit.box)] = self._changed(
                    key, edit, is_changed
                )
                self.layer.refresh()
            forget_history(self.layer)
        if self._highest is not None:
            self._highest = max(self._highest, int(edit.new.max()))

    def _changed(self, key: PlaneKey, edit: LabelEdit, where: BoolMask) -> LabelImage:
        """Return the labels of an edit's box as they are to be."""
        region = self.read(key, edit.box)
        np.copyto(region, edit.new, where=where, casting="same_kind")
        return region

    def _write_levels(self, key: PlaneKey, edit: LabelEdit, where: BoolMask) -> None:
        """Write into every level, or into none."""
        region = self._changed(key, edit, where)
        try:
            write_levels(self.layer, key, edit.box, region)
        except OSError as error:
            np.copyto(region, edit.old, where=where, casting="same_kind")
            with suppress(OSError):
                write_levels(self.layer, key, edit.box, region)
            msg = (
                f"The labels of {self.layer.name!r} cannot be written: "
                f"{error.strerror or error}. Make room on the disk and try again."
            )
            raise OutputError(msg) from error

    def _check_writable(self, edit: LabelEdit) -> None:
        layer = self.layer
        if not (self._fits and self.is_present()):
            msg = (
                f"The labels layer {layer.name!r} was removed or has another shape. "
                "Choose another labels layer, or begin a new object for a new one."
            )
            raise LabelsError(msg)
        # napari calls layers with levels not editable, because its brush cannot.
        is_closed = not (layer.editable or layer.multiscale)
        if getattr(layer, "locked", False) or is_closed:
            msg = (
                f"The labels layer {layer.name!r} is locked. Unlock it, or choose "
                "another labels layer."
            )
            raise LabelsError(msg)
        highest = int(edit.new.max(initial=0))
        if highest > np.iinfo(layer.data.dtype).max:
            msg = (
                f"Label {highest} does not fit into the {layer.data.dtype} of the "
                f"labels layer {layer.name!r}. Convert it to uint32 (layer menu > "
                "Convert data type)."
            )
            raise LabelsError(msg)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Let our own changes go unreported."""
        self._is_writing = True
        try:
            yield
        finally:
            self._is_writing = False

    def _on_paint(self, event: Any) -> None:
        """Report a stroke, fill or polygon, and take it out of napari's history."""
        if self._is_writing:
            return
        edits = edits_of_stroke(event.value, self.axes, self.read)
        if edits is None:
            edits = self._compare_with_before()
        forget_history(self.layer)
        if edits is None:
            self._highest = None
            self.replaced.emit()
            return
        if self._highest is not None:
            newest = (int(e.edit.new.max(initial=0)) for e in edits)
            self._highest = max(self._highest, *newest, 0)
        self._finish_stroke(edits)
        if edits:
            self.painted.emit(edits)

    def _finish_stroke(self, edits: tuple[PlaneEdit, ...]) -> None:
        """Write what napari announced before writing it, as it does with a polygon."""
        for plane_edit in edits:
            key, edit = plane_edit.plane, plane_edit.edit
            if not np.array_equal(self.read(key, edit.box), edit.new):
                self.layer.data[_window(key, edit.box)] = edit.new

    def _compare_with_before(self) -> tuple[PlaneEdit, ...] | None:
        """Learn what a stroke of an unknown kind changed, with napari's own undo."""
        if int(np.prod(self.layer.data.shape)) > MAX_COMPARED_PX:
            return None
        with self._writing():
            self.layer.undo()
            before = np.array(self.layer.data)
            self.layer.redo()
            after = np.array(self.layer.data)
        return edits_between(before, after, self.axes)

    def forget_id(self, object_id: int) -> None:
        """Take note that no pixel has an id any more: the highest one is free again."""
        if self._highest == object_id:
            self._highest -= 1

    @property
    def _fits(self) -> bool:
        """Whether the array has the image's shape still."""
        return tuple(self.layer.data.shape) == self._shape

    def _on_change(self, event: Any = None) -> None:
        if not self._is_writing and self._fits:
            self.changed.emit()

    def _on_data(self, event: Any = None) -> None:
        """Forget what is known of another array; its ids are counted when needed."""
        self._highest = None
        if self._is_writing:
            return
        forget_history(self.layer)
        if self._fits:
            self.replaced.emit()
        else:
            self.lost.emit()


def forget_history(layer: Labels) -> None:
    """Empty napari's own undo history of a layer.

    There is no public way that leaves the tool in the user's hand alone, so the private
    one is used, and the public one where that is gone.
    """
    forget = getattr(layer, "_reset_history", None)
    if forget is not None:
        forget()
    else:
        mode, layer.editable = layer.mode, False  # which empties it too
        layer.editable, layer.mode = True, mode


def make_label_layer(plane_map: PlaneMap, image_name: str) -> Labels:
    """Make an empty labels layer on the pixels of an image.

    One that is too large for a texture gets coarser levels, one that is too large for
    memory lies in a zarr folder.

    Raises
    ------
    OutputError
        If that folder cannot be written.
    """
    from napari.layers import Labels

    has_levels = needs_levels(plane_map.shape)
    data: Any = (
        make_levels(plane_map.shape, image_name)
        if has_levels
        else np.zeros(plane_map.shape, dtype=np.uint32)
    )
    return Labels(
        data,
        multiscale=has_levels,
        name="SAM objects",
        metadata={PLUGIN_NAME: {"role": "objects", "image": image_name}},
        **plane_map.transforms(),
    )


def is_own_result(layer: Labels) -> bool:
    """Whether a labels layer was made by `make_label_layer`."""
    return bool(layer.metadata.get(PLUGIN_NAME, {}).get("role") == "objects")


def check_alignment(layer: Labels, plane_map: PlaneMap) -> None:
    """Raise LabelsError unless a labels layer has the image's pixels."""
    shape = tuple(layer.data.shape)
    if shape != plane_map.shape:
        msg = (
            f"The labels layer {layer.name!r} has shape {shape}, the image "
            f"{plane_map.shape}. Choose a layer of the image's shape or a new one."
        )
        raise LabelsError(msg)
    for corner in (np.zeros(len(shape)), np.asarray(shape, dtype=float)):
        pixel = plane_map.world_to_pixel(layer.data_to_world(corner))
        if np.abs(pixel - corner).max() > 0.5:
            msg = (
                f"The labels layer {layer.name!r} does not lie on the image: scale, "
                "translation or rotation differ. Choose another one or a new one."
            )
            raise LabelsError(msg)


def _window(key: PlaneKey, box: HalfOpenBox) -> tuple[Any, ...]:
    y0, x0, y1, x1 = box
    return key.locate(slice(y0, y1), slice(x0, x1))


def _is_lazy(data: Any) -> bool:
    """Whether assigning to scattered pixels is not implemented (dask)."""
    return type(data).__module__.partition(".")[0] == "dask"
