# SPDX-License-Identifier: Apache-2.0
"""Walking through an array that may not fit into memory."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from napari_sam.structures.arrays import HalfOpenBox

_BLOCK_SIDE = 1024


def block_slices(array: Any) -> Iterator[tuple[slice, ...]]:
    """Cut an array into blocks, along the borders of the blocks that it is stored in.

    Parameters
    ----------
    array : array-like
        Its ``chunks`` are used if it has some: whole numbers per axis, as of zarr and
        HDF5, or lists of them, as of dask. Others are cut into blocks of at most 1024
        along each of the last two axes and 1 along the others.

    Yields
    ------
    tuple of slice
        One per axis; together they cover everything once.
    """
    shape = tuple(int(size) for size in array.shape)
    runs = [
        _runs(size, chunk)
        for size, chunk in zip(shape, _chunks(array, shape), strict=True)
    ]
    yield from itertools.product(*runs)


def blocks_in(box: HalfOpenBox, side: int) -> Iterator[HalfOpenBox]:
    """Cut a part of a plane into blocks.

    Parameters
    ----------
    box : (y0, x0, y1, x1)
        Half-open box of the part.
    side : int
        Of a block. Borders lie at its multiples, wherever the part begins.

    Yields
    ------
    (y0, x0, y1, x1)
        Together they cover the part once.
    """
    rows, columns = (
        list(itertools.pairwise(_borders(start, stop, side)))
        for start, stop in zip(box[:2], box[2:], strict=True)
    )
    for (y0, y1), (x0, x1) in itertools.product(rows, columns):
        yield y0, x0, y1, x1


def highest_label(array: Any) -> int:
    """Return the highest number in an array of labels, at least 0, block by block."""
    if isinstance(array, np.ndarray):
        return max(int(array.max(initial=0)), 0)
    return max(
        (int(np.asarray(array[place]).max(initial=0)) for place in block_slices(array)),
        default=0,
    )


def _chunks(array: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    chunks = getattr(array, "chunks", None)
    if chunks is not None and len(chunks) == len(shape):
        return tuple(chunks)
    first_of_plane = len(shape) - 2
    return tuple(
        _BLOCK_SIDE if axis >= first_of_plane else 1 for axis in range(len(shape))
    )


def _borders(start: int, stop: int, side: int) -> list[int]:
    """Return where the blocks of one axis begin, and where the last one ends."""
    if start >= stop:
        return []
    return [start, *range((start // side + 1) * side, stop, side), stop]


def _runs(size: int, chunk: Any) -> list[slice]:
    """Return the pieces of one axis."""
    if isinstance(chunk, (tuple, list)):
        ends = list(itertools.accumulate(int(length) for length in chunk))
        return [
            slice(end - int(length), end)
            for end, length in zip(ends, chunk, strict=True)
        ]
    return [
        slice(start, min(start + int(chunk), size))
        for start in range(0, size, int(chunk))
    ]
