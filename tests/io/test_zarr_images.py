# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

from napari_sam.errors import ImageError
from napari_sam.io.open_image import open_image

RNG = np.random.default_rng(0)
FLAT = RNG.integers(0, 4000, (50, 70), dtype=np.uint16)
DEEP = RNG.integers(0, 4000, (2, 3, 4, 50, 70), dtype=np.uint16)
FORMATS = pytest.mark.parametrize("zarr_format", [2, 3])


def put(group, name, data, **options):
    array = group.create_array(
        name,
        shape=data.shape,
        dtype=data.dtype,
        chunks=tuple(min(side, 16) for side in data.shape),
        **options,
    )
    array[...] = data
    return array


def write_multiscale(path, levels, axes, zarr_format=3, version="0.5", **extra):
    """Write OME-Zarr as other programs do; levels halve rows and columns."""
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    datasets = []
    for number, level in enumerate(levels):
        put(group, f"s{number}", level)
        scale = [1.0] * (level.ndim - 2) + [0.25 * 2**number] * 2
        steps = [{"type": "scale", "scale": scale}]
        steps += [{"type": "translation", "translation": scale}]
        datasets.append({"path": f"s{number}", "coordinateTransformations": steps})
    image = {"axes": axes, "datasets": datasets, "version": version}
    about = {"multiscales": [image], **extra}
    if version == "0.5":
        group.attrs["ome"] = {"version": version, **about}
    else:
        group.attrs.update(about)
    return group


def um(*names):
    kinds = {"t": "time", "c": "channel"}
    return [
        {"name": name, "type": kinds.get(name, "space")}
        | ({} if name in kinds else {"unit": "micrometer"})
        for name in names
    ]


@FORMATS
def test_an_array_alone(zarr_format, tmp_path):
    path = tmp_path / "a.zarr"
    stored = zarr.create_array(
        path, shape=FLAT.shape, dtype=">u2", chunks=(16, 16), zarr_format=zarr_format
    )
    stored[...] = FLAT
    image = open_image(path)
    assert (image.axes, image.plane_shape, image.is_lazy) == ("YX", (50, 70), True)
    np.testing.assert_array_equal(image.data, FLAT)
    pixels = image.plane_pixels()
    np.testing.assert_array_equal(pixels.read((5, 6, 20, 30)), FLAT[5:20, 6:30])


@FORMATS
def test_axes_that_an_array_names(zarr_format, tmp_path):
    path = tmp_path / "a.zarr"
    names = {} if zarr_format == 2 else {"dimension_names": ["y", "x", "channel"]}
    data = np.moveaxis(DEEP[0, :, 0], 0, -1)
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    array = put(group, "image", data, **names)
    if zarr_format == 2:
        array.attrs["_ARRAY_DIMENSIONS"] = ["y", "x", "channel"]
    image = open_image(path)
    assert (image.axes, image.n_channels, image.channel_axis) == ("YXC", 3, 2)
    np.testing.assert_array_equal(image.data, data)
    assert image.notices == ()


def test_several_arrays_without_a_word_about_them(tmp_path):
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w")
    put(group, "list", np.zeros(999))
    put(group.create_group("masks"), "small", FLAT[:9, :9])
    put(group, "stack", DEEP[0])
    with pytest.raises(ImageError, match="3 x 4 x 50 x 70"):
        open_image(path)
    image = open_image(path, axes="CZYX")
    assert image.axes == "ZYXC"
    assert "a.zarr::masks/small" in image.notices[0]
    np.testing.assert_array_equal(image.data[2, ..., 1], DEEP[0, 1, 2])
    other = open_image(f"{path}::masks/small")
    np.testing.assert_array_equal(other.data, FLAT[:9, :9])
    assert np.array_equal(open_image(path / "masks").data, FLAT[:9, :9])
    with pytest.raises(ImageError, match="neither an array nor a group 'no'"):
        open_image(f"{path}::no")


@pytest.mark.parametrize(("zarr_format", "version"), [(2, "0.4"), (3, "0.5")])
def test_ome_zarr_with_all_axes(zarr_format, version, tmp_path):
    path = tmp_path / "a.ome.zarr"
    levels = [DEEP, DEEP[..., ::2, ::2], DEEP[..., ::4, ::4]]
    axes = um("t", "c", "z", "y", "x")
    write_multiscale(path, levels, axes, zarr_format, version)
    image = open_image(path)
    assert image.axes == "TZYXC"
    assert image.stack_shape == (2, 4)
    assert image.pixel_size_um == (0.25, 0.25)
    assert image.z_step_um == 1
    pixels = image.plane_pixels((1, 3))
    assert pixels.level_shapes == ((50, 70), (25, 35), (13, 18))
    expected = np.moveaxis(DEEP[1, :, 3], 0, -1)
    np.testing.assert_array_equal(pixels.read((9, 8, 20, 40)), expected[9:20, 8:40])
    np.testing.assert_array_equal(
        pixels.read((2, 3, 9, 15), 2), expected[::4, ::4][2:9, 3:15]
    )
    for (index, plane), (t, z) in zip(image.planes(), np.ndindex(2, 4), strict=True):
        assert index == (t, z)
        np.testing.assert_array_equal(plane, np.moveaxis(DEEP[t, :, z], 0, -1))


def test_singleton_axes_are_left_out(tmp_path):
    path = tmp_path / "a.zarr"
    write_multiscale(path, [FLAT[None, None, None]], um("t", "c", "z", "y", "x"))
    image = open_image(path)
    assert (image.axes, image.data.shape) == ("YX", (50, 70))
    np.testing.assert_array_equal(image.plane_pixels().read((0, 0, 50, 70)), FLAT)


def test_axes_of_older_versions(tmp_path):
    path = tmp_path / "a.zarr"
    write_multiscale(path, [DEEP[0]], ["c", "z", "y", "x"], 2, "0.3")
    assert open_image(path).axes == "ZYXC"
    write_multiscale(path, [DEEP], None, 2, "0.1")
    assert open_image(path).axes == "TZYXC"


def test_levels_are_sorted_and_those_that_lack_are_told(tmp_path):
    path = tmp_path / "a.zarr"
    group = write_multiscale(path, [FLAT[::2, ::2], FLAT, FLAT[::4, ::4]], um("y", "x"))
    del group["s2"]
    image = open_image(path)
    assert image.plane_pixels().level_shapes == ((50, 70), (25, 35))
    assert image.pixel_size_um == (0.5, 0.5)
    assert "'s2'" in image.notices[0]
    del group["s0"]
    with pytest.raises(ImageError, match=r"pixels in 's0'.*Copy it again"):
        open_image(path)


def test_red_green_and_blue_are_colours(tmp_path):
    path = tmp_path / "a.zarr"
    rgb = DEEP[0, :, 0].astype(np.uint8)
    colours = [{"color": colour} for colour in ("FF0000", "00FF00", "0000FF")]
    axes = um("c", "y", "x")
    write_multiscale(path, [rgb], axes, omero={"channels": colours})
    image = open_image(path)
    assert image.axes == "YXS"
    assert "taken for colours" in image.notices[0]
    np.testing.assert_array_equal(image.data, np.moveaxis(rgb, 0, -1))
    assert open_image(path, axes="CYX").axes == "YXC"
    write_multiscale(path, [rgb], axes, omero={"channels": colours[::-1]})
    assert open_image(path).axes == "YXC"


def test_an_image_that_was_converted_by_bioformats(tmp_path):
    path = tmp_path / "a.zarr"
    root = zarr.open_group(path, mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    write_multiscale(path / "0", [FLAT], um("y", "x"), 2, "0.4")
    assert open_image(path).notices == ()
    write_multiscale(path / "1", [FLAT + 1], um("y", "x"), 2, "0.4")
    image = open_image(path)
    np.testing.assert_array_equal(image.data, FLAT)
    assert "a.zarr::1" in image.notices[0]
    np.testing.assert_array_equal(open_image(f"{path}::1").data, FLAT + 1)


def test_a_plate_is_no_image(tmp_path):
    path = tmp_path / "plate.zarr"
    plate = zarr.open_group(path, mode="w")
    plate.attrs["ome"] = {"plate": {"wells": []}}
    plate.create_group("A/1")
    write_multiscale(path / "A" / "1" / "0", [FLAT], um("y", "x"))
    with pytest.raises(ImageError, match=r"plate or well.*plate\.zarr/A/1/0\."):
        open_image(path)
    assert open_image(path / "A" / "1" / "0").plane_shape == (50, 70)


def test_only_the_chunks_that_are_needed_are_read(tmp_path, monkeypatch):
    path = tmp_path / "a.zarr"
    write_multiscale(path, [DEEP, DEEP[..., ::2, ::2]], um("t", "c", "z", "y", "x"))
    image = open_image(path)
    read = []
    get = zarr.storage.LocalStore.get

    async def counted(self, key, *rest, **options):
        read.append(key)
        return await get(self, key, *rest, **options)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", counted)
    pixels = image.plane_pixels((1, 3))
    pixels.read((0, 0, 16, 16))
    pixels.read((8, 0, 24, 20), 1)
    # Chunks of 16 x 16 hold both times, all channels and all slices.
    assert sorted(read) == [
        "s0/c/0/0/0/0/0",
        "s1/c/0/0/0/0/0",
        "s1/c/0/0/0/0/1",
        "s1/c/0/0/0/1/0",
        "s1/c/0/0/0/1/1",
    ]


def spoil_json(path):
    (path / "zarr.json").write_text("{")


def spoil_datasets(path):
    about = json.loads((path / "zarr.json").read_text())
    about["attributes"]["ome"]["multiscales"][0].pop("datasets")
    (path / "zarr.json").write_text(json.dumps(about))


def spoil_axes(path):
    about = json.loads((path / "zarr.json").read_text())
    about["attributes"]["ome"]["multiscales"][0]["axes"].pop()
    (path / "zarr.json").write_text(json.dumps(about))


def spoil_codec(path):
    about = json.loads((path / "s0" / "zarr.json").read_text())
    about["codecs"].append({"name": "unheard-of", "configuration": {}})
    (path / "s0" / "zarr.json").write_text(json.dumps(about))


@pytest.mark.parametrize("spoil", [spoil_json, spoil_datasets, spoil_axes, spoil_codec])
def test_damaged_metadata(spoil, tmp_path):
    path = tmp_path / "a.zarr"
    write_multiscale(path, [FLAT], um("y", "x"))
    spoil(path)
    with pytest.raises(ImageError, match=r"a\.zarr is damaged"):
        open_image(path)


def test_damaged_pixels_are_met_when_they_are_read(tmp_path):
    path = tmp_path / "a.zarr"
    write_multiscale(path, [FLAT], um("y", "x"))
    pixels = open_image(path).plane_pixels()
    (path / "s0" / "c" / "0" / "0").write_bytes(b"no zstd")
    with pytest.raises(ImageError, match=r"a\.zarr is damaged"):
        pixels.read((0, 0, 20, 20))
    pixels.read((16, 16, 20, 20))


def test_folders_and_arrays_that_are_no_image(tmp_path):
    with pytest.raises(ImageError, match="is a folder"):
        open_image(tmp_path)
    group = zarr.open_group(tmp_path / "e.zarr", mode="w")
    with pytest.raises(ImageError, match="no array at all"):
        open_image(tmp_path / "e.zarr")
    put(group, "c", FLAT.astype(np.complex64))
    with pytest.raises(ImageError, match="complex64"):
        open_image(tmp_path / "e.zarr")
    with pytest.raises(ImageError, match="complex64"):
        open_image(tmp_path / "e.zarr" / "c")
    put(group, "one", FLAT[0])
    with pytest.raises(ImageError, match="rows and columns"):
        open_image(tmp_path / "e.zarr" / "one")
    with pytest.raises(ImageError, match="There is no file"):
        open_image(tmp_path / "no.zarr")
