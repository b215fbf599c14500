# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_sam.structures.array_blocks import block_slices

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
