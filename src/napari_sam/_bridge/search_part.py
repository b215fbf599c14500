# SPDX-License-Identifier: Apache-2.0
"""Which part of a plane is searched: drawn shapes, or what is on screen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_sam._bridge.image_source import MAX_PLANE_PX
from napari_sam._bridge.label_pyramid import needs_levels
from napari_sam._bridge.view_region import view_of
from napari_sam.errors import SettingsError
from napari_sam.structures.mask_window import MaskWindow

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Shapes

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.arrays import BoolMask, Coordinates, HalfOpenBox

NOTHING_ON_SCREEN = (
    "Of large images the semi-automatic way takes what is on screen, which is nothing "
    "of this one now. Move the view there, or draw a region."
)


def is_large_plane(plane_map: PlaneMap, key: PlaneKey) -> bool:
    """Tell whether a plane is too large for labels without coarser levels.

    Only the last two axes of an array get coarser: planes across them stay as they are.
    """
    is_last = key.axes == (plane_map.ndim - 2, plane_map.ndim - 1)
    return is_last and needs_levels(plane_map.shape)


def part_on_screen(
    viewer: ViewerModel, plane_map: PlaneMap, key: PlaneKey
) -> MaskWindow:
    """Return what is on screen of a plane, as a region.

    Raises
    ------
    SettingsError
        If that is nothing, or too much to be segmented at once.
    """
    view = view_of(viewer, plane_map, key)
    height, width = plane_map.plane_shape(key)
    y0, x0, y1, x1 = (0.0,) * 4 if view is None else view.box
    box = (
        max(math.floor(y0), 0),
        max(math.floor(x0), 0),
        min(math.ceil(y1), height),
        min(math.ceil(x1), width),
    )
    if box[0] >= box[2] or box[1] >= box[3]:
        raise SettingsError(NOTHING_ON_SCREEN)
    check_part(box, "part on screen")
    size = (box[2] - box[0], box[3] - box[1])
    return MaskWindow(box[0], box[1], np.ones(size, dtype=np.bool_))


def region_mask(layer: Shapes, plane_map: PlaneMap, key: PlaneKey) -> MaskWindow:
    """Pixels inside the shapes of a layer that lie on a plane.

    Selected shapes count; without a selection, all of them. Lines and paths have no
    inside and are left out. Nothing is made of the plane outside of the shapes' box.

    Raises
    ------
    SettingsError
        If no such shape lies on the plane, or they span too many pixels.
    """
    from skimage.draw import polygon2mask

    outlines = _outlines_on(layer, plane_map, key)
    if not outlines:
        msg = (
            f"The layer {layer.name!r} has no rectangle, ellipse or polygon on this "
            "plane. Draw the region there, or choose no region."
        )
        raise SettingsError(msg)
    every = np.concatenate(outlines)
    low, high = np.floor(every.min(axis=0)), np.ceil(every.max(axis=0)) + 1
    limits = plane_map.plane_shape(key)
    y0, x0 = np.clip(low, 0, limits).astype(int).tolist()
    y1, x1 = np.clip(high, 0, limits).astype(int).tolist()
    check_part((y0, x0, y1, x1), "region")
    mask: BoolMask = np.zeros((max(y1 - y0, 0), max(x1 - x0, 0)), dtype=np.bool_)
    for outline in outlines:
        if mask.size:
            mask |= polygon2mask(mask.shape, outline - (y0, x0))
    return MaskWindow.of_mask(mask, y0, x0)


def check_part(box: HalfOpenBox, what: str) -> None:
    """Refuse a part of a plane that is too large to be segmented at once.

    Raises
    ------
    SettingsError
        If it has more than 16384 x 16384 pixels.
    """
    height, width = box[2] - box[0], box[3] - box[1]
    if height * width > MAX_PLANE_PX:
        msg = (
            f"The {what} spans {height} x {width} pixels, more than can be segmented "
            "at once (16384 x 16384). Choose a smaller one, or let the automatic mode "
            "search the whole plane in tiles, without a region."
        )
        raise SettingsError(msg)


def _outlines_on(
    layer: Shapes, plane_map: PlaneMap, key: PlaneKey
) -> list[Coordinates]:
    """Return the polygons that enclose something on a plane, (n, 2) each."""
    outlines = []
    for index in sorted(layer.selected_data) or range(len(layer.data)):
        kind = layer.shape_type[index]
        if kind in ("line", "path"):
            continue
        pixels = plane_map.layer_to_pixels(layer, layer.data[index])
        is_on, yx = plane_map.on_plane(key, pixels)
        if is_on.all():
            outlines.append(_outline(yx) if kind == "ellipse" else yx)
    return outlines


def _outline(corners_yx: Coordinates, n_points: int = 64) -> Coordinates:
    """Polygon of the ellipse inside a parallelogram of four corners, (n_points, 2)."""
    centre = corners_yx.mean(axis=0)
    half_a = (corners_yx[1] - corners_yx[0]) / 2
    half_b = (corners_yx[3] - corners_yx[0]) / 2
    angle = np.linspace(0, 2 * np.pi, n_points, endpoint=False)[:, None]
    return np.asarray(centre + np.cos(angle) * half_a + np.sin(angle) * half_b)
