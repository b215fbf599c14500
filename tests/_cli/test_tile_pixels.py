# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pickle

import h5py
import numpy as np
import pytest
import zarr

from napari_sam._cli.tile_pixels import FilePixels, PixelsOfTile, stamp_of


def write(path, value):
    """Put another file in the place of an older one."""
    new = path.with_suffix(".new")
    with h5py.File(new, "w") as file:
        pixels = np.full((64, 64), value, np.uint8)
        file.create_dataset("a", data=pixels, chunks=(32, 32))
    new.replace(path)


def travelled(pixels):
    return pickle.loads(pickle.dumps(pixels))


def test_a_replaced_file_is_opened_anew(tmp_path):
    path = tmp_path / "x.h5"
    write(path, 1)
    before = travelled(FilePixels(str(path), None, ()))
    assert before.read((0, 0, 1, 1)) == 1
    write(path, 9)
    after = travelled(FilePixels(str(path), None, ()))
    assert after.read((0, 0, 1, 1)) == 9
    assert after.shape == (64, 64)


def test_the_stamp_is_that_of_the_array_that_is_read(tmp_path):
    path = tmp_path / "x.zarr"
    group = zarr.open_group(path, mode="w")
    for name, side in (("small", 8), ("large", 32)):
        group.create_array(name, data=np.zeros((side, side), np.uint8), chunks=(8, 8))
    metadata = (path / "large" / "zarr.json").stat()
    assert stamp_of(path) == (metadata.st_size, metadata.st_mtime_ns)
    inside = (path / "small" / "zarr.json").stat()
    assert stamp_of(f"{path}::small") == (inside.st_size, inside.st_mtime_ns)


def test_a_file_that_is_gone(tmp_path):
    with pytest.raises(FileNotFoundError):
        FilePixels(str(tmp_path / "no.tif"), None, ())


def test_pixels_of_a_tile_are_read_by_boxes_of_the_image():
    rgb = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    tile = PixelsOfTile((40, 50), (10, 20, 30, 45), rgb[10:30, 20:45])
    np.testing.assert_array_equal(
        travelled(tile).read((12, 21, 20, 40)), rgb[12:20, 21:40]
    )
