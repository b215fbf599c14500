# SPDX-License-Identifier: Apache-2.0
"""Masks and logits reach the model in the frame that answers."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam.prediction.mask_inputs import MASK_LOGIT, LogitGrid, LogitOrigins
from napari_sam.prediction.transforms import FrameTransform, resized_shape
from napari_sam.structures.mask_window import MaskWindow

LOW, FRAME = (64, 64), 256


def grid(part: tuple[int, int, int, int]) -> LogitGrid:
    return LogitGrid.of_part(part, LOW, FRAME)


def test_a_mask_becomes_how_much_of_each_sample_it_covers() -> None:
    # An image as large as the frame: a sample covers 4 by 4 pixels.
    mask = MaskWindow(8, 12, np.ones((6, 4), bool))
    logits = grid((0, 0, 256, 256)).of_mask(mask)
    expected = np.full(LOW, -MASK_LOGIT)
    expected[2, 3] = MASK_LOGIT
    expected[3, 3] = 0.0  # two of four rows
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("size", [(300, 200), (100, 180), (640, 641), (64, 1000)])
def test_samples_lie_where_the_model_sees_the_pixels(size) -> None:
    """The middle of a pixel in the frame falls into the sample that its mask fills."""
    transform = FrameTransform(size, resized_shape(size, FRAME), FRAME)
    for yx in [(0, 0), (size[0] - 1, size[1] - 1), (size[0] // 3, size[1] // 2)]:
        # A point's position in the frame is its pixel's; half a pixel on is the middle.
        x, y = (transform.points_to_frame(np.array(yx) + 0.5)) / 4
        one = MaskWindow(*yx, np.ones((1, 1), bool))
        covered = grid((0, 0, *size)).of_mask(one)
        assert covered[int(y), int(x)] == covered.max() > -MASK_LOGIT


def test_a_part_of_the_image_gets_its_part_of_the_mask() -> None:
    mask = MaskWindow(150, 90, np.ones((40, 30), bool))
    moved = MaskWindow(50, 10, mask.crop)
    np.testing.assert_array_equal(
        grid((100, 80, 356, 336)).of_mask(mask), grid((0, 0, 256, 256)).of_mask(moved)
    )
    outside = grid((200, 200, 456, 456)).of_mask(mask)
    np.testing.assert_array_equal(outside, -MASK_LOGIT)


def test_logits_of_a_region_keep_their_place_in_another_one() -> None:
    here, there = grid((0, 0, 256, 256)), grid((128, 64, 384, 320))
    mask = MaskWindow(160, 100, np.ones((32, 48), bool))
    moved = there.of_logits(here.of_mask(mask), here)
    np.testing.assert_allclose(moved, there.of_mask(mask), atol=1e-4)


@pytest.mark.parametrize("part", [(256, 128, 512, 384), (0, 0, 1024, 1024)])
def test_logits_survive_the_way_to_the_whole_image_and_back(part) -> None:
    region, whole = grid(part), grid((0, 0, 1024, 1024))
    mask = MaskWindow(304, 208, np.ones((96, 128), bool))
    on_whole = whole.of_logits(region.of_mask(mask), region)
    assert (on_whole > 0).sum() == 96 * 128 / 16**2
    assert whole.extent(on_whole) == mask.box
    back = region.of_logits(on_whole, whole) > 0
    wanted = region.of_mask(mask) > 0
    assert (back & wanted).sum() / (back | wanted).sum() > 0.8


def test_extent_of_no_object_is_none() -> None:
    assert grid((0, 0, 256, 256)).extent(np.full(LOW, -1.0, np.float32)) is None


def test_origins_are_known_by_value_and_the_oldest_are_forgotten() -> None:
    rng = np.random.default_rng(0)
    origins = LogitOrigins(max_items=4)
    first = rng.normal(size=(2, *LOW)).astype(np.float32)
    later = rng.normal(size=(3, *LOW)).astype(np.float32)
    origins.note(first, (0, 0, 9, 9))
    assert origins.regions_of(first[1].copy()) == ((0, 0, 9, 9),)
    assert origins.regions_of(later[0]) == ()
    origins.note(later, (5, 5, 9, 9))
    assert len(origins) == 4
    assert origins.regions_of(first[0]) == ()
    assert origins.regions_of(first[1]) == ((0, 0, 9, 9),)


def test_equal_logits_of_two_empty_places_remember_both() -> None:
    origins, nothing = LogitOrigins(), np.zeros((1, *LOW), np.float32)
    for part in [(0, 0, 9, 9), (5, 5, 9, 9), (0, 0, 9, 9)]:
        origins.note(nothing, part)
    assert origins.regions_of(nothing[0]) == ((0, 0, 9, 9), (5, 5, 9, 9))
