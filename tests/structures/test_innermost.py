# SPDX-License-Identifier: Apache-2.0
"""The innermost pixel, counted by hand and against every pixel."""

import numpy as np

from napari_sam.structures.innermost import innermost_pixel


def test_the_middle_of_a_square() -> None:
    mask = np.zeros((9, 12), bool)
    mask[2:7, 4:9] = True  # 5 x 5
    assert innermost_pixel(mask) == (3, 4, 6)


def test_the_edge_of_the_array_is_a_boundary() -> None:
    assert innermost_pixel(np.ones((3, 3), bool)) == (1 + 1, 1, 1)


def test_of_two_equal_places_the_first_in_reading_order() -> None:
    mask = np.zeros((5, 9), bool)
    mask[1:4, 5:8] = True
    mask[1:4, 1:4] = True
    assert innermost_pixel(mask) == (2, 2, 2)


def test_an_empty_mask_has_no_depth() -> None:
    assert innermost_pixel(np.zeros((2, 3), bool)).depth == 0


def test_no_pixel_lies_deeper() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        mask = draw.random((7, 8)) > 0.3
        outside = np.argwhere(~np.pad(mask, 1)) - 1
        depths = {
            (y, x): np.hypot(*(outside - (y, x)).T).min() for y, x in np.argwhere(mask)
        }
        found = innermost_pixel(mask)
        assert found.depth == max(depths.values())
        assert depths[found.y, found.x] == found.depth
