# SPDX-License-Identifier: Apache-2.0
"""Pixels that stand for a plane when black and white are chosen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_sam.structures.arrays import Plane
    from napari_sam.structures.plane_pixels import PlanePixels

MAX_WHOLE_PX = 1 << 26
"""A plane of up to so many pixels (8192 x 8192) is read in full."""

MIN_LEVEL_PX = 1 << 20
"""A level of a pyramid with so many pixels stands for the plane."""

_BLOCKS_PER_SIDE, _BLOCK_SIDE = 8, 256


def brightness_sample(pixels: PlanePixels) -> Plane:
    """Read the pixels that decide how bright a plane is shown.

    They depend on the plane alone, never on the part that is looked at, so that
    every part is shown alike: all pixels of a plane of at most 8192 x 8192; of a
    larger one the coarsest level of at least a million pixels that is not too large
    itself; without such a level, 8 x 8 blocks of 256 x 256 pixels spread evenly.

    Parameters
    ----------
    pixels : PlanePixels
        A plane of any size.

    Returns
    -------
    (h, w) or (h, w, C) array
        A picture only where it is a whole level; blocks lie below each other.
    """
    if math.prod(pixels.shape) <= MAX_WHOLE_PX:
        return _read_level(pixels, 0)
    fitting = [
        level
        for level, shape in enumerate(pixels.level_shapes)
        if MIN_LEVEL_PX <= math.prod(shape) <= MAX_WHOLE_PX
    ]
    if fitting:
        return _read_level(pixels, fitting[-1])
    # Without a suitable level, take blocks of the finest that is not finer than needed.
    level = max(
        (n for n, s in enumerate(pixels.level_shapes) if math.prod(s) > MAX_WHOLE_PX),
    )
    height, width = pixels.level_shapes[level]
    rows, columns = _starts(height), _starts(width)
    down, across = min(_BLOCK_SIDE, height), min(_BLOCK_SIDE, width)
    blocks = [
        pixels.read((y, x, y + down, x + across), level) for y in rows for x in columns
    ]
    return np.concatenate(blocks)


def _read_level(pixels: PlanePixels, level: int) -> Plane:
    height, width = pixels.level_shapes[level]
    return pixels.read((0, 0, height, width), level)


def _starts(length: int) -> list[int]:
    """Return where blocks begin along one axis, evenly spread and all of one size."""
    free = max(length - _BLOCK_SIDE, 0)
    number = min(_BLOCKS_PER_SIDE, free // _BLOCK_SIDE + 1)
    # In the middle of equal parts: the rim of a slide is often empty.
    return [(2 * i + 1) * free // (2 * number) for i in range(number)]
