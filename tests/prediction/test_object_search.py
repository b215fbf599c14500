# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest

from napari_sam.errors import Cancelled
from napari_sam.evaluation.matching import match_objects
from napari_sam.io.sample_data import load_sample
from napari_sam.prediction.label_painting import paint_objects
from napari_sam.prediction.object_search import search_objects
from napari_sam.structures.settings import AutoSettings, LabelSettings

KEEP = {"pred_iou_thresh": 0.5, "stability_score_thresh": 0.5}


def search(labels, decoder_of, *, method="fast", how=None, opened=None, **options):
    """Records found by decoders that see ``labels`` in any box."""

    def open_picture(box):
        y0, x0, y1, x1 = box
        decoder = decoder_of(labels[y0:y1, x0:x1], **(how or {}))
        if opened is not None:
            opened.append((box, decoder))
        return decoder

    settings = AutoSettings(method=method, **KEEP)
    return search_objects(labels.shape, settings, open_picture, **options)


def average_precision(labels, records, threshold=0.5):
    painted, _ = paint_objects(records, labels.shape, LabelSettings(min_area=9))
    return match_objects(
        labels, painted, iou_threshold=threshold, min_area=9
    ).average_precision


def discs(shape, radius, spacing):
    """Labels of discs on a grid that keeps half its spacing from the edges."""
    numbers = [
        (np.arange(side) // spacing, np.arange(side) % spacing - spacing // 2)
        for side in shape
    ]
    (row, dy), (column, dx) = numbers
    n_rows, n_columns = (side // spacing for side in shape)
    inside = np.hypot(dy[:, None], dx[None]) < radius
    inside &= (row < n_rows)[:, None] & (column < n_columns)[None]
    labels = np.where(inside, row[:, None] * n_columns + column[None] + 1, 0)
    return labels.astype(np.int32)


@pytest.mark.parametrize("method", ["fast", "fastest"])
@pytest.mark.parametrize("name", ["nuclei", "tissue"])
def test_true_maps_give_the_true_objects(name, method, truth_decoder):
    labels = load_sample(name).labels.astype(np.int32)
    records = search(labels, truth_decoder, method=method)
    assert average_precision(labels, records) > 0.97


def test_a_crowd_is_found_with_spoiled_maps(crowded, truth_decoder):
    how = {"blur": 1.0, "noise": 0.1}
    regions = search(crowded, truth_decoder, method="fastest", how=how)
    drawn = search(crowded, truth_decoder, method="fast", how=how)
    assert average_precision(crowded, regions) > 0.85
    # The decoder knows borders better than spoiled maps do.
    assert average_precision(crowded, drawn, 0.9) > 0.8
    assert average_precision(crowded, regions, 0.9) < 0.7


def test_records_say_where_they_come_from(truth_decoder):
    labels = discs((200, 300), 12, 40)
    opened = []
    records = search(labels, truth_decoder, opened=opened)
    (whole, decoder), *others = opened
    assert whole == (0, 0, 200, 300)
    assert not others
    assert len(records) == labels.max() == len(decoder.asked)
    for record in records:
        y, x = record.point_yx
        mask = record.mask()
        assert mask[round(y), round(x)]
        assert (round(y), round(x)) in {(round(v), round(w)) for v, w in decoder.asked}
        assert record.predicted_iou == pytest.approx(1.0)
        assert 0.5 < record.stability_score <= 1
        assert record.crop_box == whole
        assert record.area == np.count_nonzero(mask)
    assert search(labels, truth_decoder) == records


def test_bad_answers_give_way_to_the_region(truth_decoder):
    labels = discs((200, 300), 12, 40)
    wanted = search(labels, truth_decoder, method="fastest")
    assert len(wanted) == labels.max()
    for how in ({"quality": 0.2}, {"shift": 30}):  # unsure; of another object
        found = search(labels, truth_decoder, how=how)
        assert sorted(r.bbox for r in found) == sorted(r.bbox for r in wanted)
        assert average_precision(labels, found) == 1


def test_the_fastest_way_asks_nothing(truth_decoder):
    opened = []
    records = search(
        discs((200, 300), 12, 40), truth_decoder, method="fastest", opened=opened
    )
    assert records
    assert not opened[0][1].asked
    # What a region is worth is what its own probabilities promise.
    assert all(0.9 < record.predicted_iou <= 1 for record in records)


def test_objects_below_the_threshold_are_left_out(truth_decoder):
    labels = discs((200, 300), 12, 40)
    logits = truth_decoder.object_logits

    class Doubtful(truth_decoder):
        def object_logits(self):
            found = logits(self)
            found[0] = np.minimum(found[0], 0.4)  # a probability of 0.6
            return found

    def n_found(**thresholds):
        settings = AutoSettings(method="fastest", **thresholds)
        return len(search_objects(labels.shape, settings, lambda _: Doubtful(labels)))

    open_ = {"pred_iou_thresh": 0.5, "stability_score_thresh": 0.0}
    assert n_found(**open_) == labels.max()
    assert n_found(**open_ | {"pred_iou_thresh": 0.65}) == 0
    # No logit exceeds the offset of 1, so that nothing is stable.
    assert n_found(**open_ | {"stability_score_thresh": 0.1}) == 0


def test_tiny_objects_are_searched_in_enlarged_parts(truth_decoder):
    labels = discs((512, 512), 5, 48)
    opened = []
    records = search(labels, truth_decoder, opened=opened, min_object_px=32.0)
    boxes = [box for box, _ in opened]
    assert boxes[0] == (0, 0, 512, 512)
    assert len(boxes) == 5
    assert all(y1 - y0 == x1 - x0 < 300 for y0, x0, y1, x1 in boxes[1:])
    assert average_precision(labels, records, 0.7) == 1
    assert len(records) == labels.max()  # each once, those at the seams as well
    assert len(search(labels, truth_decoder, min_object_px=None)) > 0


def test_an_object_that_every_part_cuts_comes_from_the_whole(truth_decoder):
    labels = discs((512, 512), 5, 48)
    labels[150:400, 170:380] = 0
    labels[200:350, 220:330] = labels.max() + 1
    records = search(labels, truth_decoder, min_object_px=32.0)
    assert average_precision(labels, records, 0.8) == 1
    largest = max(records, key=lambda record: record.area)
    assert largest.bbox == pytest.approx((200, 220, 350, 330), abs=1)
    assert largest.crop_box == (0, 0, 512, 512)


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (40, 3)])
def test_pictures_of_any_shape(shape, truth_decoder):
    assert search(np.zeros(shape, np.int32), truth_decoder) == []
    records = search(np.ones(shape, np.int32), truth_decoder, min_object_px=32.0)
    assert all(record.rle.size == shape for record in records)


def test_progress_rises_to_the_end(truth_decoder):
    for labels in (discs((512, 512), 5, 48), discs((300, 300), 14, 50)):
        calls = []
        search(
            labels,
            truth_decoder,
            min_object_px=32.0,
            batch_size=8,
            progress=lambda *call, calls=calls: calls.append(call),
        )
        done = [call[0] for call in calls]
        assert all(a <= b for a, b in pairwise(done))
        assert calls[-1] == (100, 100)
        assert len(set(done)) > 4


def test_cancel_keeps_what_was_found(truth_decoder):
    labels = discs((300, 300), 14, 50)
    cancel = threading.Event()
    opened = []
    records = search(
        labels,
        truth_decoder,
        opened=opened,
        batch_size=4,
        cancel=cancel,
        progress=lambda *_: cancel.set(),
    )
    # Four answers, and the regions of the others.
    assert len(opened[0][1].asked) == 4
    assert len(records) == labels.max()
    assert search(labels, truth_decoder, cancel=cancel) == []

    def refuse(_):
        raise Cancelled

    assert search_objects(labels.shape, AutoSettings(method="fast"), refuse) == []
