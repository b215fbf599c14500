# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pickle

import dask.array as da
import numpy as np
import pytest

from napari_sam.errors import ImageError
from napari_sam.prediction import brightness_sample, shown_pixels
from napari_sam.prediction.intensity import IntensityRule, to_rgb
from napari_sam.prediction.shown_pixels import ShownPixels
from napari_sam.prediction.transforms import resize_rgb
from napari_sam.structures.plane_pixels import ArrayPixels

RNG = np.random.default_rng(0)
GREY = RNG.integers(100, 4000, (90, 130), dtype=np.uint16)
CHANNELS = RNG.integers(0, 255, (5, 90, 130), dtype=np.uint8)
COLOUR = RNG.integers(0, 255, (90, 130, 3), dtype=np.uint8)
BOX = (11, 20, 64, 110)

IMAGES = {
    "grey": (GREY, None, None),
    "8 bits": (CHANNELS[0], None, None),
    "truth": (GREY > 2000, None, None),
    "negative": (GREY.astype(np.int32) - 3000, None, None),
    "big endian": (GREY.astype(">u2"), None, None),
    "float": ((GREY / 4000).astype(np.float32), None, None),
    "double": (GREY * 1e-30, None, None),
    "64 bits": (GREY.astype(np.uint64) + 2**40, None, None),
    "nan": (np.where(GREY < 500, np.nan, GREY), None, None),
    "constant": (np.full((90, 130), 7, np.uint16), None, None),
    "colour": (COLOUR, None, None),
    "opacity": (np.dstack([COLOUR, COLOUR[..., 0]]), None, None),
    "deep colour": (COLOUR.astype(np.uint16) * 99, None, None),
    "channels first": (CHANNELS, 0, None),
    "channels last": (np.moveaxis(CHANNELS, 0, -1), 2, None),
    "channels between": (np.moveaxis(CHANNELS, 0, 1), 1, None),
    "three channels": (CHANNELS[:3], 0, None),
    "two channels": (CHANNELS[:2], 0, None),
    "one channel": (GREY[None], 0, None),
    "chosen": (CHANNELS, 0, IntensityRule(channels=(4, -5, 4))),
    "chosen grey": (CHANNELS[:3], 0, IntensityRule(channels=(1,))),
    "together": (CHANNELS, 0, IntensityRule(per_channel=False)),
    "apart": (COLOUR, None, IntensityRule(per_channel=True)),
    "limits": (GREY, None, IntensityRule(limits=(500, 900), gamma=0.5, invert=True)),
    "percentiles": (COLOUR, None, IntensityRule(percentiles=(5, 60))),
}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("is_lazy", [False, True])
def test_every_region_is_a_piece_of_what_to_rgb_makes(name, is_lazy):
    image, channel_axis, rule = IMAGES[name]
    expected = to_rgb(image, channel_axis, rule)
    pixels = image
    if is_lazy:
        lazy = da.from_array(image, chunks=17)
        pixels = ArrayPixels((lazy,), channel_axis=channel_axis)
    shown = ShownPixels(pixels, channel_axis, rule)
    y0, x0, y1, x1 = BOX
    part = shown.read(BOX)
    np.testing.assert_array_equal(part, expected[y0:y1, x0:x1])
    assert part.flags.c_contiguous
    np.testing.assert_array_equal(shown.whole(), expected)
    np.testing.assert_array_equal(shown.read(BOX), expected[y0:y1, x0:x1])
    fresh = ShownPixels(pixels, channel_axis, rule)
    np.testing.assert_array_equal(fresh.whole(), expected)
    assert fresh.whole() is fresh.whole()


@pytest.mark.parametrize("size", [(53, 90), (20, 33), (1, 1), (90, 200), (53, 40)])
def test_regions_are_resized_with_the_filter_of_the_model(size):
    shown = ShownPixels(GREY)
    y0, x0, y1, x1 = BOX
    expected = resize_rgb(to_rgb(GREY)[y0:y1, x0:x1], size)
    np.testing.assert_array_equal(shown.read_at(BOX, size), expected)
    whole = resize_rgb(to_rgb(GREY), size)
    np.testing.assert_array_equal(shown.read_at((0, 0, 90, 130), size), whole)


@pytest.mark.parametrize(("image", "axis"), [(GREY, None), (CHANNELS, 0)])
@pytest.mark.parametrize(
    ("box", "size"),
    [((0, 0, 90, 130), (9, 13)), ((7, 5, 88, 123), (40, 17)), (BOX, (52, 7))],
)
def test_strips_give_what_resizing_at_once_gives(image, axis, box, size, monkeypatch):
    at_once = ShownPixels(image, axis).read_at(box, size)
    monkeypatch.setattr(shown_pixels, "_STRIP_PX", 700)
    read = []

    class Pixels(ArrayPixels):
        def read(self, box, level=0):
            read.append(box)
            return super().read(box, level)

    shown = ShownPixels(Pixels((image,), channel_axis=axis), axis)
    assert shown.limits
    read.clear()
    # The weights of the filter are rounded apart, seldom to another brightness.
    error = np.abs(shown.read_at(box, size).astype(int) - at_once)
    assert error.max() <= 1
    assert error.mean() < 0.02
    if axis is None:
        # Strips follow each other, each one within bounds, each row once.
        assert len(read) > 5
        assert [y0 for y0, *_ in read] == [box[0], *(y1 for _, _, y1, _ in read[:-1])]
        assert all((y1 - y0) * (x1 - x0) <= 700 for y0, x0, y1, x1 in read)


class Counted:
    """A made-up pyramid level: every pixel tells its level, and reads are counted."""

    dtype = np.dtype(np.uint8)

    def __init__(self, shape, value):
        self.shape, self._value, self.n_read = shape, value, 0

    def __getitem__(self, key):
        rows, columns = key[:2]
        shape = (rows.stop - rows.start, columns.stop - columns.start, *self.shape[2:])
        self.n_read += shape[0] * shape[1]
        return np.full(shape, self._value, np.uint8)


def pyramid(side, n_levels, *last):
    return [Counted((side >> n, side >> n, *last), n) for n in range(n_levels)]


@pytest.mark.parametrize(
    ("box", "size", "level"),
    [
        ((0, 0, 65536, 65536), (1024, 1024), 6),
        ((0, 0, 65536, 65536), (1025, 1025), 5),
        ((0, 0, 65536, 65536), (100, 100), 7),
        ((9000, 9000, 13096, 13096), (1024, 1024), 2),
        ((9000, 9000, 10024, 10024), (1024, 1024), 0),
        ((9000, 9000, 9100, 9100), (1024, 1024), 0),
        ((0, 0, 65536, 4096), (1024, 1024), 2),
    ],
)
def test_only_the_level_and_the_box_that_are_needed_are_read(box, size, level):
    levels = pyramid(65536, 8, 3)
    shown = ShownPixels(ArrayPixels(levels))
    assert shown.level_for(box, size) == level
    rgb = shown.read_at(box, size)
    assert rgb.shape == (*size, 3)
    assert (rgb == level).all()
    used = levels[level]
    area = (box[2] - box[0]) * (box[3] - box[1]) / 4**level
    # 8-bit colour passes unchanged, so that brightness costs one pixel at most.
    assert area <= used.n_read <= area * 1.02 + 2
    others = [each for each in levels if each is not used]
    assert sum(each.n_read for each in others) <= 1
    assert shown.whole() is None


def test_boxes_between_the_pixels_of_a_level_are_met_exactly():
    ramp = np.repeat(np.arange(240, dtype=np.uint8)[None, :, None], 3, axis=2)
    fine = np.repeat(ramp, 240, axis=0)
    coarse = fine[::4, 1::4]  # each pixel is near the mean of the four it covers
    shown = ShownPixels(ArrayPixels((fine, coarse)))
    box = (10, 50, 110, 150)
    from_coarse = shown.read_at(box, (20, 20))[10, :, 0].astype(int)
    from_fine = ShownPixels(fine).read_at(box, (20, 20))[10, :, 0].astype(int)
    assert np.abs(from_coarse - from_fine).max() <= 1


def test_brightness_of_a_large_plane_is_the_same_in_every_region_and_level(monkeypatch):
    monkeypatch.setattr(brightness_sample, "MAX_WHOLE_PX", 50_000)
    monkeypatch.setattr(brightness_sample, "MIN_LEVEL_PX", 10_000)
    fine = np.add.outer(np.arange(400), np.arange(500)).astype(np.uint16)
    levels = (fine, fine[::2, ::2], fine[::4, ::4], fine[::8, ::8])
    shown = ShownPixels(ArrayPixels(levels))
    rule = IntensityRule(limits=tuple(np.percentile(fine[::4, ::4], (0.1, 99.9))))
    expected = to_rgb(fine, rule=rule)
    for box in [(0, 0, 50, 50), (350, 450, 400, 500), (100, 0, 260, 500)]:
        y0, x0, y1, x1 = box
        np.testing.assert_array_equal(shown.read(box), expected[y0:y1, x0:x1])
    np.testing.assert_array_equal(shown.read((0, 0, 50, 62), 3), expected[::8, :496:8])


def test_limits_are_found_once_and_travel_with_a_copy():
    sampled = []

    class Pixels(ArrayPixels):
        def read(self, box, level=0):
            sampled.append(box)
            return super().read(box, level)

    shown = ShownPixels(Pixels((GREY,)))
    before = shown.limits
    shown.read(BOX)
    shown.read(BOX)
    assert sampled == [(0, 0, 90, 130), BOX, BOX]
    copied = pickle.loads(pickle.dumps(ShownPixels(GREY)))
    assert copied.limits == before


def test_known_limits_need_no_sample():
    levels = pyramid(65536, 8)
    shown = ShownPixels(ArrayPixels(levels), intensity=IntensityRule(limits=(0, 8)))
    shown.read((0, 0, 10, 10), 3)
    assert sum(level.n_read for level in levels) <= 101


def test_channels_that_nobody_sees_are_not_read():
    class Channels(Counted):
        def __getitem__(self, key):
            part = np.zeros(self.shape, np.uint16)[key]
            self.n_read += part.size
            return part

    stored = Channels((40, 90, 130), 0)
    stored.dtype = np.dtype(np.uint16)
    rule = IntensityRule(channels=(30, 7), limits=(0, 1))
    shown = ShownPixels(ArrayPixels((stored,), channel_axis=0), 0, rule)
    shown.read(BOX)
    assert stored.n_read == 2 * 53 * 90 + 2


@pytest.mark.parametrize(
    ("image", "channel_axis", "rule"),
    [
        (np.zeros((0, 5)), None, None),
        (np.zeros((5, 6, 7)), None, None),
        (np.zeros((5, 6), complex), None, None),
        (np.array([["a"]]), None, None),
        (np.zeros((5, 6)), 0, None),
        (np.zeros((5, 6, 7)), 3, None),
    ],
)
def test_what_is_no_image_is_refused(image, channel_axis, rule):
    with pytest.raises(ImageError):
        ShownPixels(image, channel_axis, rule)


def test_what_proves_to_be_no_image_is_refused_when_it_is_read():
    lazy = ArrayPixels((da.zeros((9, 9), dtype=complex),))
    with pytest.raises(ImageError, match="complex"):
        ShownPixels(lazy).read((0, 0, 2, 2))
    with pytest.raises(ImageError, match="Channel 7"):
        ShownPixels(CHANNELS, 0, IntensityRule(channels=(7,))).read(BOX)
    with pytest.raises(ImageError, match="90 x 130"):
        ShownPixels(GREY).read((0, 0, 91, 1))
