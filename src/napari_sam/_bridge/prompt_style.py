# SPDX-License-Identifier: Apache-2.0
"""How prompts look, and how both prompt layers lie on the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._bridge.preview_layer import PLUGIN_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer, Points, Shapes

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam.structures.arrays import Coordinates

POSITIVE = "positive"
NEGATIVE = "negative"
# Sky blue and vermilion of the Okabe-Ito palette: told apart with any colour vision.
COLORS = {POSITIVE: "#56b4e9", NEGATIVE: "#d55e00"}
LARGE_PX = 4096
SYMBOLS = {POSITIVE: "disc", NEGATIVE: "x"}


def point_size(plane_map: PlaneMap) -> float:
    """Diameter of a point, in pixels of the image."""
    return max(3.0, 0.018 * max(plane_map.shape[-2:]))


def is_far_larger_than_a_screen(plane_map: PlaneMap) -> bool:
    """Whether an image is looked at from near, so that prompts go by the screen."""
    return max(plane_map.shape[-2:]) > LARGE_PX


def layer_arguments(plane_map: PlaneMap) -> dict[str, Any]:
    """Return what both prompt layers are made with: their axes and their place."""
    return {
        "ndim": plane_map.ndim,
        "metadata": {PLUGIN_NAME: {"role": "prompts"}},
        **plane_map.transforms(),
    }


def layer_to_pixels(plane_map: PlaneMap, layer: Layer, positions: Any) -> Coordinates:
    """Map (n, ndim) data positions of another layer to pixels of the image.

    The way is affine, so a few positions tell it: a lasso has hundreds.
    """
    corners = np.vstack([np.zeros(plane_map.ndim), np.eye(plane_map.ndim)])
    mapped = plane_map.layer_to_pixels(layer, corners)
    places = np.asarray(positions, dtype=float).reshape(-1, plane_map.ndim)
    return np.asarray(mapped[0] + places @ (mapped[1:] - mapped[0]))


def pixels_to_layer(
    plane_map: PlaneMap, layer: Layer, pixels: Sequence[Sequence[float]] | Coordinates
) -> Coordinates:
    """Map (n, ndim) pixels of the image to data positions of another layer."""
    corners = np.vstack([np.zeros(plane_map.ndim), np.eye(plane_map.ndim)])
    mapped = plane_map.layer_to_pixels(layer, corners)
    places = np.asarray(pixels, dtype=float).reshape(-1, plane_map.ndim)
    # Rows are positions, so the matrix of the way back stands on the right.
    back = np.linalg.inv(mapped[1:] - mapped[0])
    return np.asarray((places - mapped[0]) @ back)


def polarity_of(layer: Points | Shapes) -> str:
    """Return what the next prompt of a layer will be."""
    return str(layer.feature_defaults["polarity"].iloc[0])


def set_polarities(layer: Points | Shapes, start: int, values: Sequence[str]) -> None:
    """Set the polarity of the prompts from an index on; its events follow."""
    default = polarity_of(layer)
    features = layer.features.copy()
    # A column set as a whole would lose its categories.
    column = features["polarity"].copy()
    column.iloc[start:] = list(values)
    features["polarity"] = column
    layer.features = features
    layer.feature_defaults = {"polarity": default}  # napari took the first one


def is_own_helper(layer: object) -> bool:
    """Whether a layer of ours only takes prompts or shows a preview."""
    about = getattr(layer, "metadata", {}).get(PLUGIN_NAME, {})
    return about.get("role") in ("prompts", "preview")
