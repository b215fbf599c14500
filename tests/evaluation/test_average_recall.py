# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from napari_sam.evaluation.average_recall import (
    MAX_PROPOSALS,
    proposal_ious,
    proposed_masks,
    recalled,
)
from napari_sam.evaluation.prompts import true_objects
from napari_sam.structures import rle
from napari_sam.structures.candidates import MaskRecord

SHAPE = (30, 50)


def _record(y0: int, x0: int, y1: int, x1: int, score: float = 0.5) -> MaskRecord:
    mask = np.zeros(SHAPE, bool)
    mask[y0:y1, x0:x1] = True
    encoded = rle.encode(mask)
    box = (y0, x0, y1, x1)
    return MaskRecord(encoded, box, encoded.area, score, 0.9, (0, 0), (0, 0, *SHAPE))


def _objects(*boxes: tuple[int, int, int, int]):
    labels = np.zeros(SHAPE, np.uint8)
    for number, (y0, x0, y1, x1) in enumerate(boxes, 1):
        labels[y0:y1, x0:x1] = number
    return list(true_objects(labels))


def test_ious_of_overlapping_proposals():
    objects = _objects((0, 0, 10, 10), (15, 20, 25, 40))
    records = [_record(0, 0, 10, 5), _record(0, 0, 30, 50), _record(16, 20, 25, 40)]
    expected = [[0.5, 100 / 1500, 0], [0, 200 / 1500, 0.9]]
    np.testing.assert_allclose(proposal_ious(objects, records), expected)


def test_ious_against_whole_masks():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (6, 10)).repeat(5, 0).repeat(5, 1)
    objects = list(true_objects(labels))
    corners = rng.integers(0, 25, (12, 2))
    records = [_record(y, x, y + 5, x + 25) for y, x in corners.tolist()]
    wanted = [
        [
            (r.mask() & (labels == o.label)).sum()
            / (r.mask() | (labels == o.label)).sum()
            for r in records
        ]
        for o in objects
    ]
    np.testing.assert_allclose(proposal_ious(objects, records), wanted)


def test_a_threshold_is_reached_at_equality():
    # an IoU of exactly 0.9 counts at 0.9, as in COCO
    found = recalled(_objects((0, 0, 10, 10)), [_record(0, 0, 10, 9)])
    assert found.tolist() == [[True] * 9 + [False]]


def test_better_proposals_choose_first():
    # The first proposal takes the left object, its best; the second is left with the
    # right one. A third of the same place finds nothing free.
    objects = _objects((0, 0, 10, 10), (0, 10, 10, 20))
    both = _record(0, 1, 10, 11), _record(0, 0, 10, 18), _record(0, 0, 10, 10)
    assert recalled(objects, both)[:, 0].tolist() == [True, False]
    assert recalled(objects, both[1:])[:, 0].tolist() == [True, False]
    right = _record(0, 9, 10, 20)
    assert recalled(objects, [*both, right])[:, 0].tolist() == [True, True]


def test_nothing_proposed_and_nothing_to_find():
    assert not recalled(_objects((0, 0, 10, 10)), []).any()
    assert recalled([], [_record(0, 0, 5, 5)]).shape == (0, 10)


def test_settings_of_the_paper(monkeypatch):
    seen = {}
    records = [_record(0, 0, 2, 2, 0.001 * i) for i in range(1200)]
    nothing = _record(0, 0, 0, 0, 1.0)

    class Generator:
        def __init__(self, predictor, **settings):
            seen.update(settings)

        def generate(self, image):
            return [*records, nothing]

    monkeypatch.setattr(
        "napari_sam.evaluation.average_recall.AutomaticMaskGenerator", Generator
    )
    found = proposed_masks(None, np.zeros(SHAPE))
    assert len(found) == MAX_PROPOSALS
    assert found[0].predicted_iou == pytest.approx(1.199)
    assert found[-1].predicted_iou == pytest.approx(0.2)
    assert seen["points_per_side"] == 64
    assert seen["pred_iou_thresh"] == seen["stability_score_thresh"] == 0
    assert seen["box_nms_thresh"] == 0.9
    assert seen["crop_n_layers"] == 0
