# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import pytest

from napari_sam.evaluation.matching import (
    MatchCounts,
    drop_small,
    iou_matrix,
    match_objects,
    matched_ious,
    overlap_matrix,
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


def test_f1_by_hand():
    assert MatchCounts(1, 2, 2).f1 == pytest.approx(2 / 6)
    assert MatchCounts(0, 0, 0).f1 == 1
    assert MatchCounts(0, 1, 0).f1 == 0


def test_overlap_counts_background_too():
    truth = drop_small(_row((1, 0, 10), (2, 20, 30)), 0)
    prediction = drop_small(_row((1, 5, 15)), 0)
    found = overlap_matrix(truth, prediction)
    np.testing.assert_array_equal(found, [[75, 5], [5, 5], [10, 0]])


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.45])
def test_low_thresholds_against_all_pairings(threshold: float):
    """No other one-to-one pairing has more pairs, or as many with a larger sum."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        n, m = rng.integers(1, 6, size=2)
        ious = rng.random((n, m)) ** 2
        wide = ious if n <= m else ious.T
        best = max(
            (len(kept := row[row > threshold]), kept.sum())
            for columns in itertools.permutations(range(wide.shape[1]), len(wide))
            for row in [wide[np.arange(len(wide)), list(columns)]]
        )
        found = matched_ious(ious, threshold)
        assert len(found) == best[0]
        assert found.sum() == pytest.approx(best[1])


def test_from_a_half_every_pair_stands_alone():
    """Random label images: no object is in two pairs, and the optimum is the same."""
    rng = np.random.default_rng(5)
    for _ in range(10):
        truth = rng.integers(0, 4, size=(6, 6)).repeat(3, 0).repeat(3, 1)
        prediction = np.where(rng.random(truth.shape) < 0.85, truth, 0)
        ious = iou_matrix(drop_small(truth, 0), drop_small(prediction, 0))
        good = ious > 0.5
        assert good.sum(axis=0).max() <= 1
        assert good.sum(axis=1).max() <= 1
        np.testing.assert_allclose(
            np.sort(matched_ious(ious, 0.5)), np.sort(matched_ious(ious, 0.49999))
        )
