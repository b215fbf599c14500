# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_sam.errors import ImageError
from napari_sam.io.image_file import plan_axes
from napari_sam.io.stored_array import StoredArray

DATA = np.arange(2 * 1 * 4 * 5 * 6, dtype=np.uint16).reshape(2, 1, 4, 5, 6)
PATH = Path("cells.zarr")


class Counted:
    def __init__(self, array):
        self._array, self.shape, self.dtype = array, array.shape, array.dtype
        self.chunks = (1,) * array.ndim
        self.n_read = 0

    def __getitem__(self, key):
        part = self._array[key]
        self.n_read += np.size(part)
        return part


@pytest.mark.parametrize("axes", ["ZTCYX", "CTXYZ", "YTXZC", "ZTXYP"])
def test_slices_are_those_of_the_array_in_order(axes):
    shape = DATA.shape
    plan = plan_axes(shape, axes, axes, PATH)
    stored, expected = StoredArray(DATA, plan, PATH), plan.apply_to(DATA)
    assert stored.shape == expected.shape
    assert stored.ndim == expected.ndim == 4
    assert len(stored) == len(expected)
    for key in [
        ...,
        0,
        -1,
        (..., 1),
        (slice(None), 1, ...),
        (0, slice(1, 3), slice(None, None, 2)),
        (slice(1, 99), -1, slice(-3, None), slice(2, 2)),
        np.int64(1),
    ]:
        np.testing.assert_array_equal(stored[key], expected[key])
    np.testing.assert_array_equal(np.asarray(stored), expected)
    assert np.asarray(stored, dtype=float).dtype == np.float64


def test_colours_without_opacity():
    rgba = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
    stored = StoredArray(rgba, plan_axes((4, 5, 6), "SYX", None, PATH), PATH)
    assert stored.shape == (5, 6, 3)
    np.testing.assert_array_equal(stored[...], np.moveaxis(rgba[:3], 0, -1))
    np.testing.assert_array_equal(stored[..., -1], rgba[2])
    grey = rgba[:2]
    stored = StoredArray(grey, plan_axes((2, 5, 6), "SYX", None, PATH), PATH)
    np.testing.assert_array_equal(stored[1:3], grey[0, 1:3])


def test_no_more_is_read_than_asked_for():
    counted = Counted(DATA)
    stored = StoredArray(counted, plan_axes(DATA.shape, "CTZYX", None, PATH), PATH)
    assert stored.chunks == (1, 1, 1, 1)
    assert stored[2, 1:3, ::2, :1].shape == (2, 3, 1)
    assert counted.n_read == 6


@pytest.mark.parametrize("key", [4, -5, (0,) * 5, (..., ...), "a", None, [0, 1], 1.0])
def test_keys_that_make_no_sense(key):
    stored = StoredArray(DATA, plan_axes(DATA.shape, "CTZYX", None, PATH), PATH)
    with pytest.raises(IndexError):
        stored[key]
    with pytest.raises(IndexError):
        stored[::-1]


def test_damage_that_is_met_when_pixels_are_read_names_the_file():
    class Broken(Counted):
        def __getitem__(self, key):
            msg = "error during blosc decompression"
            raise RuntimeError(msg)

    stored = StoredArray(Broken(DATA), plan_axes(DATA.shape, "CTZYX", None, PATH), PATH)
    with pytest.raises(ImageError, match=r"cells\.zarr is damaged.*blosc"):
        stored[0]
