# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.annotation.found_in_part import FoundInPart
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.rle import encode_window

SHAPE = (30, 40)
PART = (10, 20, 20, 36)


def record_of(box, size):
    y0, x0, y1, x1 = box
    window = np.ones((y1 - y0, x1 - x0), bool)
    return MaskRecord(
        rle=encode_window(window, y0, x0, size),
        bbox=box,
        area=window.size,
        predicted_iou=0.25 + y0,
        stability_score=0.5 + y0,
        point_yx=(float(y0), float(x0)),
        crop_box=(0, 0, *size),
    )


@pytest.fixture
def whole():
    """Labels of the whole plane: the second object hides a corner of the first."""
    labels = np.zeros(SHAPE, np.uint32)
    labels[12:16, 22:27], labels[14:18, 25:30] = 1, 2
    return labels


@pytest.fixture
def found(whole):
    y0, x0, y1, x1 = PART
    boxes = [(2, 2, 6, 7), (4, 5, 8, 10)]
    records = [record_of(box, (10, 16)) for box in boxes]
    return FoundInPart(SHAPE, PART, whole[y0:y1, x0:x1], records)


@pytest.mark.parametrize(
    "box",
    [(0, 0, *SHAPE), PART, (15, 26, 16, 27), (13, 0, 30, 26), (0, 0, 10, 40)],
)
def test_labels_of_any_box_are_those_of_the_plane(found, whole, box):
    y0, x0, y1, x1 = box
    np.testing.assert_array_equal(found.labels_in(box), whole[y0:y1, x0:x1])


def test_objects_are_measured_by_their_pixels(found, whole):
    assert len(found) == 2
    for label in (1, 2):
        y, x = np.nonzero(whole == label)
        assert found.area(label) == y.size
        assert found.box(label) == (y.min(), x.min(), y.max() + 1, x.max() + 1)
    assert found.area(1) == 20 - 4
    assert found.scores(2) == (4.25, 4.5)


def test_a_record_is_one_of_the_plane(found):
    record = found.record(2)
    assert record.bbox == (14, 25, 18, 30)
    assert record.rle.size == SHAPE
    expected = np.zeros(SHAPE, bool)
    expected[14:18, 25:30] = True
    np.testing.assert_array_equal(record.mask(), expected)
