# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_sam.annotation.array_ports import ArrayImage, ArrayLabels
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import ImageError, LabelsError
from napari_sam.structures.image_digest import image_digest
from napari_sam.structures.labels import LabelEdit

STACK = np.random.default_rng(0).integers(0, 255, (3, 4, 50, 60), dtype=np.uint8)
KEY = PlaneKey((2, 3), (1, 2))


class Counted:
    """An array that counts the pixels that are read of it."""

    def __init__(self, array):
        self._array, self.shape, self.dtype = array, array.shape, array.dtype
        self.n_read = 0

    def __getitem__(self, key):
        part = self._array[key]
        self.n_read += np.size(part)
        return part


def as_zarr(array):
    stored = zarr.create_array(
        {}, shape=array.shape, dtype=array.dtype, chunks=(20,) * 4
    )
    stored[...] = array
    return stored


KINDS = {
    "numpy": lambda array: array,
    "list": lambda array: array.tolist(),
    "dask": lambda array: da.from_array(array, chunks=20),
    "zarr": as_zarr,
}


@pytest.mark.parametrize("kind", KINDS)
def test_planes_of_every_kind_of_array(kind):
    image = ArrayImage(KINDS[kind](STACK))
    assert image.shape == STACK.shape
    assert image.plane_shape(KEY) == (50, 60)
    np.testing.assert_array_equal(image.read_plane(KEY), STACK[1, 2])
    pixels = image.plane_pixels(PlaneKey((0, 3), (2, 5)))
    np.testing.assert_array_equal(pixels.read((1, 7, 3, 30)), STACK[1:3, 2, 5, 7:30])
    if kind != "list":
        assert image.identity == image_digest(STACK)


def test_colours_are_no_axis():
    image = ArrayImage(da.from_array(STACK[..., :3]), is_rgb=True)
    assert image.shape == (3, 4, 50)
    pixels = image.plane_pixels(PlaneKey((1, 2), (2,)))
    np.testing.assert_array_equal(pixels.read((0, 1, 4, 9)), STACK[2, :4, 1:9, :3])
    assert ArrayImage(np.zeros((9, 8, 4), np.uint8)).shape == (9, 8)
    assert ArrayImage(np.zeros((9, 8, 4), np.uint16)).shape == (9, 8, 4)


def test_only_what_is_asked_for_is_read():
    fine, coarse = Counted(STACK), Counted(STACK[..., ::2, ::2])
    image = ArrayImage(fine, coarser=(coarse,))
    pixels = image.plane_pixels(KEY)
    assert pixels.level_shapes == ((50, 60), (25, 30))
    assert fine.n_read == coarse.n_read == 0
    np.testing.assert_array_equal(
        pixels.read((3, 4, 9, 10), 1), STACK[1, 2, ::2, ::2][3:9, 4:10]
    )
    assert (fine.n_read, coarse.n_read) == (0, 36)
    image.read_plane(KEY)
    assert fine.n_read == 3000


def test_the_identity_of_an_image_past_memory_takes_a_few_blocks():
    class Huge:
        shape, dtype = (7, 200_000, 300_000), np.dtype(np.uint16)
        read = ()

        def __getitem__(self, key):
            plane, rows, columns = key
            shape = (rows.stop - rows.start, columns.stop - columns.start)
            self.read += ((plane, *shape),)
            return np.full(shape, plane + rows.start % 999, np.uint16)

    huge = Huge()
    assert ArrayImage(huge).identity == ArrayImage(Huge()).identity
    assert set(huge.read[:32]) == {(0, 16, 16), (3, 16, 16)}
    assert len(huge.read) == 32


def test_planes_that_are_not_there():
    image = ArrayImage(STACK)
    assert image.plane(1, 2) == KEY
    for index in [(1,), (3, 0), (-1, 0), (0, 0, 0)]:
        with pytest.raises(ImageError, match="no plane"):
            image.plane(*index)
    with pytest.raises(ImageError):
        image.plane_pixels(PlaneKey((2, 3), (1, 4)))
    with pytest.raises(ImageError, match="rows and columns"):
        ArrayImage(np.zeros(5))


LABELS = np.zeros((3, 4, 50, 60), np.uint16)
EDIT = LabelEdit((3, 4, 6, 9), np.zeros((3, 5), np.uint16), np.full((3, 5), 9))


@pytest.mark.parametrize("kind", ["numpy", "zarr"])
def test_edits_of_labels(kind):
    array = KINDS[kind](LABELS.copy())
    labels = ArrayLabels(array)
    assert labels.next_id() == 1
    # What others wrote since the edit was made stays.
    array[1, 2, 3:4, 4:5] = 5
    half = LabelEdit(EDIT.box, EDIT.old, np.where(np.eye(3, 5), 0, 9))
    labels.write(KEY, half)
    expected = LABELS.copy()
    expected[1, 2, 3:6, 4:9] = half.new
    expected[1, 2, 3, 4] = 5
    np.testing.assert_array_equal(array[...], expected)
    np.testing.assert_array_equal(labels.read(KEY, EDIT.box), expected[1, 2, 3:6, 4:9])
    assert labels.next_id() == 10
    labels.forget_id(9)
    assert labels.next_id() == 9
    assert ArrayLabels(array).next_id() == 10
    assert ArrayLabels(array, highest_id=41).next_id() == 42


@pytest.mark.parametrize("kind", ["numpy", "zarr"])
def test_edits_that_do_not_fit(kind):
    labels = ArrayLabels(KINDS[kind](LABELS.copy()))
    outside = LabelEdit((48, 0, 51, 5), EDIT.old, EDIT.new)
    with pytest.raises(LabelsError, match="leaves a label image"):
        labels.write(KEY, outside)
    with pytest.raises(LabelsError, match="does not fit"):
        labels.write(KEY, LabelEdit(EDIT.box, EDIT.old, EDIT.new + 2**16))
    assert not labels.array[...].any()


def test_reading_labels_gives_a_copy():
    labels = ArrayLabels(LABELS.copy())
    labels.read(KEY, EDIT.box)[...] = 3
    assert not labels.array.any()


def test_labels_are_integers_and_ids_run_out():
    with pytest.raises(LabelsError, match="integers"):
        ArrayLabels(np.zeros((3, 4)))
    with pytest.raises(LabelsError, match="up to 255"):
        ArrayLabels(np.full((3, 4), 255, np.uint8)).next_id()
    assert ArrayLabels.like(ArrayImage(STACK)).array.shape == STACK.shape
