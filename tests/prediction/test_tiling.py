# SPDX-License-Identifier: Apache-2.0
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.prediction.tiling import (
    is_cut_by_tile,
    leaves_tile_only,
    plan_for,
    plan_tiles,
    tile_boxes,
)
from napari_sam.structures.geometry import intersect_boxes
from napari_sam.structures.settings import LabelSettings

SHAPE = (100, 200)
LEFT, RIGHT = (0, 0, 100, 120), (0, 80, 100, 200)


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


def test_sides_of_the_image_are_no_borders_of_tiles():
    assert leaves_tile_only((10, 20, 90, 120), LEFT, SHAPE)
    assert not leaves_tile_only((0, 20, 90, 120), LEFT, SHAPE)


@settings(deadline=None, max_examples=50)
@given(
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.integers(16, 120),
    st.floats(0, 0.5),
    st.data(),
)
def test_tiles_know_which_others_show_their_pixels(shape, side, part, data):
    plan = plan_tiles(shape, side, int(part * side))
    boxes = [plan.box(number) for number in range(len(plan))]
    number = data.draw(st.integers(0, len(plan) - 1))
    expected = [
        other
        for other in range(number + 1, len(plan))
        if intersect_boxes(boxes[number], boxes[other])
    ]
    assert list(plan.later_neighbours(number)) == expected


def test_tiles_follow_the_settings():
    assert len(plan_for((150, 150), LabelSettings(), 100)) == 1
    assert len(plan_for((150, 151), LabelSettings(), 100)) == 4
    assert len(plan_for((900, 900), LabelSettings(tile=None), 100)) == 1
    plan = plan_for((300, 100), LabelSettings(tile=100, tile_overlap=0.5), 1024)
    assert plan.tile_size == (100, 100)
    assert plan.rows == ((0, 100), (50, 150), (100, 200), (150, 250), (200, 300))


@pytest.mark.parametrize("side", [None, 4096])
def test_an_image_of_one_tile_has_its_size(side):
    plan = plan_tiles((30, 70), side, 10)
    assert plan.tile_size == (30, 70)
    assert plan.touching((0, 0, 1, 1)) == [0]
