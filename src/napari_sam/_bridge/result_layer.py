# SPDX-License-Identifier: Apache-2.0
"""The result of an automatic run as a Labels layer, and regions drawn as shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._bridge.preview_layer import PLUGIN_NAME
from napari_sam.annotation.objects import object_table
from napari_sam.errors import SettingsError

if TYPE_CHECKING:
    from napari.layers import Labels, Shapes

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam.annotation.grid_run import GridResult
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.arrays import BoolMask, Coordinates


def make_result_layer(
    result: GridResult, plane_map: PlaneMap, name: str, about: dict[str, Any]
) -> Labels:
    """Make a Labels layer of the image's shape, filled on the plane of the result.

    Parameters
    ----------
    result : GridResult
        What was found.
    plane_map : PlaneMap
        The image that was segmented.
    name : str
        Name of the layer.
    about : dict
        Model and settings, kept in the layer's metadata.

    Returns
    -------
    napari.layers.Labels
        With a features table of area, scores and box in pixels of the plane.
    """
    from napari.layers import Labels

    y0, x0, y1, x1 = result.box
    # Pages that are never touched cost no memory, so a stack may be large.
    data = np.zeros(plane_map.shape, dtype=np.uint32)
    data[result.plane.locate(slice(y0, y1), slice(x0, x1))] = result.labels
    table = object_table(result.labels, result.records)
    for column, start in zip(("y0", "x0", "y1", "x1"), (y0, x0, y0, x0), strict=True):
        table[f"box_{column}"] = table[f"box_{column}"] + start
    return Labels(
        data,
        name=name,
        features=table,
        metadata={PLUGIN_NAME: {"role": "result", **about}},
        **plane_map.transforms(),
    )


def region_mask(layer: Shapes, plane_map: PlaneMap, key: PlaneKey) -> BoolMask:
    """Pixels inside the shapes of a layer that lie on a plane.

    Selected shapes count; without a selection, all of them. Lines and paths have no
    inside and are left out.

    Raises
    ------
    SettingsError
        If no such shape lies on the plane.
    """
    from skimage.draw import polygon2mask

    shape = plane_map.plane_shape(key)
    mask = np.zeros(shape, dtype=bool)
    wanted = sorted(layer.selected_data) or range(len(layer.data))
    n_used = 0
    for index in wanted:
        kind = layer.shape_type[index]
        if kind in ("line", "path"):
            continue
        pixels = plane_map.layer_to_pixels(layer, layer.data[index])
        is_on, yx = plane_map.on_plane(key, pixels)
        if is_on.all():
            n_used += 1
            mask |= polygon2mask(shape, _outline(yx) if kind == "ellipse" else yx)
    if n_used == 0:
        msg = (
            f"The layer {layer.name!r} has no rectangle, ellipse or polygon on this "
            "plane. Draw the region there, or choose no region."
        )
        raise SettingsError(msg)
    return mask


def _outline(corners_yx: Coordinates, n_points: int = 64) -> Coordinates:
    """Polygon of the ellipse inside a parallelogram of four corners, (n_points, 2)."""
    centre = corners_yx.mean(axis=0)
    half_a = (corners_yx[1] - corners_yx[0]) / 2
    half_b = (corners_yx[3] - corners_yx[0]) / 2
    angle = np.linspace(0, 2 * np.pi, n_points, endpoint=False)[:, None]
    return np.asarray(centre + np.cos(angle) * half_a + np.sin(angle) * half_b)
