# SPDX-License-Identifier: Apache-2.0
"""How a candidate mask is shown before it is accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam.structures.geometry import mask_bounding_box

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.arrays import BoolMask

PLUGIN_NAME = "napari-sam-live"
PREVIEW_COLOR = (0.0, 0.9, 0.9, 1.0)
PREVIEW_OPACITY = 0.45


class PreviewLayer:
    """A small Labels layer that holds the bounding box of one mask.

    Parameters
    ----------
    plane_map : PlaneMap
        The image that the masks belong to.
    """

    def __init__(self, plane_map: PlaneMap) -> None:
        self._map = plane_map
        self.layer: Labels | None = None

    def show(self, viewer: ViewerModel, key: PlaneKey, mask: BoolMask) -> None:
        """Show a mask on its plane; an empty one hides the layer."""
        box = mask_bounding_box(mask)
        if box is None:
            self.clear()
            return
        y0, x0, y1, x1 = box
        crop = mask[y0:y1, x0:x1].astype(np.uint8)
        data = crop.reshape(self._map.crop_shape(key, crop.shape))
        place = self._map.transforms(self._map.crop_start(key, box))
        if self.layer is None or self.layer not in viewer.layers:
            self.add_to(viewer)
        layer = self.layer
        if layer is None:  # pragma: no cover  add_to always makes one
            return
        layer.visible = False
        layer.data = data
        layer.translate = place["translate"]
        layer.visible = True

    def add_to(self, viewer: ViewerModel) -> None:
        """Add the layer, empty and hidden, without changing what is selected."""
        from napari.layers import Labels
        from napari.utils.colormaps import DirectLabelColormap

        active = viewer.layers.selection.active
        colormap = DirectLabelColormap(
            color_dict={None: "transparent", 0: "transparent", 1: PREVIEW_COLOR}
        )
        self.layer = Labels(
            np.zeros((1,) * self._map.ndim, dtype=np.uint8),
            name="SAM preview",
            colormap=colormap,
            opacity=PREVIEW_OPACITY,
            metadata={PLUGIN_NAME: {"role": "preview"}},
            visible=False,
            **self._map.transforms(),
        )
        viewer.add_layer(self.layer)
        self.layer.editable = False
        if active is not None:
            viewer.layers.selection.active = active

    def clear(self) -> None:
        """Show nothing."""
        if self.layer is not None:
            self.layer.visible = False

    def remove_from(self, viewer: ViewerModel) -> None:
        """Take the layer out of the viewer."""
        if self.layer is not None and self.layer in viewer.layers:
            viewer.layers.remove(self.layer)
        self.layer = None
