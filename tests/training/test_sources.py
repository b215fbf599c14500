# SPDX-License-Identifier: Apache-2.0
"""Arrays, files, folders and tables become planes with labels, or a clear error."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_sam.errors import ImageError, LabelsError
from napari_sam.prediction.intensity import to_rgb
from napari_sam.training.sources import (
    from_arrays,
    from_files,
    from_folders,
)

SHAPE = (40, 50)


def squares(n: int = 2) -> np.ndarray:
    """Squares of 8 x 8 pixels side by side, numbered from 1."""
    labels = np.zeros(SHAPE, np.uint16)
    for i in range(n):
        labels[5:13, 3 + 12 * i : 11 + 12 * i] = i + 1
    return labels


def grey(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random(SHAPE) * 4000).astype(np.uint16)


def read(plane):
    box = (0, 0, *plane.pixels.shape)
    return plane.pixels.read(box), plane.labels.read(box)


def test_flat_image_is_shown_as_the_plugin_shows_it():
    (plane,) = from_arrays(grey(), squares()).open()
    pixels, labels = read(plane)
    assert pixels.dtype == np.uint8
    assert (pixels == to_rgb(grey())).all()
    assert (labels == squares()).all()
    assert plane.where == ""


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_are_told_by_the_labels(channels):
    image = np.random.default_rng(0).integers(0, 255, (*SHAPE, channels), np.uint8)
    (plane,) = from_arrays(image, squares()).open()
    assert (read(plane)[0] == image[:, :, :3]).all()


def test_stack_of_three_planes_is_no_colour_picture():
    image = np.stack([grey(i) for i in range(3)], axis=0)
    labels = np.stack([squares(i) for i in range(3)], axis=0)
    planes = from_arrays(image, labels).open()
    assert [plane.where for plane in planes] == ["0", "1", "2"]
    for i, plane in enumerate(planes):
        pixels, found = read(plane)
        assert (pixels == to_rgb(grey(i))).all()
        assert (found == squares(i)).all()


def test_stack_of_colours_and_channels_of_a_microscope():
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (2, *SHAPE, 3), np.uint8)
    labels = np.stack([squares(), squares(3)])
    planes = from_arrays(colours, labels).open()
    assert (read(planes[1])[0] == colours[1]).all()
    channels = rng.integers(0, 4000, (2, 5, *SHAPE)).astype(np.uint16)
    planes = from_arrays(channels, labels, channel_axis=1).open()
    pixels, found = read(planes[1])
    assert (pixels == to_rgb(channels[1], channel_axis=0)).all()
    assert (found == squares(3)).all()


def test_two_channels_make_red_and_green():
    image = np.stack([grey(0), grey(1)])
    (plane,) = from_arrays(image, squares(), channel_axis=0).open()
    assert (read(plane)[0] == to_rgb(image, channel_axis=0)).all()


@pytest.mark.parametrize(
    ("image", "labels", "text"),
    [
        (np.zeros((4, 5)), np.zeros((4, 6), int), "4 x 6"),
        (np.zeros((3, 4, 5)), np.zeros((4, 5), int), "do not fit"),
        (np.zeros((4, 5)), np.zeros((4, 5)), "whole numbers"),
        (np.zeros((4, 5)), [[1, 2]], "not list"),
        (np.zeros((4, 5)), np.zeros((0, 5), int), "shape (0, 5)"),
    ],
)
def test_arrays_that_do_not_fit(image, labels, text):
    with pytest.raises(LabelsError) as caught:
        from_arrays(image, labels, name="my layer")
    assert text in str(caught.value)
    assert "my layer" in str(caught.value)


def test_levels_of_a_multiscale_layer_are_refused():
    with pytest.raises(ImageError, match="finest level"):
        from_arrays([grey(), grey()], squares())


@pytest.fixture
def folders(tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for i, name in enumerate("abc"):
        tifffile.imwrite(images / f"{name}.tif", grey(i))
        tifffile.imwrite(labels / f"{name}_labels.tif", squares(i + 1))
    return images, labels


def test_folders_are_matched_by_name(folders):
    (folders[0] / "alone.png").write_bytes((folders[0] / "a.tif").read_bytes())
    found = from_folders(*folders)
    assert [image.name for image in found] == ["a", "b", "c"]
    (plane,) = found[2].open()
    assert (read(plane)[1] == squares(3)).all()
    assert [image.name for image in from_folders(*folders, names=["b"])] == ["b"]


def test_palette_of_a_label_image_is_no_colour(tmp_path):
    picture = Image.fromarray(squares().astype(np.uint8), mode="P")
    picture.putpalette([i for n in range(256) for i in (n, 255 - n, 7)])
    picture.save(tmp_path / "labels.png")
    tifffile.imwrite(tmp_path / "image.tif", grey())
    (plane,) = from_files(tmp_path / "image.tif", tmp_path / "labels.png").open()
    assert (read(plane)[1] == squares()).all()


def test_zarr_is_read_piece_by_piece(tmp_path):
    for name, stack in (("image", grey), ("labels", squares)):
        data = np.stack([stack(1), stack(2)])
        array = zarr.create_array(
            tmp_path / f"{name}.zarr", shape=data.shape, chunks=(1, 8, 8), dtype="u2"
        )
        array[:] = data
    source = from_folders(tmp_path / "image.zarr", tmp_path / "labels.zarr")[0]
    planes = source.open()
    assert len(planes) == 2
    assert source.open() is planes, "what is lazy stays open"
    # Only what is asked for is read: a damaged chunk is met where it lies.
    (tmp_path / "image.zarr" / "c" / "1" / "4" / "0").write_bytes(b"no chunk")
    assert (read(planes[0])[0] == to_rgb(grey(1))).all()
    with pytest.raises(ImageError, match=r"image\.zarr"):
        read(planes[1])


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (np.zeros((4, 4), np.uint16), "4 x 4"),
        (np.zeros(SHAPE, np.float32), "float32"),
        (np.zeros((*SHAPE, 3), np.uint8), "3 channels"),
        (np.zeros((2, *SHAPE), np.uint16), "do not fit"),
    ],
)
def test_label_files_that_do_not_fit(tmp_path, labels, text):
    tifffile.imwrite(tmp_path / "image.tif", grey())
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    with pytest.raises(LabelsError) as caught:
        from_files(tmp_path / "image.tif", tmp_path / "labels.tif").open()
    assert text in str(caught.value)
    assert "labels.tif" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path, folders):
    (tmp_path / "bad.tif").write_bytes(b"II*\0garbage")
    with pytest.raises(ImageError, match=r"bad\.tif"):
        from_files(tmp_path / "bad.tif", folders[1] / "a_labels.tif").open()
    with pytest.raises(ImageError, match=r"bad\.tif"):
        from_files(folders[0] / "a.tif", tmp_path / "bad.tif").open()


@pytest.mark.parametrize(
    ("images", "labels", "text"),
    [
        ("no", "labels", "no folder"),
        ("images/a.tif", "labels", "two of a kind"),
        ("images/a.tif", "no.tif", "There is no"),
        ("images/a.tif::x", "labels/a_labels.tif", "neither zarr nor HDF5"),
        ("images", "images", "No image in"),
    ],
)
def test_places_that_do_not_fit(folders, tmp_path, images, labels, text):
    with pytest.raises(ImageError, match=text):
        from_folders(tmp_path / images, tmp_path / labels)
