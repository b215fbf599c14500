# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from napari_sam.prediction.label_painting import is_background, paint_objects
from napari_sam.structures import rle
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.settings import LabelSettings

SHAPE = (60, 80)
VIEW = (0, 0, *SHAPE)


def record_of(mask, score=0.9):
    encoded = rle.encode(mask)
    bbox = encoded.bounding_box() or (0, 0, 0, 0)
    return MaskRecord(encoded, bbox, encoded.area, score, 1.0, (0.0, 0.0), VIEW)


def block(y0, x0, y1, x1, score=0.9):
    mask = np.zeros(SHAPE, bool)
    mask[y0:y1, x0:x1] = True
    return record_of(mask, score)


def paint(*records, **settings):
    return paint_objects(records, SHAPE, LabelSettings(**settings))


def test_the_higher_score_keeps_the_pixel():
    labels, objects = paint(block(0, 0, 20, 20, 0.7), block(10, 10, 30, 30, 0.8))
    assert labels.dtype == np.uint32
    assert labels[15, 15] == 1
    assert objects[0].predicted_iou == 0.8
    assert objects[0].area == 400
    assert objects[1].area == 300


def test_records_describe_their_label():
    labels, objects = paint(
        block(0, 0, 20, 20), block(5, 15, 25, 35), block(40, 40, 50, 60)
    )
    assert labels.max() == len(objects) == 3
    for number, record in enumerate(objects, start=1):
        np.testing.assert_array_equal(record.mask(), labels == number)
        rows, columns = np.nonzero(labels == number)
        assert record.bbox == (
            rows.min(),
            columns.min(),
            rows.max() + 1,
            columns.max() + 1,
        )
        assert record.area == len(rows)


def test_what_an_overlap_leaves_has_no_slivers():
    bar = block(20, 0, 30, 80, 0.6)
    across = block(0, 20, 60, 40, 0.9)  # leaves 20 columns of the bar and 40
    labels, objects = paint(bar, across)
    assert len(objects) == 2
    assert not labels[20:30, :20].any()
    assert (labels[20:30, 40:] == 2).all()


def test_a_ring_around_a_better_mask_is_dropped():
    labels, objects = paint(block(10, 10, 30, 30, 0.9), block(9, 9, 31, 31, 0.8))
    assert len(objects) == 1
    assert (labels > 0).sum() == 400


def test_a_part_is_taken_over_by_its_whole():
    nucleolus, nucleus = block(12, 12, 18, 18, 0.95), block(5, 5, 30, 30, 0.8)
    labels, objects = paint(nucleolus, nucleus)
    assert len(objects) == 1
    assert objects[0].predicted_iou == 0.8
    assert (labels == 1).sum() == 625
    _, apart = paint(nucleolus, nucleus, absorb_parts=False, fill_holes=False)
    assert [record.area for record in apart] == [36, 625 - 36]


def test_nothing_is_left_of_a_part_that_was_taken_over():
    part, whole = block(20, 12, 31, 20, 0.95), block(5, 5, 30, 30, 0.9)
    below = block(30, 5, 45, 30, 0.8)
    labels, objects = paint(part, whole, below)
    assert [record.area for record in objects] == [625, 375]
    assert labels[30, 15] == 2


def test_a_cluster_of_better_objects_is_dropped():
    cells = [block(0, 20 * i, 20, 20 * i + 18, 0.9) for i in range(4)]
    _, objects = paint(*cells, block(0, 0, 20, 78, 0.8))
    assert len(objects) == 4
    _, objects = paint(*cells, block(0, 0, 20, 78, 0.95))
    assert len(objects) == 1


def test_holes_are_filled_but_not_with_other_objects():
    mask = np.zeros(SHAPE, bool)
    mask[5:35, 5:35] = True
    mask[10:12, 10:12] = False
    mask[20:28, 20:28] = False
    labels, objects = paint(record_of(mask, 0.8), block(20, 20, 28, 28, 0.9))
    assert labels[11, 11] == labels[6, 6]
    assert labels[22, 22] != labels[6, 6]
    assert len(objects) == 2
    labels, _ = paint(record_of(mask, 0.8), fill_holes=False)
    assert labels[11, 11] == 0


@pytest.mark.parametrize("outer_score", [0.8, 0.95])
def test_a_ring_in_a_ring_keeps_its_own_hole(outer_score):
    outer, inner = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    outer[5:55, 5:55], outer[15:45, 15:45] = True, False
    inner[20:40, 20:40], inner[26:34, 26:34] = True, False
    labels, objects = paint(record_of(outer, outer_score), record_of(inner, 0.9))
    assert len(objects) == 2
    assert labels[30, 30] == labels[22, 22] != labels[7, 7]
    for number, record in enumerate(objects, start=1):
        np.testing.assert_array_equal(record.mask(), labels == number)


def test_small_objects_are_dropped_and_numbers_have_no_gaps():
    small, large = block(0, 0, 4, 6, 0.95), block(10, 10, 20, 20, 0.9)
    labels, objects = paint(small, large, min_area=25)
    assert np.unique(labels).tolist() == [0, 1]
    assert len(objects) == 1
    assert paint(small, large, min_area=24)[0].max() == 2


def test_empty_masks_are_no_objects():
    labels, objects = paint(record_of(np.zeros(SHAPE, bool)), min_area=0)
    assert objects == []
    assert not labels.any()


def around_the_objects():
    mask = np.ones(SHAPE, bool)
    mask[10:50, 10:70] = False
    return mask


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (around_the_objects(), True),
        (np.ones(SHAPE, bool), True),
        (block(0, 0, 60, 40).mask(), True),
        (block(0, 0, 60, 10).mask(), False),
        (block(0, 0, 55, 70).mask(), False),
        (block(5, 5, 57, 77).mask(), False),
    ],
)
def test_background_touches_three_sides_and_is_large(mask, expected):
    record = record_of(mask)
    assert is_background(record, VIEW, 0.25) is expected
    assert not is_background(record, VIEW, 1)
