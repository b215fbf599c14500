# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dask.array as da
import h5py
import numpy as np
import pytest
import zarr

from napari_sam.errors import ImageError
from napari_sam.structures.plane_pixels import ArrayPixels

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 4000, (40, 60), dtype=np.uint16)
COLOUR = RNG.integers(0, 255, (40, 60, 3), dtype=np.uint8)
STACK = RNG.integers(0, 255, (2, 3, 5, 40, 60), dtype=np.uint8)
BOX = (3, 10, 9, 24)


class Counted:
    """An array that counts the pixels that are read of it."""

    def __init__(self, array):
        self._array, self.shape, self.dtype = array, array.shape, array.dtype
        self.n_read = 0

    def __getitem__(self, key):
        part = self._array[key]
        self.n_read += np.size(part)
        return part


def as_zarr(array, path, zarr_format):
    chunks = (8,) * array.ndim
    made = zarr.create_array(
        path,
        shape=array.shape,
        dtype=array.dtype,
        chunks=chunks,
        zarr_format=zarr_format,
    )
    made[...] = array
    return zarr.open_array(path, mode="r")


def as_hdf5(array, path):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=array, chunks=(2,) * array.ndim)
    return h5py.File(path, "r")["a"]


def as_memmap(array, path):
    made = np.memmap(path, array.dtype, "w+", shape=array.shape)
    made[...] = array
    return np.memmap(path, array.dtype, "r", shape=array.shape)


KINDS = {
    "numpy": lambda array, path: array,
    "fortran": lambda array, path: np.asfortranarray(array),
    "memmap": as_memmap,
    "dask": lambda array, path: da.from_array(array, chunks=(7,) * array.ndim),
    "zarr 2": lambda array, path: as_zarr(array, path, 2),
    "zarr 3": lambda array, path: as_zarr(array, path, 3),
    "hdf5": as_hdf5,
}


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_of_every_kind_of_array(kind, tmp_path):
    y0, x0, y1, x1 = BOX
    grey = ArrayPixels((KINDS[kind](GREY, tmp_path / "g"),))
    np.testing.assert_array_equal(grey.read(BOX), GREY[y0:y1, x0:x1])
    assert grey.shape == (40, 60)
    assert grey.dtype == np.uint16
    colour = ArrayPixels((KINDS[kind](COLOUR, tmp_path / "c"),))
    np.testing.assert_array_equal(colour.read(BOX), COLOUR[y0:y1, x0:x1])
    stack = KINDS[kind](STACK, tmp_path / "s")
    plane = ArrayPixels((stack,), axes=(3, 4), channel_axis=1, index=(1, 4))
    expected = np.moveaxis(STACK[1, :, 4, y0:y1, x0:x1], 0, -1)
    np.testing.assert_array_equal(plane.read(BOX), expected)
    two = plane.only((2, 0)).read(BOX)
    np.testing.assert_array_equal(two, expected[..., [2, 0]])


@pytest.mark.parametrize(
    ("axes", "channel_axis", "index", "expected"),
    [
        ((0, 4), None, (1, 2, 3), STACK[:, 1, 2, 3, :]),
        ((4, 0), None, (1, 2, 3), STACK[:, 1, 2, 3, :].T),
        ((0, 3), 4, (1, 2), STACK[:, 1, 2]),
        ((3, 4), -5, (1, 2), np.moveaxis(STACK[:, 1, 2], 0, -1)),
    ],
)
def test_any_axes_can_be_rows_columns_and_channels(axes, channel_axis, index, expected):
    plane = ArrayPixels((STACK,), axes=axes, channel_axis=channel_axis, index=index)
    assert plane.shape == expected.shape[:2]
    assert plane.n_channels == (expected.shape[2] if expected.ndim == 3 else None)
    height, width = plane.shape
    np.testing.assert_array_equal(plane.read((0, 0, height, width)), expected)


def test_singleton_channels_and_planes():
    one = ArrayPixels((GREY[None],), channel_axis=0)
    assert one.read(BOX).shape == (6, 14, 1)
    flat = ArrayPixels((GREY[None],), axes=(1, 2), index=(0,))
    assert flat.read(BOX).shape == (6, 14)


def test_only_the_box_and_the_channels_are_read():
    counted = Counted(STACK)
    plane = ArrayPixels((counted,), axes=(3, 4), channel_axis=1, index=(0, 2))
    assert counted.n_read == 0
    plane.read(BOX)
    assert counted.n_read == 6 * 14 * 3
    plane.only((2,)).read(BOX)
    assert counted.n_read == 6 * 14 * 4
    # The same channel twice is read once, channels apart are not read with the others.
    plane.only((2, 0, 2)).read(BOX)
    assert counted.n_read == 6 * 14 * 6


def test_levels_are_read_in_their_own_pixels():
    fine, coarse = Counted(STACK), Counted(STACK[:, :, ::2, ::2, ::2].astype(float) / 2)
    plane = ArrayPixels((fine, coarse), axes=(3, 4), index=(1, 2, 4))
    assert plane.level_shapes == ((40, 60), (20, 30))
    found = plane.read((2, 3, 10, 9), level=1)
    # Plane 4 of 5 lies on plane 2 of 3; fractions become numbers of the finest level.
    expected = (STACK[1, 2, 4, ::2, ::2][2:10, 3:9] / 2).astype(np.uint8)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint8
    assert (fine.n_read, coarse.n_read) == (0, 48)


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (np.zeros(5), {}),
        (np.zeros((0, 5)), {}),
        (np.zeros((5, 6, 7)), {}),
        (np.zeros((2, 5, 6)), {"axes": (1, 2)}),
        (np.zeros((2, 5, 6)), {"axes": (1, 1), "index": (0,)}),
        (np.zeros((2, 5, 6)), {"axes": (1, 2), "index": (2,)}),
        (np.zeros((2, 5, 6)), {"axes": (1, 2), "index": (-1,)}),
        (np.zeros((2, 5, 6)), {"channel_axis": 3}),
        (np.zeros((5, 6)), {"channel_axis": 0}),
        (np.zeros((2, 5, 6)), {"channel_axis": 0, "channels": (2,)}),
        (np.zeros((2, 5, 6)), {"channel_axis": 0, "channels": ()}),
        (np.zeros((5, 6)), {"channels": (0,)}),
    ],
)
def test_what_is_no_plane_is_refused(array, options):
    with pytest.raises(ImageError):
        ArrayPixels((array,), **options)


def test_levels_without_a_common_axis_are_refused():
    with pytest.raises(ImageError, match="same axes"):
        ArrayPixels((STACK, GREY), axes=(3, 4), index=(0, 0, 0))


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, 0, 41, 5), (5, 5, 5, 9)])
def test_boxes_beside_the_plane_are_refused(box):
    with pytest.raises(ImageError, match="40 x 60"):
        ArrayPixels((GREY,)).read(box)


def test_channels_of_an_image_without_channels():
    with pytest.raises(ImageError, match="without channels"):
        ArrayPixels((GREY,)).only((0,))
