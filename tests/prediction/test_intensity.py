# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from napari_sam.errors import ImageError, SettingsError
from napari_sam.prediction.intensity import (
    IntensityRule,
    find_limits,
    is_blank,
    to_rgb,
)

RAMP = np.arange(12).reshape(3, 4)
DTYPES = [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint64, np.float16]
DTYPES += [np.float32, np.float64]


def test_8_bit_rgb_passes_unchanged():
    rgb = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_rgb(rgb), rgb)
    np.testing.assert_array_equal(to_rgb(rgb[:, ::-1]), rgb[:, ::-1])


def test_opacity_is_dropped():
    rgba = np.random.default_rng(0).integers(0, 256, (5, 6, 4), dtype=np.uint8)
    np.testing.assert_array_equal(to_rgb(rgba), rgba[:, :, :3])


@pytest.mark.parametrize("dtype", DTYPES)
def test_grey_of_any_type_fills_the_range(dtype):
    rgb = to_rgb(RAMP.astype(dtype))
    assert rgb.dtype == np.uint8
    assert rgb.shape == (3, 4, 3)
    assert (rgb[..., 0] == rgb[..., 2]).all()
    assert (rgb[0, 0, 0], rgb[-1, -1, 0]) == (0, 255)
    assert (np.diff(rgb[..., 0].ravel().astype(int)) > 0).all()


def test_negative_values_and_offsets_do_not_matter():
    shown = to_rgb(RAMP)
    np.testing.assert_array_equal(to_rgb(RAMP - 1000), shown)
    np.testing.assert_array_equal(to_rgb(RAMP * 1e-12 - 1e-9), shown)
    np.testing.assert_array_equal(to_rgb((RAMP + 2**31).astype(np.uint32)), shown)


def test_masks_are_black_and_white():
    rgb = to_rgb(np.array([[True, False]]))
    assert rgb[0, :, 0].tolist() == [255, 0]


def test_nan_is_black_and_infinity_is_the_end_of_the_range():
    image = RAMP.astype(float)
    image[0, :3] = np.nan, np.inf, -np.inf
    with np.errstate(all="raise"):
        rgb = to_rgb(image)
    assert rgb[0, :3, 0].tolist() == [0, 255, 0]
    assert rgb[0, 3, 0] == 0
    assert rgb[-1, -1, 0] == 255


@pytest.mark.parametrize("value", [0, 7, np.nan, np.inf, -1e300])
def test_a_constant_image_is_black(value):
    image = np.full((3, 4), value, dtype=float)
    assert not to_rgb(image).any()
    assert is_blank(to_rgb(image))
    assert is_blank(image)


def test_something_to_see_is_not_blank():
    assert not is_blank(to_rgb(RAMP))
    assert not is_blank(np.array([[np.nan, 1.0, 2.0]]))
    assert not is_blank(np.stack([np.arange(24).reshape(1, 24).repeat(3, axis=0)] * 3))


def test_a_picture_of_one_colour_is_blank():
    assert is_blank(np.full((3, 4, 3), (9, 200, 30), np.uint8))


def test_a_few_pixels_of_a_huge_image_are_not_missed():
    image = np.zeros((3000, 3000), np.uint8)
    image[1501, 1777] = 1
    assert to_rgb(image)[1501, 1777, 0] == 255


def test_a_hot_pixel_does_not_darken_the_rest():
    image = np.random.default_rng(0).normal(100, 10, (200, 200))
    image[3, 3] = 1e6
    assert 80 < np.median(to_rgb(image)) < 180


def test_a_single_bright_pixel_is_seen_on_a_flat_image():
    image = np.full((300, 300), 5.0)
    image[3, 3] = 6
    assert to_rgb(image)[3, 3, 0] == 255
    assert to_rgb(image)[0, 0, 0] == 0


def test_limits_can_be_given():
    rgb = to_rgb(np.array([[-5, 0, 40, 100, 999]]), rule=IntensityRule(limits=(0, 100)))
    assert rgb[0, :, 0].tolist() == [0, 0, 102, 255, 255]


def test_a_rule_holds_for_8_bit_rgb_as_well():
    rgb = np.full((2, 2, 3), 100, dtype=np.uint8)
    shown = to_rgb(rgb, rule=IntensityRule(limits=(0, 200)))
    assert (shown == 128).all()


def test_gamma_bends_between_black_and_white():
    image = np.array([[0, 36, 64, 100]])
    shown = to_rgb(image, rule=IntensityRule(limits=(0, 100), gamma=0.5))
    assert shown[0, :, 0].tolist() == [0, 153, 204, 255]
    shown = to_rgb(image, rule=IntensityRule(limits=(0, 100), gamma=2))
    assert shown[0, :, 0].tolist() == [0, 33, 104, 255]


def test_inversion_swaps_black_and_white():
    image = np.array([[-np.inf, 0, 25, 100, np.inf, np.nan]])
    plain = to_rgb(image, rule=IntensityRule(limits=(0, 100)))
    with np.errstate(all="raise"):
        shown = to_rgb(image, rule=IntensityRule(limits=(0, 100), invert=True))
    np.testing.assert_array_equal(shown[0, :5], 255 - plain[0, :5])
    assert not shown[0, 5].any()  # what is not known stays black
    mask = to_rgb(np.array([[True, False]]), rule=IntensityRule(invert=True))
    assert mask[0, :, 0].tolist() == [0, 255]


def test_gamma_comes_before_inversion():
    rule = IntensityRule(limits=(0, 100), gamma=2, invert=True)
    assert to_rgb(np.array([[0, 50, 100]]), rule=rule)[0, :, 0].tolist() == [
        255,
        191,
        0,
    ]


def test_equal_rules_have_equal_hash_and_text():
    plain = IntensityRule(limits=(0, 100), channels=(0, 1), gamma=2)
    odd = IntensityRule(
        limits=np.array([0, 100]),
        channels=[np.int64(0), np.int64(1)],
        gamma=np.float32(2),
        percentiles=[0.1, 99.9],
    )
    assert odd == plain
    assert hash(odd) == hash(plain)
    assert repr(odd) == repr(plain)
    assert IntensityRule(gamma=1.5) != IntensityRule()


def test_colour_pictures_keep_their_hue():
    image = np.zeros((4, 4, 3), dtype=np.uint16)
    image[..., 0] = np.arange(16).reshape(4, 4) * 4000
    image[..., 1] = image[..., 0] // 2
    rgb = to_rgb(image).astype(int)
    np.testing.assert_allclose(rgb[..., 1], rgb[..., 0] / 2, atol=1)


def test_microscope_channels_have_their_own_limits():
    image = np.stack([RAMP, RAMP * 100, RAMP + 7, RAMP])
    rgb = to_rgb(image, channel_axis=0)
    for channel in range(3):
        assert rgb[..., channel].max() == 255
        assert rgb[..., channel].min() == 0


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_channels_may_be_on_any_axis(axis):
    image = np.random.default_rng(0).random((3, 8, 9))
    moved = np.moveaxis(image, 0, axis)
    np.testing.assert_array_equal(to_rgb(moved, axis), to_rgb(image, 0))


def test_channels_can_be_chosen():
    image = np.stack([RAMP, RAMP[::-1], RAMP.T.reshape(3, 4)])
    one = to_rgb(image, 0, IntensityRule(channels=(1,)))
    np.testing.assert_array_equal(one, to_rgb(RAMP[::-1]))
    two = to_rgb(image, 0, IntensityRule(channels=(1, 0)))
    assert (two[..., 2] == 0).all()
    np.testing.assert_array_equal(two[..., 0], one[..., 0])


@pytest.mark.parametrize(
    ("image", "axis", "why"),
    [
        (np.ones((3, 4), complex), None, "real numbers.*complex128"),
        (np.array([["a", "b"]]), None, "real numbers"),
        (np.arange(5), None, r"not \(5,\)"),
        (np.ones((2, 3, 4, 3)), None, "one plane at a time"),
        (np.ones((4, 5, 6)), None, "channel_axis"),
        (np.ones((4, 5)), 0, "three axes"),
        (np.ones((4, 5, 6)), 3, "three axes"),
        (np.ones((0, 5)), None, "empty"),
        (np.float64(3), None, "not \\(\\)"),
    ],
)
def test_what_is_no_image_is_refused(image, axis, why):
    with pytest.raises(ImageError, match=why):
        to_rgb(image, axis)


def test_a_missing_channel_is_named():
    with pytest.raises(ImageError, match="Channel 5"):
        to_rgb(np.ones((4, 5, 3)), rule=IntensityRule(channels=(5,)))


@pytest.mark.parametrize(
    "rule",
    [
        {"limits": (3, 3)},
        {"limits": (0, np.nan)},
        {"percentiles": (50, 20)},
        {"percentiles": (-1, 99)},
        {"channels": ()},
        {"limits": 5},
        {"gamma": 0},
        {"gamma": -1},
        {"gamma": np.inf},
        {"gamma": None},
        {"channels": (0, 1, 2, 3)},
    ],
)
def test_rules_that_mean_nothing_are_refused(rule):
    with pytest.raises(SettingsError):
        IntensityRule(**rule)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", ">u2", ">i2"])
def test_large_images_of_short_integers_are_shown_like_small_ones(dtype):
    kind = np.iinfo(dtype)
    values = np.random.default_rng(0).integers(kind.min, kind.max, (300, 301))
    image = values.astype(dtype)
    for rule in (
        IntensityRule(percentiles=(2, 71.3)),
        IntensityRule(gamma=0.4, invert=True),
    ):
        low, high = np.percentile(values, rule.percentiles)
        assert find_limits(image, rule=rule) == ((low, high),)
        # Pieces of a few pixels, which no table is made for, and another type.
        limits = find_limits(image, rule=rule)
        pieces = [to_rgb(row, rule=rule, limits=limits) for row in image[:, None, :]]
        shown = to_rgb(image, rule=rule)
        np.testing.assert_array_equal(shown, np.concatenate(pieces))
        plain = 255 * np.clip((values - low) / (high - low), 0, 1) ** rule.gamma
        expected = 255 - plain if rule.invert else plain
        assert np.abs(shown[..., 0] - expected).max() <= 0.51


def test_limits_of_a_whole_hold_for_its_parts():
    image = np.arange(200, dtype=np.float32).reshape(10, 20)
    limits = find_limits(image)
    np.testing.assert_array_equal(to_rgb(image[3:5], limits=limits), to_rgb(image)[3:5])
    channels = np.stack([image, image * 3])
    np.testing.assert_array_equal(
        to_rgb(channels[:, :, 4:9], 0, limits=find_limits(channels, 0)),
        to_rgb(channels, 0)[:, 4:9],
    )
    assert find_limits(np.zeros((5, 5, 3), np.uint8)) is None
    assert find_limits(np.zeros((5, 5), bool)) is None
    assert find_limits(channels, 0, IntensityRule(limits=(1, 2))) == ((1, 2), (1, 2))
