# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest

from napari_sam.errors import SettingsError
from napari_sam.structures.view_settings import ViewSettings

CHOICES = [
    ViewSettings(),
    ViewSettings(channel_axis=1, channels=("DAPI", 2, None), gamma=0.4),
    ViewSettings(contrast="fixed range", limits=(-3, 4095), invert=True),
    ViewSettings(
        contrast="contrast limits",
        limits=((0, 1), (5, 6.5), (7, 8)),
        channels=(1, 0, 0),
    ),
    ViewSettings(percentiles=(2, 98)),
]


@pytest.mark.parametrize("settings", CHOICES)
def test_settings_survive_a_file(settings):
    text = json.dumps(settings.to_dict())
    again = ViewSettings.from_dict(json.loads(text))
    assert again == settings
    assert hash(again) == hash(settings)
    assert repr(again) == repr(settings)


def test_numbers_of_any_kind_make_equal_settings():
    plain = ViewSettings(channel_axis=1, contrast="fixed range", limits=(0, 9), gamma=2)
    odd = ViewSettings(
        channel_axis=np.int64(1),
        contrast="fixed range",
        limits=np.array([[0, 9]], np.uint8),
        gamma=np.float32(2),
    )
    assert repr(odd) == repr(plain)
    assert hash(odd) == hash(plain)


def test_what_is_missing_takes_its_default():
    assert ViewSettings.from_dict({}).is_default
    assert ViewSettings.from_dict({"gamma": 0.5}) == ViewSettings(gamma=0.5)
    assert not ViewSettings(gamma=0.5).is_default


def test_limits_of_a_colour():
    one = ViewSettings(contrast="fixed range", limits=(0, 9))
    assert [one.limits_of(colour) for colour in range(3)] == [(0, 9)] * 3
    three = ViewSettings(contrast="fixed range", limits=((0, 1), (2, 3), (4, 5)))
    assert [three.limits_of(colour) for colour in range(3)] == [(0, 1), (2, 3), (4, 5)]
    assert ViewSettings(limits=(0, 9)).limits_of(0) is None  # percentiles decide


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([1, 2], "mapping.*list"),
        ({"gama": 1}, "'gama'.*gamma"),
        ({"gamma": 0}, "gamma must be.*above 0, not 0"),
        ({"gamma": "bright"}, "gamma"),
        ({"gamma": float("nan")}, "gamma"),
        ({"invert": 1}, "invert must be True or False"),
        ({"contrast": "auto"}, "'auto'.*fixed range"),
        ({"contrast": "fixed range"}, "needs limits"),
        ({"limits": [5, 5]}, "low < high"),
        ({"limits": [[0, 1], [2, 3]]}, "one pair .* or three"),
        ({"limits": "0-1"}, "one pair"),
        ({"limits": [[0, float("inf")]]}, "finite"),
        ({"percentiles": [50, 20]}, "low < high"),
        ({"percentiles": [-1, 99]}, "0 <= low"),
        ({"percentiles": 99}, "percentiles"),
        ({"channel_axis": -1}, "channel_axis must be a whole number"),
        ({"channel_axis": True}, "channel_axis"),
        ({"channels": [0, 1]}, "channels are three"),
        ({"channels": [None, None, None]}, "one of them at least"),
        ({"channels": [0, 1.5, 2]}, "A channel must be a whole number"),
    ],
)
def test_nonsense_is_refused_in_plain_words(values, why):
    with pytest.raises(SettingsError, match=why):
        ViewSettings.from_dict(values)
