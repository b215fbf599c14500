# SPDX-License-Identifier: Apache-2.0
import numpy as np

from napari_sam.prediction.mask_cleanup import (
    fill_holes,
    largest_piece,
    remove_small_regions,
)


def disc_with_hole_and_island():
    mask = np.zeros((40, 40), bool)
    mask[5:25, 5:25] = True
    mask[10:13, 10:13] = False  # 9 pixels
    mask[30:32, 30:32] = True  # 4 pixels
    return mask


def test_regions_below_the_limit_go():
    mask = disc_with_hole_and_island()
    cleaned, changed = remove_small_regions(mask, 10)
    assert changed
    assert cleaned.sum() == 400
    cleaned, changed = remove_small_regions(mask, 5)
    assert changed
    assert cleaned.sum() == 400 - 9
    cleaned, changed = remove_small_regions(mask, 4)
    assert not changed
    np.testing.assert_array_equal(cleaned, mask)


def test_if_all_islands_are_small_the_largest_stays():
    mask = np.zeros((50, 50), bool)
    mask[2:5, 2:5] = mask[20:22, 20:22] = True
    cleaned, changed = remove_small_regions(mask, 100)
    assert changed
    assert cleaned.sum() == 9


def test_background_between_mask_and_border_is_a_hole_too():
    mask = np.ones((20, 20), bool)
    mask[:2, :2] = False
    cleaned, _ = remove_small_regions(mask, 10)
    assert cleaned.all()


def test_corners_connect():
    mask = np.eye(12, dtype=bool)
    assert not remove_small_regions(mask, 12)[1]
    np.testing.assert_array_equal(largest_piece(mask), mask)


def test_an_empty_mask_stays_empty():
    cleaned, changed = remove_small_regions(np.zeros((20, 20), bool), 10)
    assert not changed
    assert not cleaned.any()
    assert not largest_piece(np.zeros((3, 3), bool)).any()


def test_only_enclosed_background_is_filled():
    mask = disc_with_hole_and_island()
    assert fill_holes(mask).sum() == mask.sum() + 9
