# SPDX-License-Identifier: Apache-2.0
"""Of a TIFF stack only the planes that are asked for are decoded."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam.errors import ImageError
from napari_sam.io.open_image import open_image
from napari_sam.training.samples import SampleSet, find_samples
from napari_sam.training.sources import from_files, open_pair
from napari_sam.training.tiff_stacks import open_stack

N, SHAPE = 8, (64, 80)


def stack():
    rng = np.random.default_rng(0)
    return rng.integers(0, 60_000, (N, *SHAPE), np.uint16)


def squares():
    labels = np.zeros((N, *SHAPE), np.uint16)
    labels[:, 10:20, 10:20], labels[:, 30:50, 30:50] = 1, 2
    return labels


@pytest.fixture
def n_bytes(monkeypatch):
    """Count the bytes that tifffile reads."""
    counted = [0]
    read = tifffile.FileHandle.read

    def counting(self, *words, **more):
        found = read(self, *words, **more)
        counted[0] += len(found)
        return found

    monkeypatch.setattr(tifffile.FileHandle, "read", counting)
    return counted


def write(folder, **how):
    tifffile.imwrite(folder / "image.tif", stack(), photometric="minisblack", **how)
    tifffile.imwrite(folder / "labels.tif", squares(), photometric="minisblack", **how)
    return folder / "image.tif", folder / "labels.tif"


def test_a_plane_of_a_compressed_stack_is_read_alone_and_once(tmp_path, n_bytes):
    paths = write(tmp_path, compression="zlib")
    page = paths[0].stat().st_size / N
    samples = find_samples([from_files(*paths)])
    assert len(samples) == N
    assert n_bytes[0] < 1.6 * N * page  # labels and headers are small
    found = SampleSet(samples)
    found[0]  # opens the files
    for number in (3, 6, 1):
        n_bytes[0] = 0
        image = found[number]
        assert (image.labels == squares()[number]).all()
        assert 0.9 * page < n_bytes[0] < 1.6 * page


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"compression": "zlib"},
        {"compression": "zlib", "tile": (16, 16)},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "TYX"}, "compression": "zlib"},
        {"bigtiff": True, "byteorder": ">"},
    ],
)
def test_it_is_the_same_as_read_at_once(tmp_path, how):
    path, _ = write(tmp_path, **how)
    axes = None if "metadata" in how else "ZYX"
    lazy, whole = open_stack(path, axes), open_image(path, axes=axes)
    assert not whole.is_lazy
    assert (lazy.axes, lazy.stack_shape) == (whole.axes, whole.stack_shape)
    assert lazy.pixel_size_um == whole.pixel_size_um
    for number in range(N):
        box = (3, 5, 60, 71)
        ours, theirs = (
            each.plane_pixels((number,)).read(box) for each in (lazy, whole)
        )
        assert (ours == theirs).all()
        assert (ours == stack()[number, 3:60, 5:71]).all()


def test_colours_and_channels_keep_their_meaning(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "colours.tif"
    colours = rng.integers(0, 255, (3, *SHAPE, 3), np.uint8)
    tifffile.imwrite(path, colours, photometric="rgb", compression="zlib")
    opened = open_stack(path)
    assert (opened.stack_shape, opened.channel_axis) == ((3,), None)
    assert (opened.plane_pixels((2,)).read((0, 0, *SHAPE)) == colours[2]).all()
    channels = rng.integers(0, 255, (2, 4, *SHAPE)).astype(np.uint16)
    tifffile.imwrite(path, channels, imagej=True, metadata={"axes": "ZCYX"})
    opened = open_stack(path)
    assert (opened.stack_shape, opened.channel_axis) == ((2,), 2)
    found = opened.plane_pixels((1,)).read((0, 0, *SHAPE))
    assert (found == channels[1].transpose(1, 2, 0)).all()


def test_damage_in_one_plane_does_not_matter_to_the_others(tmp_path):
    paths = write(tmp_path, compression="zlib")
    with tifffile.TiffFile(paths[0]) as tif:
        page = tif.pages[4]
        start = page.dataoffsets[0]
    data = bytearray(paths[0].read_bytes())
    data[start : start + 40] = b"x" * 40
    paths[0].write_bytes(bytes(data))
    planes, stays_open = open_pair(*paths)
    assert not stays_open
    planes[5].pixels.read((0, 0, *SHAPE))
    with pytest.raises(ImageError, match=r"image\.tif is damaged"):
        planes[4].pixels.read((0, 0, *SHAPE))


def test_all_else_is_left_to_the_reader_of_whole_files(tmp_path):
    flat = tmp_path / "flat.tif"
    tifffile.imwrite(flat, stack()[0])
    png = tmp_path / "flat.png"
    Image.fromarray(stack()[0].astype(np.uint8)).save(png)
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"II*\0garbage")
    mask = tmp_path / "mask.tif"
    tifffile.imwrite(mask, squares() > 0, photometric="minisblack")
    found = [
        open_stack(p) for p in (flat, png, bad, mask, tmp_path / "no.tif", tmp_path)
    ]
    assert found == [None] * 6
