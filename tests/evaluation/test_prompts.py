# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from napari_sam.evaluation.prompts import centre_point, true_objects


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
