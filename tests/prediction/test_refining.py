# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_sam.prediction.mask_records import RecordMaker
from napari_sam.prediction.progress_range import ProgressRange
from napari_sam.prediction.refining import Refiner, innermost_of
from napari_sam.structures import rle
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.settings import AutoSettings

SETTINGS = AutoSettings(method="fast", pred_iou_thresh=0.5, stability_score_thresh=0.8)


def record_of(mask, score=0.6):
    encoded = rle.encode(mask)
    box = encoded.bounding_box() or (0, 0, 0, 0)
    where = (0, 0, *mask.shape)
    return MaskRecord(encoded, box, encoded.area, score, 1.0, (0.0, 0.0), where)


def square(y0, x0, y1, x1, shape=(64, 80)):
    mask = np.zeros(shape, np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.fixture
def refine(truth_decoder):
    """Refine masks of a picture whose true objects are two squares."""
    labels = square(8, 8, 24, 28) + 2 * square(30, 40, 60, 70).astype(np.int32)

    def run(masks, *, cancel=None, progress=None, batch_size=8, **how):
        decoder = truth_decoder(labels, **how)
        whole = (0, 0, *labels.shape)
        maker = RecordMaker(whole, labels.shape, SETTINGS, decoder)
        records = [record_of(mask) for mask in masks]
        report = ProgressRange(progress)
        refiner = Refiner(decoder, maker, whole, SETTINGS)
        return refiner.refine(records, batch_size, report, cancel), records

    return run


def test_a_coarse_mask_becomes_the_true_one(refine):
    (first, second), _ = refine([square(9, 10, 24, 28), square(30, 44, 60, 70)])
    assert first.bbox == (8, 8, 24, 28)
    assert second.bbox == (30, 40, 60, 70)
    assert first.predicted_iou == pytest.approx(1.0)
    # What was asked is the innermost pixel of the coarse mask.
    assert first.point_yx == pytest.approx(
        innermost_of(record_of(square(9, 10, 24, 28)))
    )


def test_answers_that_are_bad_or_of_something_else_change_nothing(refine):
    coarse = square(9, 10, 24, 28)
    for quality in (0.4, 0.55):  # below the threshold; below the mask's own 0.6
        found, records = refine([coarse], quality=quality)
        assert found == records
    small = square(14, 12, 18, 18)  # a part: the answer would be the whole
    found, records = refine([small])
    assert found == records
    found, records = refine([np.zeros((64, 80), np.bool_)])
    assert found == records
    assert refine([])[0] == []


def test_parts_of_an_image_are_asked_in_their_own_pixels(truth_decoder):
    labels = square(8, 8, 24, 28).astype(np.int32)
    box = (100, 200, 164, 280)
    decoder = truth_decoder(labels)
    maker = RecordMaker(box, (300, 300), SETTINGS, decoder)
    coarse = np.zeros((300, 300), np.bool_)
    coarse[109:124, 210:228] = True
    refiner = Refiner(decoder, maker, box, SETTINGS)
    (found,) = refiner.refine([record_of(coarse)], 4, ProgressRange(None), None)
    assert found.bbox == (108, 208, 124, 228)
    assert found.crop_box == box
    y, x = decoder.asked[0]
    assert labels[round(y), round(x)] == 1


def test_the_innermost_of_is_the_middle():
    assert innermost_of(record_of(square(10, 20, 15, 25))) == (12, 22)
    ring = square(10, 10, 40, 40) & ~square(16, 16, 34, 40)
    y, x = innermost_of(record_of(ring))
    assert ring[int(y), int(x)]


def test_progress_and_cancel(refine):
    calls = []
    masks = [square(9, 10, 24, 28), square(31, 41, 60, 70)]
    refine(masks, batch_size=1, progress=lambda *call: calls.append(call))
    assert calls == [(50, 100), (100, 100)]
    cancel = threading.Event()
    cancel.set()
    found, records = refine(masks, batch_size=1, cancel=cancel)
    assert found[0] != records[0]
    assert found[1] == records[1]


def test_a_range_of_progress_maps_its_parts():
    calls = []
    report = ProgressRange(lambda *call: calls.append(call)).part(0.5, 1.0)
    report.part(0.0, 0.5)(1, 2)
    report(1, 1)
    assert calls == [(62, 100), (100, 100)]
    ProgressRange(None)(1, 1)
