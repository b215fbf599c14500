# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from napari_sam.prediction.tile_joining import JoinedTiles
from napari_sam.prediction.tiling import TilePlan, is_cut_by_tile
from napari_sam.structures import rle
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.tile_result import TileResult

SHAPE = (100, 200)
PLAN = TilePlan(SHAPE, ((0, 100),), ((0, 120), (80, 200)))
LEFT, RIGHT = 0, 1


def found_in(number, *masks, scores=(), is_doubtful=False):
    """What a model that makes no mistakes would find of masks in a tile."""
    tile = PLAN.box(number)
    y0, x0, y1, x1 = tile
    records, is_cut = [], []
    for index, mask in enumerate(masks):
        encoded = rle.encode(mask[y0:y1, x0:x1])
        box = encoded.bounding_box()
        score = scores[index] if scores else 0.9
        size = (0, 0, y1 - y0, x1 - x0)
        records.append(
            MaskRecord(encoded, box, encoded.area, score, 1.0, (0.0, 0.0), size)
        )
        in_image = (box[0] + y0, box[1] + x0, box[2] + y0, box[3] + x0)
        is_cut.append(is_cut_by_tile(in_image, tile, SHAPE))
    doubts = (is_doubtful,) * len(records)
    return TileResult(tile, tuple(records), tuple(is_cut), doubts)


def join(*results):
    return JoinedTiles(PLAN, dict(enumerate(results)))


def block(y0, x0, y1, x1):
    mask = np.zeros(SHAPE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def on_plane(joined, number):
    return joined.mask(number).on_plane(SHAPE)


def test_an_object_longer_than_the_overlap_is_joined():
    mask = block(30, 20, 60, 180)
    joined = join(found_in(LEFT, mask, scores=[0.8]), found_in(RIGHT, mask))
    (area,) = joined.objects.area
    np.testing.assert_array_equal(on_plane(joined, 0), mask)
    assert area == mask.sum()
    assert joined.box(0) == (30, 20, 60, 180)
    assert joined.objects.scores[0, 0] == pytest.approx(0.85)
    assert not joined.objects.is_cut[0]


def test_an_object_seen_whole_is_not_doubled_by_its_cut_part():
    mask = block(30, 90, 60, 130)
    joined = join(found_in(LEFT, mask, scores=[0.99]), found_in(RIGHT, mask))
    assert len(joined.objects) == 1
    assert joined.parts.tile[joined.objects.members_of(0)].tolist() == [RIGHT]
    np.testing.assert_array_equal(on_plane(joined, 0), mask)


def test_of_two_whole_masks_the_better_one_is_taken():
    joined = join(
        found_in(LEFT, block(30, 90, 60, 110), scores=[0.7]),
        found_in(RIGHT, block(31, 90, 60, 111), scores=[0.8]),
    )
    assert joined.objects.scores[:, 0].tolist() == [0.8]


def test_neighbouring_objects_stay_apart():
    masks = block(10, 20, 40, 180), block(40, 20, 70, 180)
    joined = join(found_in(LEFT, *masks), found_in(RIGHT, *masks))
    assert len(joined.objects) == 2
    for number, mask in enumerate(masks):
        np.testing.assert_array_equal(on_plane(joined, number), mask)


def test_masks_that_agree_on_less_than_half_stay_apart():
    upper, lower = block(10, 90, 30, 110), block(20, 90, 41, 110)
    joined = join(found_in(LEFT, upper), found_in(RIGHT, lower))
    assert len(joined.objects) == 2
    assert list(joined.conflicts()) == [(0, 1)]


def test_what_looks_like_background_everywhere_is_dropped():
    mask = block(0, 20, 100, 180)
    left = found_in(LEFT, mask, is_doubtful=True)
    joined = join(left, found_in(RIGHT, mask, is_doubtful=True))
    assert len(joined.objects) == 0
    joined = join(left, found_in(RIGHT, mask))
    np.testing.assert_array_equal(on_plane(joined, 0), mask)
    assert joined.objects.is_doubtful.tolist() == [True]


def test_a_cut_mask_that_nobody_continues_stays_marked():
    joined = join(found_in(LEFT, block(30, 60, 60, 180)))
    assert joined.objects.is_cut.tolist() == [True]


def test_some_objects_can_be_left_out():
    masks = block(10, 20, 40, 180), block(40, 20, 70, 180)
    joined = join(found_in(LEFT, *masks), found_in(RIGHT, *masks))
    joined.keep(np.array([False, True]))
    np.testing.assert_array_equal(on_plane(joined, 0), masks[1])
    assert joined.near((0, 0, 100, 200)) == [0, 0]
    assert list(joined.conflicts()) == []


def test_nothing_found_is_nothing_joined():
    joined = JoinedTiles(PLAN, {})
    assert len(joined.objects) == 0
    assert list(joined.conflicts()) == []
    assert joined.near((0, 0, 5, 5)) == []


def test_the_order_in_which_tiles_were_finished_does_not_matter():
    masks = block(10, 20, 40, 180), block(50, 90, 70, 110), block(80, 5, 90, 15)
    left, right = found_in(LEFT, *masks), found_in(RIGHT, *masks[:2])
    forward = JoinedTiles(PLAN, {LEFT: left, RIGHT: right})
    backward = JoinedTiles(PLAN, {RIGHT: right, LEFT: replace(left)})
    np.testing.assert_array_equal(forward.objects.bbox, backward.objects.bbox)
    np.testing.assert_array_equal(forward.objects.members, backward.objects.members)
