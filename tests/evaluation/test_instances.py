# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from napari_sam.evaluation.instances import (
    THRESHOLDS,
    boundary_f,
    over_and_under,
    score_instances,
)
from napari_sam.evaluation.matching import MatchCounts, match_objects, overlap_matrix
from napari_sam.evaluation.settings import EvaluationSettings


def _row(*runs: tuple[int, int, int], width: int = 200) -> np.ndarray:
    labels = np.zeros((1, width), dtype=np.uint16)
    for label, start, stop in runs:
        labels[0, start:stop] = label
    return labels


def test_thresholds_are_those_of_coco():
    assert THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def test_scores_by_hand():
    truth = _row((1, 0, 100), (2, 110, 140), (3, 150, 180))
    # 1: IoU 0.72; 2: IoU 0.9; 3 is missed; something is invented
    prediction = _row((1, 0, 72), (2, 110, 137), (5, 181, 200))
    found = score_instances(truth, prediction, EvaluationSettings(min_area=5))
    assert found.counts == MatchCounts(2, 1, 1)
    assert found.ap.value == pytest.approx(2 / 4)
    assert found.f1.value == pytest.approx(4 / 6)
    # 0.5 to 0.7: 2 / 4; 0.75 to 0.85: 1 / (1 + 2 + 2); 0.9 is not above 0.9
    per_threshold = [2 / 4] * 5 + [1 / 5] * 3 + [0] * 2
    curve = [found.ap_curve.at(i).value for i in range(10)]
    np.testing.assert_allclose(curve, per_threshold)
    assert found.ap_curve.value == pytest.approx(np.mean(per_threshold))
    f1 = [found.f1_curve.at(i).value for i in (0, 6, 9)]
    np.testing.assert_allclose(f1, [4 / 6, 2 / 6, 0])


def test_curves_agree_with_counting_at_every_threshold():
    rng = np.random.default_rng(2)
    for _ in range(8):
        truth = rng.integers(0, 6, size=(5, 5)).repeat(4, 0).repeat(4, 1)
        prediction = np.where(rng.random(truth.shape) < 0.8, truth, 0)
        prediction[:4, :4] = 9
        settings = EvaluationSettings(min_area=0)
        found = score_instances(truth, prediction, settings)
        for i, threshold in enumerate(THRESHOLDS):
            counts = match_objects(truth, prediction, iou_threshold=threshold)
            assert found.ap_curve.at(i).value == pytest.approx(counts.average_precision)
            assert found.f1_curve.at(i).value == pytest.approx(counts.f1)


def test_thresholds_under_a_half_pair_one_to_one():
    truth = _row((1, 0, 20), (2, 20, 40))
    prediction = _row((1, 10, 30), (2, 0, 10))
    settings = EvaluationSettings(min_area=5, iou_threshold=0.3)
    found = score_instances(truth, prediction, settings)
    assert found.counts == MatchCounts(2, 0, 0)
    assert found.ap.value == 1


def test_empty_images():
    nothing, something = _row(), _row((5, 0, 30))
    settings = EvaluationSettings()
    assert score_instances(nothing, nothing, settings).ap_curve.value == 1
    assert score_instances(nothing, nothing, settings).boundary.value == 1
    missed = score_instances(something, nothing, settings)
    assert missed.counts == MatchCounts(0, 0, 1)
    assert missed.ap.value == missed.f1.value == missed.boundary.value == 0
    invented = score_instances(nothing, something, settings)
    assert invented.counts == MatchCounts(0, 1, 0)
    assert len(invented.over.top) == 0


def test_small_objects_do_not_count():
    truth = _row((1, 0, 30), (2, 40, 50))
    prediction = _row((1, 0, 30), (2, 60, 84))
    found = score_instances(truth, prediction, EvaluationSettings(min_area=25))
    assert found.counts == MatchCounts(1, 0, 0)


def _over_and_under(truth: np.ndarray, prediction: np.ndarray):
    over, under = over_and_under(overlap_matrix(truth, prediction))
    return over.tolist(), under.tolist()


def test_over_segmentation_is_two_pieces_in_one_object():
    truth = _row((1, 0, 100), (2, 110, 130))
    two = _row((1, 0, 40), (2, 40, 90), (3, 110, 130))
    assert _over_and_under(truth, two) == ([True, False], [False, False])
    # A piece that lies half outside does not lie in it; more than half does.
    half = _row((1, 0, 40), (2, 95, 105), (3, 110, 130))
    assert _over_and_under(truth, half)[0] == [False, False]
    more = _row((1, 0, 40), (2, 94, 105), (3, 110, 130))
    assert _over_and_under(truth, more)[0] == [True, False]


def test_under_segmentation_is_two_objects_in_one_piece():
    truth = _row((1, 0, 20), (2, 25, 45), (3, 50, 70))
    lump = _row((1, 0, 44), (2, 50, 70))
    assert _over_and_under(truth, lump) == ([False] * 3, [True, True, False])
    # Half of the second object is not more than half.
    part = _row((1, 0, 35), (2, 50, 70))
    assert _over_and_under(truth, part)[1] == [False] * 3
    everything = np.ones_like(truth)
    assert _over_and_under(truth, everything)[1] == [True] * 3
    assert _over_and_under(truth, np.zeros_like(truth)) == ([False] * 3, [False] * 3)


def _square(y0: int, x0: int, size: int) -> np.ndarray:
    labels = np.zeros((40, 40), np.uint8)
    labels[y0 : y0 + size, x0 : x0 + size] = 1
    return labels


def test_boundary_f_by_hand():
    truth = _square(5, 5, 10)  # 36 boundary pixels
    assert boundary_f(truth, truth, 0) == 1
    shifted = _square(5, 7, 10)
    assert boundary_f(truth, shifted, 2) == 1
    # At tolerance 0 the two share rows 5 and 14 where both run: 2 x 8 pixels.
    assert boundary_f(truth, shifted, 0) == pytest.approx(16 / 36)
    assert boundary_f(truth, _square(25, 25, 10), 2) == 0
    # A square of 4 in the middle: each of its 12 pixels is 3 away from a side; 4 of the
    # 9 pixels between two corners of the large one are no further from it.
    small = _square(8, 8, 4)
    assert boundary_f(truth, small, 2) == 0
    assert boundary_f(truth, small, 3) == pytest.approx(2 * (16 / 36) / (1 + 16 / 36))


def test_boundary_between_touching_objects_counts_and_the_image_border_does_not():
    split = np.ones((20, 20), np.uint8)
    split[:, 10:] = 2
    whole = np.ones((20, 20), np.uint8)
    assert boundary_f(split, split, 0) == 1
    assert boundary_f(split, whole, 5) == 0  # an image of one object has no boundary
