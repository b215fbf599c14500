# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam.errors import ImageError
from napari_sam.io.images import read_image
from napari_sam.io.pixel_size import PixelSize

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 255, (30, 40)).astype(np.uint8)
RGB = RNG.integers(0, 255, (30, 40, 3)).astype(np.uint8)
STACK = RNG.integers(0, 65535, (4, 30, 40)).astype(np.uint16)


@pytest.mark.parametrize(
    ("pixels", "axes"), [(GREY, "YX"), (RGB, "YXS")], ids=["grey", "rgb"]
)
@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_lossless_formats_come_back_exactly(tmp_path, pixels, axes, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path)
    image = read_image(path)
    assert image.axes == axes
    assert image.data.dtype == np.uint8
    np.testing.assert_array_equal(image.data, pixels)
    assert image.n_planes == 1
    assert image.plane_shape == (30, 40)


def test_jpeg_has_colours(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path)
    image = read_image(path)
    assert image.axes == "YXS"
    assert image.n_channels == 3


def test_sixteen_bit_png(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(STACK[0]).save(path)
    image = read_image(path)
    assert image.data.dtype == np.uint16
    np.testing.assert_array_equal(image.data, STACK[0])


def test_transparency_is_dropped(tmp_path):
    rgba = np.dstack([RGB, np.full((30, 40), 7, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.png").data, RGB)
    Image.fromarray(np.dstack([GREY, GREY]), mode="LA").save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "la.png").data, GREY)


def test_palette_and_one_bit_become_plain_numbers(tmp_path):
    Image.fromarray(RGB).quantize(16).save(tmp_path / "p.png")
    assert read_image(tmp_path / "p.png").axes == "YXS"
    Image.fromarray(GREY > 100).save(tmp_path / "1.png")
    bits = read_image(tmp_path / "1.png")
    np.testing.assert_array_equal(bits.data, np.where(GREY > 100, 255, 0))


def _palette_tiff(path, **options):
    palette = np.zeros((3, 256), np.uint16)
    palette[:, 7] = (255 * 257, 128 * 257, 0)
    indices = np.where(GREY > 100, 7, 0).astype(np.uint8)
    tifffile.imwrite(path, indices, photometric="palette", colormap=palette, **options)
    return indices


def test_palette_tiff_has_the_colours_of_its_palette(tmp_path):
    indices = _palette_tiff(tmp_path / "p.tif")
    image = read_image(tmp_path / "p.tif")
    assert image.axes == "YXS"
    assert image.data.dtype == np.uint8
    assert np.unique(image.data[indices == 7], axis=0).tolist() == [[255, 128, 0]]
    assert not image.data[indices == 0].any()


def test_palette_with_8_bit_entries(tmp_path):
    palette = np.repeat(np.arange(256, dtype=np.uint16)[None], 3, axis=0)
    tifffile.imwrite(tmp_path / "p.tif", GREY, photometric="palette", colormap=palette)
    np.testing.assert_array_equal(read_image(tmp_path / "p.tif").data[..., 1], GREY)


def test_labels_keep_the_numbers_of_a_palette(tmp_path):
    indices = _palette_tiff(tmp_path / "p.tif")
    read = read_image(tmp_path / "p.tif", as_labels=True)
    np.testing.assert_array_equal(read.data, indices)
    picture = Image.fromarray(indices)
    picture.putpalette(list(range(256)) * 3)
    picture.save(tmp_path / "p.png")
    read = read_image(tmp_path / "p.png", as_labels=True)
    np.testing.assert_array_equal(read.data, indices)


def test_imagej_palettes_are_only_how_to_show_intensities(tmp_path):
    indices = _palette_tiff(tmp_path / "p.tif", description="ImageJ=1.53t\n")
    np.testing.assert_array_equal(read_image(tmp_path / "p.tif").data, indices)


def test_several_images_in_a_tiff_are_told(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(GREY, metadata=None)
        writer.write(STACK[0, :9, :8], metadata=None)
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.data, GREY)
    (notice,) = image.notices
    assert "a.tif holds 2 images (30x40, 9x8); only the first is read" in notice
    tifffile.imwrite(tmp_path / "b.tif", STACK)
    assert read_image(tmp_path / "b.tif").notices == ()


def test_frames_of_an_animation_are_planes(tmp_path):
    frames = [Image.fromarray(np.full((9, 8), v, np.uint8)) for v in (10, 200, 90)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    image = read_image(tmp_path / "a.gif")
    assert image.plane_axes == "T"
    assert image.stack_shape == (3,)


def test_imagej_stack_with_sizes(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        STACK,
        imagej=True,
        resolution=(1 / 0.5, 1 / 0.25),
        metadata={"axes": "ZYX", "unit": "um", "spacing": 2.0},
    )
    image = read_image(path)
    assert image.axes == "ZYX"
    assert image.pixel_size_um == pytest.approx((0.25, 0.5))
    assert image.z_step_um == 2.0
    planes = list(image.planes())
    assert [index for index, _ in planes] == [(0,), (1,), (2,), (3,)]
    np.testing.assert_array_equal(planes[2][1], STACK[2])


def test_ome_units(tmp_path):
    path = tmp_path / "a.ome.tif"
    metadata = {
        "axes": "TYX",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 500,
        "PhysicalSizeYUnit": "nm",
    }
    tifffile.imwrite(path, STACK, ome=True, compression="zlib", metadata=metadata)
    image = read_image(path)
    assert image.plane_axes == "T"
    assert image.pixel_size_um == pytest.approx((0.5, 0.5))
    assert image.z_step_um is None


def test_screen_resolution_is_no_pixel_size(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.tif", dpi=(300, 300))
    assert read_image(tmp_path / "a.tif").pixel_size_um is None
    tifffile.imwrite(
        tmp_path / "b.tif",
        GREY,
        resolution=(20000, 20000),
        resolutionunit="CENTIMETER",
    )
    assert read_image(tmp_path / "b.tif").pixel_size_um == pytest.approx((0.5, 0.5))


def test_channels_go_last_and_are_no_planes(tmp_path):
    data = RNG.integers(0, 255, (5, 2, 30, 40)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", data, imagej=True, metadata={"axes": "ZCYX"})
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "ZYXC"
    assert image.n_channels == 2
    np.testing.assert_array_equal(image.data[3, ..., 1], data[3, 1])


def test_planar_rgb_tiff(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        RGB.transpose(2, 0, 1),
        photometric="rgb",
        planarconfig="separate",
    )
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "YXS"
    np.testing.assert_array_equal(image.data, RGB)


def test_one_unknown_axis_is_a_stack(tmp_path):
    data = np.concatenate([STACK, STACK[:2]])
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page in data:
            writer.write(page, contiguous=False, metadata=None)
    image = read_image(tmp_path / "a.tif")
    assert image.stack_shape == (6,)
    np.testing.assert_array_equal(image.data, data)


def test_more_axes_than_can_be_placed(tmp_path):
    data = np.zeros((2, 3, 2, 30, 40), np.uint8)
    data[1, 2, 0] = 9
    tifffile.imwrite(tmp_path / "a.tif", data)
    with pytest.raises(ImageError, match=r"2 x 3 x 2 x 30 x 40.*--axes"):
        read_image(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif", axes="tzcyx")
    assert image.axes == "TZYXC"
    assert image.stack_shape == (2, 3)
    assert (image.data[1, 2, ..., 0] == 9).all()


@pytest.mark.parametrize("axes", ["YX", "ZZYX", "TZCA", "TZYX1", "TZYXCS"])
def test_axes_that_do_not_fit(tmp_path, axes):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 3, 2, 30, 40), np.uint8))
    with pytest.raises(ImageError, match="--axes"):
        read_image(tmp_path / "a.tif", axes=axes)


def test_axes_may_leave_out_those_of_length_one(tmp_path):
    data = np.zeros((1, 6, 1, 30, 40), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", data, imagej=True, metadata={"axes": "TZCYX"})
    image = read_image(tmp_path / "a.tif", axes="CYX")
    assert image.axes == "YXC"
    assert image.n_channels == 6


def test_both_channels_and_colours_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 30, 40, 3), np.uint8))
    with pytest.raises(ImageError, match="both channels"):
        read_image(tmp_path / "a.tif", axes="CYXS")


def test_compression_beyond_tifffile_goes_through_pillow(tmp_path):
    pages = [Image.fromarray(plane) for plane in STACK]
    pages[0].save(
        tmp_path / "a.tif",
        compression="tiff_lzw",
        save_all=True,
        append_images=pages[1:],
    )
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.data, STACK)


def test_complex_numbers_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", (GREY + 1j).astype(np.complex64))
    with pytest.raises(ImageError, match=r"complex64.*magnitude"):
        read_image(tmp_path / "a.tif")


def test_float_images_keep_their_numbers(tmp_path):
    data = RNG.normal(size=(30, 40)).astype(np.float32)
    data[0, 0] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", data)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, data)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_thin_images_keep_rows_and_columns(tmp_path, shape, suffix):
    Image.fromarray(np.ones(shape, np.uint8)).save(tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}")
    assert image.axes == "YX"
    assert image.plane_shape == shape


def test_missing_empty_folder_and_foreign_files(tmp_path):
    with pytest.raises(ImageError, match="There is no file"):
        read_image(tmp_path / "no.tif")
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)
    (tmp_path / "empty.tif").touch()
    with pytest.raises(ImageError, match="is empty"):
        read_image(tmp_path / "empty.tif")
    (tmp_path / "text.png").write_text("these are no pixels")
    with pytest.raises(ImageError, match="not an image that can be read"):
        read_image(tmp_path / "text.png")
    (tmp_path / "short.tif").write_bytes(b"II*\0")
    with pytest.raises(ImageError, match=r"damaged or cut off"):
        read_image(tmp_path / "short.tif")


def test_content_counts_not_the_name(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, GREY)


def _kinds(folder):
    tifffile.imwrite(folder / "plain.tif", STACK)
    tifffile.imwrite(folder / "bare.tif", STACK, metadata=None)
    tifffile.imwrite(folder / "imagej.tif", STACK, imagej=True)
    tifffile.imwrite(folder / "ome.tif", STACK, ome=True, compression="zlib")
    Image.fromarray(RGB).save(folder / "a.png")
    Image.fromarray(RGB).save(folder / "a.jpg")


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.6, 0.95])
def test_truncated_files_are_never_half_an_image(tmp_path, fraction):
    _kinds(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * fraction)])
        with pytest.raises(ImageError, match=r"damaged or cut off|not an image"):
            read_image(path)


def test_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0")

    def denied(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("napari_sam.io.images.is_tiff", denied)
    with pytest.raises(ImageError, match="permission denied"):
        read_image(path)


@pytest.mark.parametrize("axes", [None, "YX"])
def test_one_axis_is_no_image(tmp_path, axes):
    tifffile.imwrite(tmp_path / "a.tif", np.arange(50, dtype=np.uint8))
    with pytest.raises(ImageError, match=r"rows and columns.*\(50,\)"):
        read_image(tmp_path / "a.tif", axes=axes)


def test_five_values_are_no_colour(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 30, 40), np.uint8))
    with pytest.raises(ImageError, match=r"5 values per pixel.*--axes"):
        read_image(tmp_path / "a.tif", axes="SYX")
    assert read_image(tmp_path / "a.tif", axes="CYX").n_channels == 5


def _fails(*_args, **_options):
    raise AssertionError


@pytest.mark.parametrize(
    "read",
    [_fails, lambda *_, **__: (STACK, "YX", PixelSize(), ())],
    ids=["assert", "axes"],
)
def test_whatever_the_library_meets_is_damage(tmp_path, monkeypatch, read):
    tifffile.imwrite(tmp_path / "a.tif", STACK)
    monkeypatch.setattr("napari_sam.io.images.read_tiff", read)
    with pytest.raises(ImageError, match="damaged or cut off"):
        read_image(tmp_path / "a.tif")
