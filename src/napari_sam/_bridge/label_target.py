# SPDX-License-Identifier: Apache-2.0
"""Which Labels layer an annotator writes to, and what happens when it is another."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal

from napari_sam._bridge.label_layer import (
    LayerLabelStore,
    check_alignment,
    make_label_layer,
)
from napari_sam._bridge.label_pyramid import finest

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_sam._bridge.coordinates import PlaneMap


class LabelTarget:
    """The label store of a controller.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Where a new layer is added.
    image : napari.layers.Image
        What is annotated.
    plane_map : PlaneMap
        Of the image.
    layer : napari.layers.Labels, optional
        Where to write; a new layer by default.

    Attributes
    ----------
    store : LayerLabelStore
    changed, painted, replaced, lost : Signal
        Those of the present store.
    """

    changed: ClassVar[Signal] = Signal()
    painted: ClassVar[Signal] = Signal(tuple)
    replaced: ClassVar[Signal] = Signal()
    lost: ClassVar[Signal] = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        image: Image,
        plane_map: PlaneMap,
        layer: Labels | None = None,
    ) -> None:
        self._viewer = weakref.ref(viewer)
        self._image = image
        self._map = plane_map
        self.store = self.store_on(viewer, layer)
        self._follow()

    @property
    def axes(self) -> tuple[int, int]:
        """Axes of the plane shown: a brush stroke is an edit of such planes."""
        return self.store.axes

    @axes.setter
    def axes(self, axes: tuple[int, int]) -> None:
        self.store.axes = axes

    @property
    def is_gone(self) -> bool:
        """Whether the layer was removed from the viewer."""
        return not self._is_in_viewer(self.store.layer)

    def _is_in_viewer(self, layer: Labels) -> bool:
        viewer = self._viewer()
        return viewer is None or layer in viewer.layers

    def put(self, store: LayerLabelStore) -> None:
        """Write to another store from now on."""
        store.axes = self.store.axes
        self.release()
        self.store = store
        self._follow()

    def check(self) -> None:
        """Raise LabelsError unless the layer lies on the image."""
        if not self.is_gone:
            check_alignment(self.store.layer, self._map)

    def release(self) -> None:
        """Stop listening to the layer."""
        for theirs, ours in self._relays():
            theirs.disconnect(ours)
        self.store.disconnect()

    def _follow(self) -> None:
        store = self.store
        store.is_present = lambda: self._is_in_viewer(store.layer)
        for theirs, ours in self._relays():
            theirs.connect(ours)

    def _relays(self) -> list[tuple[Any, Any]]:
        store = self.store
        return [
            (store.changed, self._on_changed),
            (store.painted, self._on_painted),
            (store.replaced, self._on_replaced),
            (store.lost, self._on_lost),
        ]

    # Methods, not the signals' own `emit`: psygnal tries that out while connecting.
    def _on_changed(self) -> None:
        self.changed.emit()

    def _on_painted(self, edits: tuple[Any, ...]) -> None:
        self.painted.emit(edits)

    def _on_replaced(self) -> None:
        self.replaced.emit()

    def _on_lost(self) -> None:
        self.lost.emit()

    def store_on(self, viewer: ViewerModel, layer: Labels | None) -> LayerLabelStore:
        """Return a store on a layer, None being a new one.

        Raises
        ------
        LabelsError
            If the layer does not fit the image.
        """
        if layer is not None:
            return LayerLabelStore(layer, self._map)
        layer = make_label_layer(self._map, self._image.name)
        active = viewer.layers.selection.active
        viewer.add_layer(layer)
        if active is not None:
            viewer.layers.selection.active = active
        folder = folder_of(layer)
        if folder is not None:
            from napari.utils.notifications import show_info

            show_info(f"The labels are too large for memory. They are kept in {folder}")
        return LayerLabelStore(layer, self._map, is_empty=True)


def folder_of(layer: Labels) -> Path | None:
    """Return the zarr folder that a labels layer is written to; None if in memory."""
    store = getattr(finest(layer), "store", None)
    root = getattr(store, "root", None)
    return None if root is None else Path(root)
