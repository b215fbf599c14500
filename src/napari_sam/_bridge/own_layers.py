# SPDX-License-Identifier: Apache-2.0
"""The layers that prompting adds to an image and takes away again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._bridge.label_layer import is_own_result
from napari_sam._bridge.preview_layer import HOVERED, OFFERED, PreviewLayer
from napari_sam._bridge.prompt_layers import PromptLayers
from napari_sam._bridge.region_frame import RegionFrame

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Labels, Layer

    from napari_sam._bridge.coordinates import PlaneMap

TRANSFORM_EVENTS = ("scale", "translate", "rotate", "shear", "affine")


class OwnLayers:
    """Points, shapes, the two previews and the region frame of one image.

    Parameters
    ----------
    plane_map : PlaneMap
        Of the image.
    later : callable
        Calls a function once the present event has been dealt with.

    Attributes
    ----------
    prompts : PromptLayers
    offered, hovered : PreviewLayer
        The mask on offer, and the one under the pointer.
    frame : RegionFrame
        Around what the model looks at of a large plane; its layer is made then.
    """

    def __init__(
        self, plane_map: PlaneMap, later: Callable[[Callable[[], None]], None]
    ) -> None:
        self._map = plane_map
        self.prompts = PromptLayers(plane_map, later)
        self.offered = PreviewLayer(plane_map, OFFERED)
        self.hovered = PreviewLayer(plane_map, HOVERED)
        self.frame = RegionFrame(plane_map)

    def add_to(self, viewer: ViewerModel) -> None:
        """Add all of them, the prompts on top."""
        self.offered.add_to(viewer)
        self.hovered.add_to(viewer)
        self.prompts.add_to(viewer)

    def remove_from(self, viewer: ViewerModel) -> None:
        """Take them out of the viewer."""
        self.prompts.remove_from(viewer)
        self.offered.remove_from(viewer)
        self.hovered.remove_from(viewer)
        self.frame.remove_from(viewer)

    def all(self) -> list[Layer]:
        """Return those that exist."""
        prompts = self.prompts
        previews = [self.offered.layer, self.hovered.layer, self.frame.layer]
        own = [prompts.points, prompts.shapes, *previews]
        return [layer for layer in own if layer is not None]

    def follow_image(self, labels: Labels) -> None:
        """Go where the image has been scaled or moved to, with labels of our making."""
        place = self._map.transforms()
        for layer in (self.prompts.points, self.prompts.shapes):
            _put(layer, place)
        if is_own_result(labels):
            _put(labels, place)
        self.offered.follow_image()
        self.hovered.follow_image()
        self.frame.follow_image()


def _put(layer: Any, place: dict[str, Any]) -> None:
    """Set the transforms that differ: napari slices a layer anew at each of them."""
    for name in TRANSFORM_EVENTS if layer is not None else ():
        now = getattr(layer, name)
        now = now.affine_matrix if name == "affine" else now
        if not np.array_equal(np.asarray(now), np.asarray(place[name])):
            setattr(layer, name, place[name])
