# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_sam.errors import PromptError
from napari_sam.structures.mask_window import MaskWindow

MASKS = arrays(bool, (7, 9))
CORNERS = st.tuples(st.integers(-4, 10), st.integers(-4, 12))


@given(MASKS)
def test_there_and_back(mask):
    window = MaskWindow.of_mask(mask)
    np.testing.assert_array_equal(window.on_plane((7, 9)), mask)
    assert window.area == mask.sum()


@given(MASKS)
def test_window_is_tight(mask):
    crop = MaskWindow.of_mask(mask, 3, 5).crop
    if mask.any():
        assert crop[0].any() and crop[-1].any()  # noqa: PT018
        assert crop[:, 0].any() and crop[:, -1].any()  # noqa: PT018
    else:
        assert crop.size == 0


def test_a_part_of_a_plane_keeps_its_place():
    part = np.zeros((4, 4), bool)
    part[1, 2] = True
    window = MaskWindow.of_mask(part, 10, 20)
    assert window.box == (11, 22, 12, 23)
    part[1, 2] = False
    assert window.area == 1  # a copy


@given(MASKS, CORNERS, st.integers(0, 9), st.integers(0, 9))
def test_seen_through_a_box(mask, corner, height, width):
    window = MaskWindow.of_mask(mask)
    y0, x0 = corner
    seen = window.inside((y0, x0, y0 + height, x0 + width))
    world = np.zeros((40, 40), bool)
    world[10:17, 10:19] = mask
    expected = world[10 + y0 : 10 + y0 + height, 10 + x0 : 10 + x0 + width]
    np.testing.assert_array_equal(seen, expected)


@given(MASKS, MASKS)
def test_iou(one, two):
    union = (one | two).sum()
    expected = (one & two).sum() / union if union else 0.0
    first, second = MaskWindow.of_mask(one), MaskWindow.of_mask(two)
    assert first.iou(second) == pytest.approx(expected)
    assert second.iou(first) == pytest.approx(expected)


def test_windows_compare_by_value():
    one, two = (MaskWindow(1, 2, np.eye(3, dtype=bool)) for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)
    assert one != MaskWindow(1, 3, np.eye(3, dtype=bool))
    assert one != MaskWindow(1, 2, np.ones((3, 3), bool))
    assert one != "a window"


@pytest.mark.parametrize("crop", [np.ones((2, 2)), np.ones((2, 2, 2), bool)])
def test_only_masks_are_taken(crop):
    with pytest.raises(PromptError, match="array of bool"):
        MaskWindow(0, 0, crop)
