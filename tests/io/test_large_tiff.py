# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_sam.errors import ImageError
from napari_sam.io import large_tiff
from napari_sam.io.images import read_image
from napari_sam.io.open_image import open_image

RNG = np.random.default_rng(0)
FLAT = RNG.integers(0, 4000, (90, 130), dtype=np.uint16)
STACK = RNG.integers(0, 4000, (2, 3, 4, 90, 130), dtype=np.uint16)
RGB = RNG.integers(0, 255, (96, 128, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _everything_is_large(monkeypatch):
    monkeypatch.setattr(large_tiff, "MAX_MEMORY_BYTES", 1)


def write_pyramid(path, data, n_levels=3, **options):
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        common = {"tile": (32, 32), "compression": "zlib", "photometric": "rgb"}
        tif.write(data, subifds=n_levels - 1, **common, **options)
        for level in range(1, n_levels):
            step = 2**level
            coarse = np.ascontiguousarray(data[::step, ::step])
            tif.write(coarse, subfiletype=1, **common)
    return path


WAYS = {
    "in one piece": {},
    "big endian": {"byteorder": ">"},
    "big tiff": {"bigtiff": True},
    "tiled": {"tile": (32, 32)},
    "compressed tiles": {"tile": (32, 32), "compression": "zlib", "predictor": True},
    "strips": {"rowsperstrip": 7, "compression": "zlib"},
}


@pytest.mark.parametrize("way", WAYS)
def test_pixels_are_those_of_reading_at_once(way, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, FLAT, resolution=(20000, 40000), **WAYS[way])
    image, expected = open_image(path), read_image(path)
    assert image.is_lazy
    assert not expected.is_lazy
    assert (image.axes, image.pixel_size_um) == (expected.axes, expected.pixel_size_um)
    pixels = image.plane_pixels()
    np.testing.assert_array_equal(pixels.read((5, 6, 80, 70)), FLAT[5:80, 6:70])
    np.testing.assert_array_equal(image.data, FLAT)


@pytest.mark.parametrize("kind", ["ome", "imagej"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_stacks_with_metadata(kind, compression, tmp_path):
    path = tmp_path / "a.ome.tif"
    axes = "TCZYX" if kind == "ome" else "TZCYX"
    data = STACK if kind == "ome" else STACK.transpose(0, 2, 1, 3, 4)
    options = {kind: True, "metadata": {"axes": axes}, "compression": compression}
    tifffile.imwrite(path, data, photometric="minisblack", **options)
    image, expected = open_image(path), read_image(path)
    assert image.axes == expected.axes == "TZYXC"
    np.testing.assert_array_equal(image.data, expected.data)
    plane = image.plane_pixels((1, 2)).read((8, 9, 50, 60))
    np.testing.assert_array_equal(plane, expected.data[1, 2, 8:50, 9:60])


def test_pyramids(tmp_path):
    image = open_image(write_pyramid(tmp_path / "a.tif", RGB))
    assert image.axes == "YXS"
    pixels = image.plane_pixels()
    assert pixels.level_shapes == ((96, 128), (48, 64), (24, 32))
    np.testing.assert_array_equal(pixels.read((40, 0, 90, 99)), RGB[40:90, :99])
    np.testing.assert_array_equal(
        pixels.read((4, 5, 20, 30), 2), RGB[::4, ::4][4:20, 5:30]
    )


def test_only_the_tiles_that_are_needed_are_decoded(tmp_path, monkeypatch):
    image = open_image(write_pyramid(tmp_path / "a.tif", RGB))
    read = []
    get = tifffile.zarr.ZarrTiffStore.get

    async def counted(self, key, *rest, **options):
        read.append(key)
        return await get(self, key, *rest, **options)

    monkeypatch.setattr(tifffile.zarr.ZarrTiffStore, "get", counted)
    pixels = image.plane_pixels()
    pixels.read((33, 40, 60, 60))
    pixels.read((0, 0, 10, 40), 1)
    assert sorted(read) == ["0/1.1.0", "1/0.0.0", "1/0.1.0"]


def test_small_files_and_palettes_are_read_at_once(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    palette = np.arange(3 * 256, dtype=np.uint16).reshape(3, 256)
    tifffile.imwrite(path, RGB[..., 0], colormap=palette * 80)
    image = open_image(path)
    assert not image.is_lazy
    assert image.axes == "YXS"
    monkeypatch.undo()
    tifffile.imwrite(path, FLAT, tile=(32, 32))
    assert not open_image(path).is_lazy


def test_other_series_are_told(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(FLAT, tile=(32, 32))
        tif.write(RGB, photometric="rgb")
    (notice,) = open_image(path).notices
    assert "2 images (90x130, 96x128x3)" in notice


def test_files_that_are_cut_off(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, FLAT)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(ImageError, match=r"a\.tif is damaged"):
        open_image(path)
    tifffile.imwrite(path, FLAT, tile=(32, 32), compression="zlib", ome=True)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        start = tif.pages[0].dataoffsets[0]
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    pixels = open_image(path).plane_pixels()
    with pytest.raises(ImageError, match=r"a\.tif is damaged"):
        pixels.read((0, 0, 9, 9))


def test_a_place_inside_makes_no_sense(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FLAT)
    with pytest.raises(ImageError, match="neither a zarr folder nor an HDF5"):
        open_image(f"{tmp_path / 'a.tif'}::0")
