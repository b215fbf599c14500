# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_sam.structures.array_blocks import block_slices, blocks_in

SHAPE = (3, 1500, 2100)


@pytest.mark.parametrize("kind", ["numpy", "zarr", "dask"])
def test_blocks_cover_everything_once_along_stored_ones(kind):
    array = np.zeros(SHAPE, np.uint8)
    if kind == "zarr":
        array = zarr.zeros(SHAPE, chunks=(2, 400, 2100), dtype=np.uint8)
    elif kind == "dask":
        array = da.zeros(SHAPE, chunks=((1, 2), (700, 800), 500), dtype=np.uint8)
    seen = np.zeros(SHAPE, np.uint8)
    blocks = list(block_slices(array))
    for place in blocks:
        seen[place] += 1
    assert (seen == 1).all()
    assert len(blocks) == {"numpy": 3 * 2 * 3, "zarr": 2 * 4, "dask": 2 * 2 * 5}[kind]


def test_flat_and_empty_arrays():
    assert list(block_slices(np.zeros(7))) == [(slice(0, 7),)]
    assert list(block_slices(np.zeros((0, 5)))) == []


@pytest.mark.parametrize("box", [(0, 0, 25, 30), (3, 9, 24, 31), (10, 10, 20, 20)])
def test_a_part_is_covered_once_by_blocks_between_multiples(box):
    seen = np.zeros((40, 40), int)
    for y0, x0, y1, x1 in blocks_in(box, 10):
        assert y0 // 10 == (y1 - 1) // 10
        assert x0 // 10 == (x1 - 1) // 10
        seen[y0:y1, x0:x1] += 1
    inside = seen[box[0] : box[2], box[1] : box[3]]
    assert (inside == 1).all()
    assert seen.sum() == inside.size


def test_an_empty_part_has_no_blocks():
    assert list(blocks_in((5, 5, 5, 9), 4)) == []
