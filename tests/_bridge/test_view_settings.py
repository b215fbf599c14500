# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_sam._bridge.view_settings import (
    channel_axis_hint,
    channel_names,
    choose_channels,
    layers_on_same_pixels,
    with_layer_limits,
)
from napari_sam.errors import ImageError
from napari_sam.structures.view_settings import ViewSettings


@pytest.mark.parametrize(
    ("shape", "labels", "expected"),
    [
        ((3, 20, 30), None, 0),
        ((30, 20, 30), None, None),  # more likely depth
        ((1, 20, 30), None, None),
        ((20, 30), None, None),
        ((4, 3, 20, 30), None, None),  # which of them?
        ((40, 3, 20, 30), None, 1),
        ((30, 20, 30), ("Channel", "y", "x"), 0),
        ((20, 30, 3), ("y", "x", "c"), 2),
        ((3, 20, 30), ("z", "y", "x"), None),
    ],
)
def test_a_hint_where_channels_may_be(shape, labels, expected):
    layer = Image(np.zeros(shape), axis_labels=labels, rgb=False)
    assert channel_axis_hint(layer) == expected


def test_no_hint_for_colour_pictures():
    assert channel_axis_hint(Image(np.zeros((3, 20, 30, 3)), rgb=True)) is None


def test_names_of_channels():
    stack = Image(np.zeros((2, 20, 30)), name="stack")
    assert channel_names(stack, 0) == ("channel 0", "channel 1")
    assert channel_names(stack) == ("stack",)
    stack.metadata["channel_names"] = ["DAPI", "actin"]
    assert channel_names(stack, 0) == ("DAPI", "actin")
    stack.metadata["channel_names"] = ["DAPI"]  # not of this array
    assert channel_names(stack, 0) == ("channel 0", "channel 1")
    other = Image(np.zeros((2, 20, 30)), name="other")
    assert channel_names(stack, None, [other]) == ("stack", "other")
    picture = Image(np.zeros((20, 30, 3)), rgb=True)
    assert channel_names(picture, None, [other]) == ("red", "green", "blue")


def test_only_images_on_the_same_pixels_can_be_channels():
    layer = Image(np.zeros((20, 30)), scale=(2, 2))
    twin = Image(np.ones((20, 30)), scale=(2, 2))
    others = [
        layer,
        twin,
        Image(np.zeros((20, 30))),
        Image(np.zeros((20, 31)), scale=(2, 2)),
        Image(np.zeros((20, 30, 3)), rgb=True, scale=(2, 2)),
        Labels(np.zeros((20, 30), np.uint8), scale=(2, 2)),
        Image(np.zeros((20, 30)), scale=(2, 2), translate=(1, 0)),
        Image(np.zeros((20, 30)), scale=(2, 2), shear=[0.1]),
    ]
    assert layers_on_same_pixels(layer, others) == [twin]


@pytest.mark.parametrize(
    ("channels", "names", "expected"),
    [
        (None, ["a"], (0, 0, 0)),
        (None, ["a", "b"], (0, 1, None)),
        (None, ["a", "b", "c", "d"], (0, 1, 2)),
        (("b", None, 0), ["a", "b"], (1, None, 0)),
    ],
)
def test_choice_of_channels(channels, names, expected):
    assert choose_channels(channels, names) == expected


@pytest.mark.parametrize("channel", ["c", 2])
def test_a_missing_channel_is_named_with_those_there_are(channel):
    with pytest.raises(ImageError, match=f"{channel!r}.*'a', 'b'.*0 to 1"):
        choose_channels((channel, None, None), ["a", "b"])


def test_contrast_limits_are_written_down():
    first = Image(np.zeros((20, 30)), contrast_limits=(3, 9))
    second = Image(np.zeros((20, 30)), contrast_limits=(1, 5))
    asked = ViewSettings(contrast="contrast limits")
    assert with_layer_limits(asked, [first], (0, 1, 2)).limits == ((3, 9),)
    found = with_layer_limits(asked, [first, second], (1, None, 0)).limits
    assert found == ((1, 5), (1, 5), (3, 9))
    known = ViewSettings(contrast="contrast limits", limits=(0, 1))
    assert with_layer_limits(known, [first], (0, 1, 2)) is known
    assert with_layer_limits(ViewSettings(), [first], (0, 1, 2)).limits is None
