# SPDX-License-Identifier: Apache-2.0
"""Telling one image from another without reading all of it."""

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

SAMPLES_PER_SIDE = 64

# In a plane with more pixels, a grid of single ones would touch every stored block.
_MAX_GRID_PX = 1 << 26
_BLOCKS_PER_SIDE, _BLOCK_SIDE = 4, 16


def image_digest(array: Any, n_plane_axes: int = 2) -> str:
    """Hash shape, dtype and a sample of the pixels of an image.

    Pixels on a coarse grid of the first and the middle plane are read, so the price is
    that of two planes at most; of planes larger than 8192 x 8192, 4 x 4 blocks of
    16 x 16 pixels. Changes between the sampled pixels go unseen.

    Parameters
    ----------
    array : array-like of two or more axes
        Anything with ``shape`` and ``dtype`` that can be sliced: numpy, dask, zarr.
    n_plane_axes : int
        How many of the last axes make up one plane; 3 with a last axis of colours.

    Returns
    -------
    str
        32 hexadecimal digits, the same on every machine and for every kind of array.
    """
    shape = tuple(int(size) for size in array.shape)
    dtype = np.dtype(array.dtype).newbyteorder("=")
    digest = hashlib.sha256(f"{shape} {dtype.name}".encode())
    leading = shape[: max(len(shape) - n_plane_axes, 0)]
    planes = {(0,) * len(leading), tuple(size // 2 for size in leading)}
    if 0 not in shape:
        for plane in sorted(planes):
            for place in _places(shape[len(leading) :]):
                sample = np.ascontiguousarray(array[(*plane, *place)])
                little = sample.astype(sample.dtype.newbyteorder("<"), copy=False)
                digest.update(little.tobytes())
    return digest.hexdigest()[:32]


def _places(sides: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Where to look at a plane of (H, W) or (H, W, colours)."""
    if math.prod(sides[:2]) <= _MAX_GRID_PX:
        yield tuple(
            slice(None, None, max(1, -(-size // SAMPLES_PER_SIDE))) for size in sides
        )
        return
    rest = tuple(slice(None) for _ in sides[2:])
    for y in _starts(sides[0]):
        for x in _starts(sides[1]):
            yield slice(y, y + _BLOCK_SIDE), slice(x, x + _BLOCK_SIDE), *rest


def _starts(length: int) -> list[int]:
    """Return where the blocks begin along one side, in the middle of equal parts."""
    free = max(length - _BLOCK_SIDE, 0)
    return [
        (2 * i + 1) * free // (2 * _BLOCKS_PER_SIDE) for i in range(_BLOCKS_PER_SIDE)
    ]
