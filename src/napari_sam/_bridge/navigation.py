# SPDX-License-Identifier: Apache-2.0
"""Moves the view to a place on an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam._bridge.view_region import camera_of

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam.annotation.ports import PlaneKey


def fly_to(
    viewer: ViewerModel,
    plane_map: PlaneMap,
    plane: PlaneKey,
    yx: tuple[float, float] | None = None,
) -> None:
    """Move the sliders to a plane, and the camera to a position on it.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        What shows the image.
    plane_map : PlaneMap
        Of the image.
    plane : PlaneKey
        What to show.
    yx : (y, x), optional
        Pixel to bring into the middle; by default the camera stays.
    """
    middle = tuple((n - 1) / 2 for n in plane_map.plane_shape(plane))
    world = plane_map.pixel_to_world(plane.locate(*(yx or middle)))
    offset = viewer.dims.ndim - len(world)
    for axis, value in enumerate(world):
        if axis not in plane.axes:
            viewer.dims.set_point(axis + offset, float(value))
    if yx is not None:
        shown = [float(world[axis - offset]) for axis in viewer.dims.displayed]
        camera_of(viewer).center = (0.0, *shown)[-3:]
