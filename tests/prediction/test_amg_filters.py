# SPDX-License-Identifier: Apache-2.0
import numpy as np

from napari_sam.prediction.amg_filters import (
    inclusive_boxes,
    is_cut_by_crop,
    suppress,
)
from napari_sam.structures import rle
from napari_sam.structures.candidates import MaskRecord


def boxes(*rows):
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def test_the_better_of_two_overlapping_boxes_stays():
    kept = suppress(
        boxes([0, 0, 10, 10], [0, 1, 10, 11], [50, 50, 60, 60]), [1, 2, 3], 0.7
    )
    assert kept.tolist() == [2, 1]


def test_an_overlap_of_exactly_the_threshold_is_allowed():
    pair = boxes([0, 0, 10, 10], [0, 0, 10, 5])
    assert suppress(pair, [2, 1], 0.5).tolist() == [0, 1]
    assert suppress(pair, [2, 1], 0.49).tolist() == [0]


def test_equal_scores_keep_their_order():
    kept = suppress(
        boxes(*[[20 * i, 0, 20 * i + 5, 5] for i in range(9)]), [1.0] * 9, 0.7
    )
    assert kept.tolist() == list(range(9))


def test_boxes_without_area_are_never_suppressed():
    assert suppress(boxes([3, 3, 3, 3], [3, 3, 3, 3]), [1, 2], 0.1).tolist() == [1, 0]


def test_a_suppressed_box_suppresses_nothing():
    chain = boxes([0, 0, 10, 10], [0, 4, 10, 14], [0, 8, 10, 18])
    assert suppress(chain, [3, 2, 1], 0.3).tolist() == [0, 2]


def test_no_boxes_are_no_trouble():
    assert suppress(boxes(), [], 0.7).tolist() == []
    assert inclusive_boxes([]).shape == (0, 4)


def test_boxes_of_records_end_at_their_last_pixel():
    def record(box):
        empty = rle.encode(np.zeros((9, 9), bool))
        return MaskRecord(empty, box, 0, 1.0, 1.0, (0, 0), (0, 0, 9, 9))

    made = inclusive_boxes([record((1, 2, 4, 7)), record((3, 3, 3, 3))])
    assert made.tolist() == [[1, 2, 3, 6], [3, 3, 3, 3]]


def test_masks_at_the_edge_of_a_crop_are_cut_unless_the_image_ends_there():
    shape, crop = (500, 600), (0, 0, 300, 300)
    assert not is_cut_by_crop((0, 0, 50, 50), crop, shape)
    assert not is_cut_by_crop((100, 100, 200, 200), crop, shape)
    assert is_cut_by_crop((100, 100, 281, 200), crop, shape)
    assert not is_cut_by_crop((100, 100, 280, 200), crop, shape)
    assert is_cut_by_crop((100, 320, 200, 400), (0, 300, 300, 600), shape)
    assert not is_cut_by_crop((0, 0, 500, 600), (0, 0, 500, 600), shape)
