# SPDX-License-Identifier: Apache-2.0
"""Which Labels layer an annotator writes to, and what happens when it is another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal

from napari_sam._bridge.label_layer import LayerLabelStore, make_label_layer

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
    changed, painted, replaced : Signal
        Those of the present store.
    """

    changed: ClassVar[Signal] = Signal()
    painted: ClassVar[Signal] = Signal(tuple)
    replaced: ClassVar[Signal] = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        image: Image,
        plane_map: PlaneMap,
        layer: Labels | None = None,
    ) -> None:
        self._image = image
        self._map = plane_map
        self.store = self._store_on(viewer, layer)
        self._follow()

    @property
    def axes(self) -> tuple[int, int]:
        """Axes of the plane shown: a brush stroke is an edit of such planes."""
        return self.store.axes

    @axes.setter
    def axes(self, axes: tuple[int, int]) -> None:
        self.store.axes = axes

    def use(self, viewer: ViewerModel, layer: Labels | None) -> bool:
        """Write to another layer, None being a new one; whether it is another.

        Raises
        ------
        LabelsError
            If the layer does not fit the image; the present one stays.
        """
        if layer is not None and layer == self.store.layer:
            return False
        store = self._store_on(viewer, layer)
        store.axes = self.store.axes
        self.release()
        self.store = store
        self._follow()
        return True

    def release(self) -> None:
        """Stop listening to the layer."""
        for theirs, ours in self._relays():
            theirs.disconnect(ours)
        self.store.disconnect()

    def _follow(self) -> None:
        for theirs, ours in self._relays():
            theirs.connect(ours)

    def _relays(self) -> list[tuple[Any, Any]]:
        store = self.store
        return [
            (store.changed, self._on_changed),
            (store.painted, self._on_painted),
            (store.replaced, self._on_replaced),
        ]

    # Methods, not the signals' own `emit`: psygnal tries that out while connecting.
    def _on_changed(self) -> None:
        self.changed.emit()

    def _on_painted(self, edits: tuple[Any, ...]) -> None:
        self.painted.emit(edits)

    def _on_replaced(self) -> None:
        self.replaced.emit()

    def _store_on(self, viewer: ViewerModel, layer: Labels | None) -> LayerLabelStore:
        if layer is not None:
            return LayerLabelStore(layer, self._map)
        layer = make_label_layer(self._map, self._image.name)
        active = viewer.layers.selection.active
        viewer.add_layer(layer)
        if active is not None:
            viewer.layers.selection.active = active
        return LayerLabelStore(layer, self._map)
