# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
import torch

from napari_sam.errors import Cancelled
from napari_sam.evaluation.matching import match_objects
from napari_sam.prediction.label_painting import paint_objects
from napari_sam.prediction.likely_search import first_pass, search_likely
from napari_sam.structures.settings import AutoSettings, LabelSettings

KEEP = {"pred_iou_thresh": 0.5, "stability_score_thresh": 0.5}


@pytest.fixture
def scripted(truth_decoder):
    """A model that answers points on true objects, and is unsure of all others."""

    class Answers:
        def __init__(self, decoder, points_yx):
            inside = decoder.labels[tuple(points_yx.astype(int).T)] > 0
            good = torch.tensor([0.3, 0.9, 0.3])
            self.predicted_iou = torch.where(
                torch.from_numpy(inside)[:, None], good, torch.full((3,), 0.2)
            )
            self._decoder, self._points = decoder, points_yx

        def logits(self, chosen, above):
            points = self._points[chosen.any(dim=1).numpy()]
            n_asked = len(self._decoder.asked)
            logits = self._decoder.decode_clear(np.floor(points), None, above)[1]
            del self._decoder.asked[n_asked:]
            return logits

    class Scripted(truth_decoder):
        def __init__(self, labels, **how):
            super().__init__(labels, **how)
            self.points: list[tuple[float, float]] = []

        def decode(self, points_yx):
            self.points += [tuple(point) for point in points_yx.tolist()]
            return Answers(self, points_yx)

        def features(self):
            rng = np.random.default_rng(0)
            share = halved(self.labels > 0)
            features = rng.normal(0, 0.5, (8, *share.shape)).astype(np.float32)
            features[3] += 4 * share
            return features

    def halved(mask):
        rows, columns = (-(-side // 8) for side in mask.shape)
        padded = np.zeros((rows * 8, columns * 8))
        padded[: mask.shape[0], : mask.shape[1]] = mask
        return padded.reshape(rows, 8, columns, 8).mean(axis=(1, 3))

    return Scripted


@pytest.fixture
def squares():
    """Labels (256, 320): 40 squares of 16 pixels."""
    labels = np.zeros((256, 320), np.int32)
    places = [(y, x) for y in range(12, 240, 50) for x in range(10, 300, 38)]
    for number, (y, x) in enumerate(places, start=1):
        labels[y : y + 16, x : x + 16] = number
    return labels


def search(labels, decoder, *, side=24, **options):
    settings = AutoSettings(method="fast", points_per_side=side, **KEEP)
    return search_likely(labels.shape, settings, lambda _: decoder, **options)


def average_precision(labels, records):
    painted, _ = paint_objects(records, labels.shape, LabelSettings())
    return match_objects(
        labels, painted, iou_threshold=0.7, min_area=9
    ).average_precision


def test_few_points_find_what_the_whole_grid_finds(squares, scripted):
    decoder = scripted(squares)
    records = search(squares, decoder, batch_size=8)
    assert average_precision(squares, records) == 1
    assert len(decoder.points) < 0.5 * 24 * 24
    assert len(set(decoder.points)) == len(decoder.points)
    # Every mask was drawn anew, from the innermost point and the box.
    assert len(decoder.asked) == len(records) == squares.max()
    assert search(squares, scripted(squares), batch_size=8) == records


def test_points_are_those_of_the_grid(squares, scripted):
    decoder = scripted(squares)
    search(squares, decoder, side=12)
    ticks = (np.arange(12) + 0.5) / 12
    assert {y for y, _ in decoder.points} <= set(256 * ticks)
    assert {x for _, x in decoder.points} <= set(320 * ticks)


def test_without_any_object_every_point_is_asked(scripted):
    decoder = scripted(np.zeros((64, 64), np.int32))
    assert search(decoder.labels, decoder, side=7) == []
    assert len(decoder.points) == 49


def test_one_object_off_the_first_pass_is_found(scripted):
    labels = np.zeros((240, 240), np.int32)
    labels[20:30, 40:50] = 1  # holds the grid's point (25, 45) only
    decoder = scripted(labels)
    (record,) = search(labels, decoder, side=24)
    assert record.bbox == (20, 40, 30, 50)


def test_the_first_pass_is_every_third_point():
    assert first_pass(6).tolist() == [7, 10, 25, 28]
    assert first_pass(1).tolist() == [0]
    assert first_pass(2).tolist() == [3]
    assert len(first_pass(24)) == 64


def test_progress_rises_to_the_end(squares, scripted):
    calls = []
    search(
        squares,
        scripted(squares),
        batch_size=8,
        progress=lambda *call: calls.append(call),
    )
    assert all(a[0] <= b[0] for a, b in pairwise(calls))
    assert calls[-1] == (100, 100)


def test_cancel_keeps_what_was_found(squares, scripted):
    cancel = threading.Event()
    decoder = scripted(squares)
    found = []

    def progress(*_):
        if len(decoder.points) > 40:
            cancel.set()

    found = search(squares, decoder, batch_size=8, cancel=cancel, progress=progress)
    assert 40 < len(decoder.points) <= 48
    assert 0 < len(found) < squares.max()
    assert not decoder.asked

    def refuse(_):
        raise Cancelled

    settings = AutoSettings(method="fast")
    assert search_likely(squares.shape, settings, refuse) == []
