# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.prediction.tiling import (
    TiledRecord,
    is_cut_by_tile,
    join_tiles,
    leaves_tile_only,
    tile_boxes,
)
from napari_sam.structures import rle
from napari_sam.structures.candidates import MaskRecord

SHAPE = (100, 200)
LEFT, RIGHT = (0, 0, 100, 120), (0, 80, 100, 200)


def seen_in(tile, mask, score=0.9):
    y0, x0, y1, x1 = tile
    part = np.zeros_like(mask)
    part[y0:y1, x0:x1] = mask[y0:y1, x0:x1]
    encoded = rle.encode(part)
    bbox = encoded.bounding_box()
    record = MaskRecord(encoded, bbox, encoded.area, score, 1.0, (0.0, 0.0), tile)
    return TiledRecord(record, tile, is_cut_by_tile(bbox, tile, SHAPE))


def block(y0, x0, y1, x1):
    mask = np.zeros(SHAPE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 900), st.integers(1, 900)),
    st.integers(16, 300),
    st.floats(0, 0.5),
)
def test_tiles_cover_the_image_and_overlap(shape, side, part):
    overlap = int(part * side)
    tiles = tile_boxes(shape, side, overlap)
    covered = np.zeros(shape, bool)
    for y0, x0, y1, x1 in tiles:
        assert (y1 - y0, x1 - x0) == (min(side, shape[0]), min(side, shape[1]))
        covered[y0:y1, x0:x1] = True
    assert covered.all()
    starts = sorted({x0 for _, x0, _, _ in tiles})
    assert all(b - a <= side - overlap for a, b in pairwise(starts))


def test_an_image_of_one_tile_is_not_cut():
    assert tile_boxes((50, 60), 64, 16) == [(0, 0, 50, 60)]


def test_masks_are_cut_at_inner_borders_only():
    assert is_cut_by_tile((10, 100, 20, 120), LEFT, SHAPE)
    assert is_cut_by_tile((10, 100, 20, 119), LEFT, SHAPE)
    assert not is_cut_by_tile((0, 0, 100, 50), LEFT, SHAPE)
    assert not is_cut_by_tile((10, 190, 20, 200), RIGHT, SHAPE)


def test_an_object_longer_than_the_overlap_is_joined():
    mask = block(30, 20, 60, 180)
    (joined,) = join_tiles([seen_in(LEFT, mask, 0.8), seen_in(RIGHT, mask, 0.9)])
    np.testing.assert_array_equal(joined.record.mask(), mask)
    assert joined.record.area == mask.sum()
    assert joined.record.bbox == (30, 20, 60, 180)
    assert joined.record.predicted_iou == pytest.approx(0.85)
    assert not joined.is_cut


def test_an_object_seen_whole_is_not_doubled_by_its_cut_part():
    mask = block(30, 90, 60, 130)
    (joined,) = join_tiles([seen_in(LEFT, mask, 0.99), seen_in(RIGHT, mask, 0.7)])
    assert joined.tile == RIGHT
    np.testing.assert_array_equal(joined.record.mask(), mask)


def test_of_two_whole_masks_the_better_one_is_taken():
    pair = [
        seen_in(LEFT, block(30, 90, 60, 110), 0.7),
        seen_in(RIGHT, block(31, 90, 60, 111), 0.8),
    ]
    (joined,) = join_tiles(pair)
    assert joined.record.predicted_iou == 0.8


def test_neighbouring_objects_stay_apart():
    upper, lower = block(10, 20, 40, 180), block(40, 20, 70, 180)
    found = [seen_in(tile, mask) for tile in (LEFT, RIGHT) for mask in (upper, lower)]
    joined = join_tiles(found)
    assert len(joined) == 2
    np.testing.assert_array_equal(joined[0].record.mask(), upper)
    np.testing.assert_array_equal(joined[1].record.mask(), lower)


def test_what_looks_like_background_everywhere_is_dropped():
    mask = block(0, 20, 100, 180)
    left, right = (
        replace(seen_in(tile, mask), is_doubtful=True) for tile in (LEFT, RIGHT)
    )
    assert join_tiles([left, right]) == []
    (joined,) = join_tiles([left, seen_in(RIGHT, mask)])
    np.testing.assert_array_equal(joined.record.mask(), mask)
    assert joined.is_doubtful


def test_sides_of_the_image_are_no_borders_of_tiles():
    assert leaves_tile_only((10, 20, 90, 120), LEFT, SHAPE)
    assert not leaves_tile_only((0, 20, 90, 120), LEFT, SHAPE)


def test_a_cut_mask_that_nobody_continues_stays_marked():
    (alone,) = join_tiles([seen_in(LEFT, block(30, 60, 60, 180))])
    assert alone.is_cut


def test_nothing_found_is_nothing_joined():
    assert join_tiles([]) == []
