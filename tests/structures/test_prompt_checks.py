# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from napari_sam.errors import PromptError
from napari_sam.structures.prompt_checks import (
    check_boxes,
    check_mask_input,
    check_points,
)

SHAPE = (10, 20)


def test_points_without_labels_are_on_the_object():
    points, labels = check_points([[1, 2], [9.9, -0.5]], None, SHAPE)
    assert points.dtype == np.float64
    assert labels.tolist() == [1, 1]


@pytest.mark.parametrize("yx", [(-1, 3), (10, 3), (3, 20), (3, -0.6)])
def test_a_point_outside_the_image_is_refused(yx):
    with pytest.raises(PromptError, match="outside the image of 10 rows and 20 col"):
        check_points([yx], None, SHAPE)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_point_that_is_not_finite_is_refused(value):
    with pytest.raises(PromptError, match="NaN or infinite"):
        check_points([[value, 1]], [1], SHAPE)


@pytest.mark.parametrize("label", [2, -1, 0.5, np.nan])
def test_unknown_labels_are_refused(label):
    with pytest.raises(PromptError, match="Unknown point label"):
        check_points([[1, 1]], [label], SHAPE)


def test_padding_is_for_batches():
    points = [[[1, 1], [2, 2]], [[3, 3], [np.nan, 99]]]
    checked, labels = check_points(points, [[1, 0], [1, -1]], SHAPE, allow_padding=True)
    assert labels.tolist() == [[1, 0], [1, -1]]
    assert checked[1, 1].tolist() == [0, 0]


@pytest.mark.parametrize("points", [[], [1, 2], [[1, 2, 3]], "ab", [[1j, 2]]])
def test_what_is_no_list_of_points_is_refused(points):
    with pytest.raises(PromptError):
        check_points(points, None, SHAPE)


def test_every_point_needs_a_label():
    with pytest.raises(PromptError, match="as many labels"):
        check_points([[1, 1], [2, 2]], [1], SHAPE)


def test_boxes_are_sorted_and_cut_at_the_border():
    np.testing.assert_array_equal(check_boxes([8, 30, -2, 5], SHAPE), [0, 5, 8, 20])


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ((1, 1, 1, 4), "no area"),
        ((1, np.nan, 3, 4), "NaN"),
        ((1, 2, 3), "y0, x0, y1, x1"),
        ((11, 2, 15, 6), "outside the image"),
    ],
)
def test_boxes_that_mean_nothing_are_refused(box, why):
    with pytest.raises(PromptError, match=why):
        check_boxes(box, SHAPE)


@pytest.mark.parametrize("shape", [(4, 6), (1, 4, 6)])
def test_mask_inputs_may_have_a_leading_axis(shape):
    checked = check_mask_input(np.ones(shape), (4, 6))
    assert checked.shape == (4, 6)
    assert checked.dtype == np.float32


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        (np.ones((6, 4)), "shape"),
        (np.ones((2, 4, 6)), "shape"),
        (np.full((4, 6), np.nan), "NaN"),
        (np.ones((4, 6), complex), "real"),
    ],
)
def test_mask_inputs_of_another_kind_are_refused(mask, why):
    with pytest.raises(PromptError, match=why):
        check_mask_input(mask, (4, 6))
