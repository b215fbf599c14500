# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import sys

import h5py
import numpy as np
import pytest

from napari_sam.errors import ImageError
from napari_sam.io.open_image import open_image

STACK = np.random.default_rng(0).integers(0, 999, (3, 50, 70), dtype=np.uint16)


def write(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file.create_dataset(name.replace("__", "/"), data=data)
    return path


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".ims", ""])
def test_the_only_dataset(suffix, tmp_path):
    path = write(tmp_path / f"a{suffix}", volumes__raw=STACK, list=np.zeros(9))
    image = open_image(path)
    assert (image.axes, image.n_planes, image.is_lazy) == ("QYX", 3, True)
    assert image.notices == ()
    pixels = image.plane_pixels((2,))
    np.testing.assert_array_equal(pixels.read((5, 6, 20, 30)), STACK[2, 5:20, 6:30])


def test_one_of_several(tmp_path):
    path = write(tmp_path / "a.h5", volumes__raw=STACK, labels=STACK[0])
    image = open_image(path)
    assert image.data.shape == (3, 50, 70)
    assert "a.h5::/labels" in image.notices[0]
    for place in ("labels", "/labels"):
        named = open_image(f"{path}::{place}")
        np.testing.assert_array_equal(named.data, STACK[0])
        assert named.notices == ()
    np.testing.assert_array_equal(open_image(f"{path}::volumes").data, STACK)
    with pytest.raises(ImageError, match=r"no dataset 'no'.*a\.h5::/labels"):
        open_image(f"{path}::no")


def test_axes_as_ilastik_notes_them(tmp_path):
    path = write(tmp_path / "a.h5", a=STACK[None])
    tags = {"axes": [{"key": key} for key in "tcyx"]}
    with h5py.File(path, "a") as file:
        file["a"].attrs["axistags"] = json.dumps(tags)
    image = open_image(path)
    assert image.axes == "YXC"
    np.testing.assert_array_equal(image.data, np.moveaxis(STACK, 0, -1))


def test_labels_of_dimensions_and_size_of_pixels(tmp_path):
    path = write(tmp_path / "a.h5", a=STACK)
    with h5py.File(path, "a") as file:
        for axis, label in enumerate(["z", "y", "x"]):
            file["a"].dims[axis].label = label
        file["a"].attrs["element_size_um"] = (2, 0.5, 0.25)
    image = open_image(path)
    assert (image.axes, image.pixel_size_um, image.z_step_um) == ("ZYX", (0.5, 0.25), 2)


@pytest.mark.parametrize("dtype", ["?", "i1", ">i4", "f2", "<f8", "u8"])
def test_odd_types(dtype, tmp_path):
    data = (STACK[0] > 500).astype(dtype)
    image = open_image(write(tmp_path / "a.h5", a=data))
    assert image.data.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(image.data, data)


def test_what_is_no_image(tmp_path):
    with pytest.raises(ImageError, match=r"no image.*names \(2,\)"):
        open_image(write(tmp_path / "a.h5", names=[b"a", b"b"]))
    with pytest.raises(ImageError, match="complex128"):
        open_image(f"{write(tmp_path / 'c.h5', c=STACK[0] * 1j)}::c")
    with pytest.raises(ImageError, match="no array at all"):
        open_image(write(tmp_path / "e.h5"))


def test_damaged_files(tmp_path):
    path = write(tmp_path / "a.h5", a=STACK)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(ImageError, match=r"a\.h5 is damaged or cut off"):
        open_image(path)
    tags = write(tmp_path / "t.h5", a=STACK)
    with h5py.File(tags, "a") as file:
        file["a"].attrs["axistags"] = "{"
    with pytest.raises(ImageError, match=r"t\.h5 is damaged"):
        open_image(tags)


def test_without_h5py_the_way_to_get_it_is_told(tmp_path, monkeypatch):
    path = write(tmp_path / "a.h5", a=STACK)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImageError, match=r"pip install .*\[hdf5\]"):
        open_image(path)
