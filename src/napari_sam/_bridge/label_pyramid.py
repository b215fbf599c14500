# SPDX-License-Identifier: Apache-2.0
"""Labels of images too large for one texture: coarser copies for the view.

napari draws a labels layer as one texture. Beyond what a graphics card takes it makes
a smaller one of the whole array, at every change of a pixel. With coarser levels beside
the array it reads what is on screen only, so a change costs what the changed object
costs. The price: napari's own brush does not paint on layers with levels.
"""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.io.labels_zarr import create_labels
from napari_sam.io.user_data import user_data_folder
from napari_sam.structures.label_levels import showing_pixels

if TYPE_CHECKING:
    from pathlib import Path

    from napari.layers import Labels

    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.arrays import HalfOpenBox, LabelImage

LARGE_SIDE_PX = 8192
"""Layers with a longer side get levels; what every graphics card can draw has none."""
COARSEST_SIDE_PX = 2048
MAX_IN_MEMORY_PX = 2**30
"""Larger labels, 4 GiB and more, are kept in a zarr folder."""


def finest(layer: Labels) -> Any:
    """Return the array of a labels layer at full resolution."""
    return layer.data[0] if layer.multiscale else layer.data


def needs_levels(shape: tuple[int, ...]) -> bool:
    """Tell whether labels of this shape are to have coarser levels."""
    return max(shape[-2:]) > LARGE_SIDE_PX


def level_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shapes of all levels, the finest first; the last two axes are halved each time.

    Parameters
    ----------
    shape : tuple of int
        Of the labels, (..., H, W).
    """
    shapes = [shape]
    while max(shapes[-1][-2:]) > COARSEST_SIDE_PX:
        *others, height, width = shapes[-1]
        shapes.append((*others, -(-height // 2), -(-width // 2)))
    return shapes


def make_levels(shape: tuple[int, ...], image_name: str) -> list[Any]:
    """Make empty labels with coarser levels, in memory or past it on disk.

    Parameters
    ----------
    shape : tuple of int
        (..., H, W).
    image_name : str
        What the folder is named after.

    Returns
    -------
    list of arrays
        uint32, finest first.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    if math.prod(shape) <= MAX_IN_MEMORY_PX:
        return [np.zeros(level, dtype=np.uint32) for level in level_shapes(shape)]
    labels = create_labels(_new_folder(image_name), shape, axes="TCZYX"[-len(shape) :])
    labels.add_empty_levels()
    return list(labels.levels)


def _new_folder(image_name: str) -> Path:
    """Return a name that is not taken, among the user's data."""
    stem = re.sub(r"[^\w.-]+", "_", image_name).strip("._") or "image"
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    folder = user_data_folder() / "labels"
    number, path = 1, folder / f"{stem}_{stamp}.zarr"
    while path.exists():
        number += 1
        path = folder / f"{stem}_{stamp}_{number}.zarr"
    return path


def write_levels(
    layer: Labels, key: PlaneKey, box: HalfOpenBox, labels: LabelImage
) -> None:
    """Write labels into all levels, and draw what of it is on screen.

    Parameters
    ----------
    layer : napari.layers.Labels
        With levels.
    key : PlaneKey
        The plane.
    box : (y0, x0, y1, x1)
        Half-open box of the plane in pixels of the finest level.
    labels : (y1 - y0, x1 - x0) array
        What is to be there.
    """
    levels = list(layer.data)
    rows, columns = slice(box[0], box[2]), slice(box[1], box[3])
    for number, level in enumerate(levels):
        if number:
            finer = levels[number - 1].shape
            (rows, from_rows), (columns, from_columns) = (
                showing_pixels(finer[axis], level.shape[axis], old.start, old.stop)
                for axis, old in zip(key.axes, (rows, columns), strict=True)
            )
            labels = labels[np.ix_(from_rows, from_columns)]
        if not labels.size:
            return
        place = list(key.locate(rows, columns))
        for axis, index in enumerate(place):
            if isinstance(index, int):  # levels may be coarser along other axes, too
                place[axis] = index * level.shape[axis] // levels[0].shape[axis]
        level[tuple(place)] = labels
        if number == layer.data_level:
            _draw(layer, level, tuple(place))


def _draw(layer: Labels, level: Any, place: tuple[Any, ...]) -> None:
    """Show changed pixels of the level on screen.

    napari colours all that is on screen anew when told to refresh. It does no more than
    needed after strokes of its own; the same way is taken where it can be, that is if
    what it shows is a part of the array in memory. A napari without that way refreshes.
    """
    try:
        is_drawn = isinstance(level, np.ndarray) and _draw_part(layer, level, place)
    except AttributeError:
        is_drawn = False
    if not is_drawn:
        layer.refresh(thumbnail=False, highlight=False, extent=False)


def _draw_part(layer: Labels, level: np.ndarray, place: tuple[Any, ...]) -> bool:
    """Colour changed pixels alone; returns whether nothing is left to be drawn."""
    shown = list(layer._slice_input.displayed)  # noqa: SLF001
    tile = layer._slice.image  # noqa: SLF001
    if not all(isinstance(place[axis], slice) for axis in shown):
        return False
    if not np.may_share_memory(tile.raw, level):
        return not layer.visible  # what is shown is a copy, or of another level
    if not (layer.visible and np.may_share_memory(tile.raw, level[place])):
        return True  # not on screen
    corner = layer.corner_pixels[0]
    updated = [slice(0, 1)] * level.ndim
    for axis, length in zip(shown, tile.raw.shape, strict=True):
        start, stop = (
            min(max(end - int(corner[axis]), 0), length)
            for end in (place[axis].start, place[axis].stop)
        )
        if start == stop:
            return True  # beside the screen
        updated[axis] = slice(start, stop)
    part = tuple(updated[axis] for axis in shown)
    tile.view[part] = layer._raw_to_displayed(tile.raw, data_slice=part)  # noqa: SLF001
    layer._updated_slice = tuple(updated)  # noqa: SLF001
    layer._partial_labels_refresh()  # noqa: SLF001
    return True
