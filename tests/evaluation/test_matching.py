# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from napari_sam.evaluation.matching import (
    MatchCounts,
    drop_small,
    iou_matrix,
    match_objects,
)


def _row(*runs: tuple[int, int, int], width: int = 100) -> np.ndarray:
    """One-row label image from (label, start, stop)."""
    labels = np.zeros((1, width), dtype=np.uint16)
    for label, start, stop in runs:
        labels[0, start:stop] = label
    return labels


def test_counts_by_hand():
    truth = _row((1, 0, 10), (2, 20, 30), (3, 40, 50))
    prediction = _row((7, 0, 9), (9, 25, 30), (4, 60, 70))
    # 1-7: 9/10 yes; 2-9: 5/10, not greater than a half; 4 was invented; 3 missed
    counts = match_objects(truth, prediction, iou_threshold=0.5)
    assert counts == MatchCounts(1, 2, 2)
    assert counts.average_precision == pytest.approx(1 / 5)
    assert match_objects(truth, prediction, iou_threshold=0.49) == MatchCounts(2, 1, 1)


def test_threshold_is_strict():
    truth, prediction = _row((1, 0, 10)), _row((1, 0, 5))
    assert match_objects(truth, prediction, iou_threshold=0.5).true_positives == 0


def test_low_threshold_finds_the_pairing_with_most_pairs():
    # a overlaps both truths (10/30 and 10/30); b overlaps only the first. Taking the
    # first pair that comes, 1-a, would leave 2 alone.
    truth = _row((1, 0, 20), (2, 20, 40))
    prediction = _row((1, 10, 30), (2, 0, 10))
    counts = match_objects(truth, prediction, iou_threshold=0.3)
    assert counts == MatchCounts(2, 0, 0)


def test_small_ones_dropped_on_both_sides():
    truth = _row((1, 0, 30), (2, 40, 50))
    prediction = _row((1, 0, 30), (2, 60, 84))
    assert match_objects(truth, prediction, min_area=25) == MatchCounts(1, 0, 0)
    assert match_objects(truth, prediction, min_area=24) == MatchCounts(1, 1, 0)


def test_empty_images():
    nothing, something = _row(), _row((5, 0, 30))
    assert match_objects(nothing, nothing).average_precision == 1
    assert match_objects(something, nothing) == MatchCounts(0, 0, 1)
    assert match_objects(nothing, something) == MatchCounts(0, 1, 0)
    assert match_objects(nothing, something).average_precision == 0


def test_drop_small_renumbers_in_order():
    labels = _row((40000, 0, 30), (3, 40, 80), (9, 90, 92))
    assert np.unique(drop_small(labels, 25)).tolist() == [0, 1, 2]
    assert drop_small(labels, 25)[0, 50] == 1
    assert drop_small(labels, 25)[0, 0] == 2
    # an image without any background pixel
    full = np.full((2, 3), 8, dtype=np.int32)
    assert (drop_small(full, 0) == 1).all()


def test_iou_matrix_values():
    truth = drop_small(_row((1, 0, 10), (2, 20, 30)), 0)
    prediction = drop_small(_row((1, 5, 15), (2, 20, 30), (3, 50, 60)), 0)
    expected = [[5 / 15, 0, 0], [0, 1, 0]]
    np.testing.assert_allclose(iou_matrix(truth, prediction), expected)


def test_iou_matrix_refuses_other_shape():
    with pytest.raises(ValueError, match="cannot be matched"):
        iou_matrix(_row(), _row(width=99))
