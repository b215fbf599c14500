# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from napari_sam.evaluation.prompts import (
    centre_point,
    correction_point,
    jittered_box,
    random_generator,
    random_point,
    true_objects,
)
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import PointPrompt


def test_centre_of_odd_square():
    mask = np.zeros((9, 11), bool)
    mask[2:7, 3:8] = True
    assert centre_point(mask) == (4, 5)


def test_first_maximum_in_row_major_order():
    mask = np.zeros((6, 6), bool)
    mask[1:5, 1:5] = True  # the four inner pixels are all 2 pixels away
    assert centre_point(mask) == (2, 2)
    two = np.zeros((5, 9), bool)
    two[1:4, 5:8] = two[1:4, 1:4] = True
    assert centre_point(two) == (2, 2)


def test_image_border_counts_as_boundary():
    mask = np.ones((5, 9), bool)
    assert centre_point(mask) == (2, 2)
    corner = np.zeros((10, 10), bool)
    corner[:3, :3] = True
    assert centre_point(corner) == (1, 1)


def test_empty_mask_is_refused():
    with pytest.raises(ValueError, match="no centre point"):
        centre_point(np.zeros((3, 3), bool))


def test_true_objects_boxes_centres_areas():
    labels = np.zeros((40, 50), np.uint16)
    labels[3:10, 5:12] = 300  # 49 px
    labels[20:25, 40:50] = 7  # 50 px, at the right border
    labels[30:32, 0:3] = 9  # 6 px
    found = list(true_objects(labels, min_area=25))
    assert [o.label for o in found] == [7, 300]
    assert [o.area for o in found] == [50, 49]
    assert found[0].box_yx == (20, 40, 25, 50)
    assert found[1].box_yx == (3, 5, 10, 12)
    assert found[1].centre_yx == (6, 8)
    assert len(list(true_objects(labels))) == 3


def test_neighbour_is_background_for_the_centre():
    labels = np.zeros((20, 20), np.int64)
    labels[:, :10] = 1
    labels[:, 10:] = 2
    labels[:, 4:6] = 3
    centres = {o.label: o.centre_yx for o in true_objects(labels)}
    assert centres[2] == (4, 14)
    assert labels[centres[1]] == 1
    assert labels[centres[3]] == 3


def test_labels_without_background():
    (only,) = true_objects(np.full((3, 5), 4, np.uint8))
    assert (only.label, only.area, only.box_yx) == (4, 15, (0, 0, 3, 5))
    assert list(true_objects(np.zeros((3, 5), np.uint8))) == []


def _square(y0: int, x0: int, y1: int, x1: int) -> MaskWindow:
    return MaskWindow(y0, x0, np.ones((y1 - y0, x1 - x0), bool))


def _ring():
    labels = np.zeros((30, 40), np.uint8)
    labels[5:20, 10:30] = 1
    labels[8:17, 13:27] = 0
    (found,) = true_objects(labels)
    return labels, found


def test_random_points_lie_on_the_object_and_follow_the_seed():
    labels, found = _ring()
    points = [random_point(found, random_generator(s, "a", 1)) for s in range(50)]
    assert all(labels[point] == 1 for point in points)
    assert len(set(points)) > 30
    assert points[7] == random_point(found, random_generator(7, "a", 1))
    assert points[7] != random_point(found, random_generator(7, "b", 1))
    assert points[7] != random_point(found, random_generator(7, "a", 2))


def test_jittered_boxes_stay_near_and_on_the_plane():
    _, found = _ring()  # box 5, 10, 20, 30
    boxes = np.array(
        [
            jittered_box(found, random_generator(s, "a", 1), 0.5, (30, 31))
            for s in range(200)
        ]
    )
    y0, x0, y1, x1 = boxes.T
    # two fifths of 15 rows and of 20 columns; the plane ends at column 31
    assert y0.min() == 0
    assert y0.max() == 5 + 6
    assert y1.min() == 20 - 6
    assert y1.max() == 20 + 6
    assert (x0.min(), x0.max()) == (2, 18)
    assert (x1.min(), x1.max()) == (22, 31)
    assert (y1 > y0).all()
    assert (x1 > x0).all()
    still = jittered_box(found, random_generator(0, "a", 1), 0.0, (30, 40))
    assert still == found.box_yx


def test_no_side_moves_more_than_twenty_pixels():
    (found,) = true_objects(np.pad(np.ones((500, 500), np.uint8), 100))
    boxes = [
        jittered_box(found, random_generator(s, "", 1), 1.0, (700, 700))
        for s in range(20)
    ]
    assert np.abs(np.array(boxes) - found.box_yx).max() == 20


def test_correction_goes_into_the_larger_error():
    truth = _square(10, 10, 21, 21)
    # columns 18 to 20 are missing (11 x 3); columns 5 to 9 are too many (11 x 5)
    prediction = _square(10, 5, 21, 18)
    assert correction_point(truth, prediction) == PointPrompt((12, 7), 0)
    # now 11 x 5 is missing, 11 x 3 too many
    prediction = _square(10, 7, 21, 16)
    assert correction_point(truth, prediction) == PointPrompt((12, 18), 1)


def test_errors_of_the_same_depth_are_background():
    truth = _square(10, 10, 20, 20)
    assert correction_point(truth, _square(10, 9, 20, 19)) == PointPrompt((10, 9), 0)


def test_correction_of_nothing_and_without_errors():
    truth = _square(3, 4, 8, 9)
    nothing = MaskWindow(0, 0, np.zeros((0, 0), bool))
    assert correction_point(truth, nothing) == PointPrompt((5, 6), 1)
    assert correction_point(nothing, truth) == PointPrompt((5, 6), 0)
    assert correction_point(truth, truth) is None
    assert correction_point(nothing, nothing) is None


def test_correction_against_whole_planes():
    """The windows hide nothing: the same as on full-size masks."""
    from scipy import ndimage

    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, prediction = (
            ndimage.gaussian_filter(rng.random((30, 40)), 2) > 0.5 for _ in range(2)
        )
        depths = [
            ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
            for region in (truth & ~prediction, prediction & ~truth)
        ]
        label = int(depths[0].max() > depths[1].max())
        depth = depths[1 - label]
        expected = np.unravel_index(depth.argmax(), depth.shape)
        found = correction_point(
            MaskWindow.of_mask(truth), MaskWindow.of_mask(prediction)
        )
        assert found == PointPrompt(tuple(map(float, expected)), label)
