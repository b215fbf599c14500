# SPDX-License-Identifier: Apache-2.0
"""A thin frame around the region of a large plane that a model has looked at.

napari draws it: it is the bounding box of a layer of one transparent pixel. Showing
another region moves that pixel, and a slider step slices nothing larger than it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._bridge.preview_layer import PLUGIN_NAME

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.plane_view import Region

READY_COLOR = (0.0, 0.95, 0.95, 0.8)
COMING_COLOR = (1.0, 0.9, 0.0, 0.8)
"""Of the region that answers at once, while another one is being looked at."""
NAME = "SAM region"


class RegionFrame:
    """Shows one region at a time.

    Parameters
    ----------
    plane_map : PlaneMap
        The image that the regions belong to.
    """

    def __init__(self, plane_map: PlaneMap) -> None:
        self._map = plane_map
        self._shown: tuple[PlaneKey, Region] | None = None
        self.layer: Labels | None = None

    def show(
        self,
        viewer: ViewerModel,
        key: PlaneKey,
        region: Region | None,
        *,
        is_another_coming: bool = False,
    ) -> None:
        """Draw the frame of a region; None hides it."""
        if region is None:
            self.clear()
            return
        if self.layer is None or self.layer not in viewer.layers:
            self._add_to(viewer)
        layer = self.layer
        if layer is None:  # pragma: no cover  _add_to always makes one
            return
        color = COMING_COLOR if is_another_coming else READY_COLOR
        if tuple(layer.bounding_box.line_color) != color:
            layer.bounding_box.line_color = color
        if self._shown != (key, region):
            self._shown = key, region
            self._put(layer)
        if not layer.visible:
            layer.visible = True

    def clear(self) -> None:
        """Show nothing."""
        if self.layer is not None and self.layer.visible:
            self.layer.visible = False

    def follow_image(self) -> None:
        """Put the frame where the image has been moved to."""
        if self.layer is not None:
            self._put(self.layer)

    def remove_from(self, viewer: ViewerModel) -> None:
        """Take the layer out of the viewer."""
        if self.layer is not None and self.layer in viewer.layers:
            viewer.layers.remove(self.layer)
        self.layer = self._shown = None

    def _add_to(self, viewer: ViewerModel) -> None:
        """Add the layer, hidden, without changing what is selected."""
        from napari.layers import Labels

        selected = set(viewer.layers.selection)
        active = viewer.layers.selection.active
        self.layer = Labels(
            np.zeros((1,) * self._map.ndim, dtype=np.uint8),
            name=NAME,
            metadata={PLUGIN_NAME: {"role": "preview", "shows": "region"}},
            visible=False,
            **self._map.transforms(),
        )
        self._shown = None
        box: Any = self.layer.bounding_box
        box.points, box.line_thickness, box.visible = False, 1.5, True
        viewer.add_layer(self.layer)
        self.layer.editable = False
        if selected:
            viewer.layers.selection = selected
            viewer.layers.selection.active = active

    def _put(self, layer: Labels) -> None:
        """Let the layer's one pixel cover the region."""
        if self._shown is None:
            return
        key, region = self._shown
        height, width = region.size
        middle = key.locate(
            region.box[0] + (height - 1) / 2, region.box[1] + (width - 1) / 2
        )
        place = self._map.transforms(tuple(float(value) for value in middle))
        size = np.asarray(self._map.crop_shape(key, (height, width)), dtype=float)
        place["scale"] = np.asarray(place["scale"]) * size
        for name in ("scale", "rotate", "shear", "affine", "translate"):
            setattr(layer, name, place[name])
