# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tifffile

from napari_sam.errors import LabelsError, OutputError
from napari_sam.io.images import read_image
from napari_sam.io.labels_tiff import write_labels

RNG = np.random.default_rng(3)


@pytest.mark.parametrize(
    ("highest", "dtype"), [(0, np.uint16), (65535, np.uint16), (65536, np.uint32)]
)
def test_smallest_type_that_fits(tmp_path, highest, dtype):
    labels = np.zeros((20, 30), np.uint32)
    labels[4, 5] = highest
    path = write_labels(tmp_path / "new" / "a.tif", labels)
    found = tifffile.imread(path)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize(
    ("axes", "shape"),
    [("YX", (20, 30)), ("ZYX", (4, 20, 30)), ("TZYX", (2, 3, 20, 30))],
)
def test_axes_and_size_are_kept(tmp_path, axes, shape):
    labels = RNG.integers(0, 9, shape)
    sizes = {"pixel_size_um": (0.25, 0.5), "z_step_um": 2.0 if "Z" in axes else None}
    path = write_labels(tmp_path / "a.tif", labels, axes=axes, **sizes)
    image = read_image(path)
    assert image.axes == axes
    assert image.pixel_size_um == pytest.approx((0.25, 0.5))
    assert image.z_step_um == sizes["z_step_um"]
    np.testing.assert_array_equal(image.data, labels)
    with tifffile.TiffFile(path) as tif:  # for readers that do not know OME
        tags = tif.pages.first.tags
        assert tags["XResolution"].value[0] / tags["XResolution"].value[1] == 20000
        assert tags["ResolutionUnit"].value == 3
        assert tags["Compression"].value == 8


def test_letters_ome_does_not_know(tmp_path):
    labels = RNG.integers(0, 9, (2, 3, 4, 5))
    image = read_image(write_labels(tmp_path / "a.tif", labels, axes="PTYX"))
    assert image.stack_shape == (2, 3)
    np.testing.assert_array_equal(image.data, labels)


@pytest.mark.parametrize(
    ("labels", "axes"),
    [
        (np.zeros((3, 4)), "YX"),
        (np.full((3, 4), -1), "YX"),
        (np.zeros((3, 4), int), "ZYX"),
        (np.zeros((3, 4, 3), int), "YXS"),
        (np.full((3, 4), 2**32), "YX"),
    ],
)
def test_what_is_no_label_image(tmp_path, labels, axes):
    with pytest.raises(LabelsError):
        write_labels(tmp_path / "a.tif", labels, axes=axes)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write"):
        write_labels(tmp_path / "file" / "a.tif", np.zeros((3, 4), int))
    assert (tmp_path / "file").read_text() == "in the way"
