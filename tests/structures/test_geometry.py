# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_sam.structures import geometry

finite = st.floats(-1e6, 1e6)
points = hnp.arrays(
    np.float64, st.tuples(st.integers(0, 5), st.just(2)), elements=finite
)
boxes = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 5), st.just(4)), elements=finite
)


@settings(deadline=None)
@given(points)
def test_points_come_back_from_the_model_door(points_yx):
    there = geometry.yx_to_xy(points_yx)
    np.testing.assert_array_equal(there[:, 0], points_yx[:, 1])
    np.testing.assert_array_equal(geometry.yx_to_xy(there), points_yx)


@settings(deadline=None)
@given(boxes)
def test_boxes_come_back_from_the_model_door(boxes_yx):
    there = geometry.box_yx_to_xy(boxes_yx)
    np.testing.assert_array_equal(there, boxes_yx[:, [1, 0, 3, 2]])
    np.testing.assert_array_equal(geometry.box_yx_to_xy(there), boxes_yx)


@settings(deadline=None)
@given(boxes)
def test_corners_may_come_in_any_order(boxes_yx):
    sorted_boxes = geometry.sort_box(boxes_yx)
    for reversed_axes in ([2, 1, 0, 3], [0, 3, 2, 1], [2, 3, 0, 1]):
        other = geometry.sort_box(boxes_yx[:, reversed_axes])
        np.testing.assert_array_equal(other, sorted_boxes)
    assert (sorted_boxes[:, :2] <= sorted_boxes[:, 2:]).all()


def test_clipping_keeps_boxes_in_the_plane():
    clipped = geometry.clip_box([[-3, 2, 5, 99], [50, 50, 60, 60]], (10, 20))
    np.testing.assert_array_equal(clipped, [[0, 2, 5, 20], [10, 20, 10, 20]])


def test_a_mask_fills_its_bounding_box():
    mask = np.zeros((9, 8), bool)
    mask[2, 3] = mask[6, 5] = True
    assert geometry.mask_bounding_box(mask) == (2, 3, 7, 6)
    assert geometry.mask_bounding_box(np.zeros((3, 3), bool)) is None


@pytest.mark.parametrize(
    ("box", "xywh"),
    [
        ((2, 3, 7, 6), [3, 2, 2, 4]),
        ((2, 3, 3, 4), [3, 2, 0, 0]),
        ((0, 0, 0, 0), [0, 0, 0, 0]),
    ],
)
def test_record_boxes_count_inclusive_pixels(box, xywh):
    assert geometry.half_open_to_xywh(box) == xywh


def test_boxes_intersect_only_where_both_have_pixels():
    assert geometry.intersect_boxes((0, 0, 4, 4), (2, 3, 9, 9)) == (2, 3, 4, 4)
    assert geometry.intersect_boxes((0, 0, 4, 4), (4, 0, 9, 9)) is None


def test_growing_stops_at_the_border():
    assert geometry.grow_box((1, 5, 3, 7), 2, (4, 20)) == (0, 3, 4, 9)
