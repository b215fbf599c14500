# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.errors import ImageError
from napari_sam.prediction.channel_view import show_channels, show_colour_picture
from napari_sam.prediction.intensity import to_rgb
from napari_sam.structures.view_settings import ViewSettings

RAMP = np.arange(12, dtype=np.uint16).reshape(3, 4)
PICTURE = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)


def test_channels_are_scaled_for_themselves():
    rgb = show_channels([RAMP * 100, RAMP[::-1], None], ViewSettings())
    np.testing.assert_array_equal(rgb[..., 0], to_rgb(RAMP)[..., 0])
    np.testing.assert_array_equal(rgb[..., 1], to_rgb(RAMP[::-1])[..., 0])
    assert not rgb[..., 2].any()


def test_one_channel_in_all_colours_is_grey():
    np.testing.assert_array_equal(
        show_channels([RAMP] * 3, ViewSettings()), to_rgb(RAMP)
    )


def test_limits_of_each_colour():
    settings = ViewSettings(
        contrast="contrast limits", limits=((0, 11), (0, 22), (0, 110))
    )
    rgb = show_channels([RAMP] * 3, settings)
    assert rgb[-1, -1].tolist() == [255, 128, 26]


def test_black_stays_black_when_inverted():
    rgb = show_channels([RAMP, None, None], ViewSettings(invert=True))
    assert rgb[0, 0].tolist() == [255, 0, 0]
    assert rgb[-1, -1].tolist() == [0, 0, 0]


def test_channels_of_different_shapes_are_refused():
    with pytest.raises(ImageError, match=r"\(3, 4\), \(4, 3\)"):
        show_channels([RAMP, RAMP.T, None], ViewSettings())
    with pytest.raises(ImageError, match="none"):
        show_channels([None] * 3, ViewSettings())


def test_8_bit_colour_is_unchanged_until_something_is_chosen():
    shown = show_colour_picture(PICTURE, ViewSettings())
    np.testing.assert_array_equal(shown, PICTURE)
    inverted = show_colour_picture(PICTURE, ViewSettings(invert=True))
    np.testing.assert_array_equal(inverted, 255 - PICTURE)
    swapped = show_colour_picture(PICTURE, ViewSettings(), (2, None, 0))
    np.testing.assert_array_equal(swapped[..., 0], PICTURE[..., 2])
    assert not swapped[..., 1].any()
    np.testing.assert_array_equal(swapped[..., 2], PICTURE[..., 0])


def test_percentiles_that_were_chosen_hold_for_8_bit_colour():
    dim = PICTURE // 4
    shown = show_colour_picture(dim, ViewSettings(percentiles=(0, 100)))
    assert shown.max() == 255
    assert shown.min() == 0


def test_deep_colour_pictures_keep_their_hue():
    deep = np.zeros((4, 4, 4), dtype=np.uint16)
    deep[..., 0] = np.arange(16).reshape(4, 4) * 4000
    deep[..., 1] = deep[..., 0] // 2
    rgb = show_colour_picture(deep, ViewSettings(percentiles=(0, 100))).astype(int)
    np.testing.assert_allclose(rgb[..., 1], rgb[..., 0] / 2, atol=1)
