# SPDX-License-Identifier: Apache-2.0
"""The algorithm alone, against the reference's records for a scripted decoder."""

import json
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_sam.errors import Cancelled
from napari_sam.prediction.grid_search import search_image
from napari_sam.prediction.logit_windows import LogitWindow
from napari_sam.structures.settings import AutoSettings

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "data" / "state_dicts" / "golden_amg.json").read_text()
)
SHAPE = tuple(GOLDEN["image_hw"])


class ScriptedAnswers:
    def __init__(self, predicted_iou, logits):
        self.predicted_iou = torch.from_numpy(predicted_iou)
        self._logits = torch.from_numpy(logits)

    def logits(self, chosen, above):
        return self._logits[chosen]


class ScriptedDecoder:
    """Three nested discs around the cell of 40 pixels that a point lies in."""

    n_at_once = 1

    def __init__(self, box):
        y0, x0, y1, x1 = box
        self.y, self.x = np.mgrid[: y1 - y0, : x1 - x0].astype(float)
        self.batches = []

    def decode(self, points_yx):
        self.batches.append(len(points_yx))
        answers = [self._answer(*point) for point in points_yx]
        logits = np.array([logits for logits, _ in answers], np.float32)
        scores = np.array([scores for _, scores in answers], np.float32)
        return ScriptedAnswers(scores, logits)

    def _answer(self, py, px):
        cx, cy = 40 * np.floor(px / 40) + 20, 40 * np.floor(py / 40) + 20
        distance = np.hypot(self.x - cx, self.y - cy)
        logits = [2 * (radius - distance) for radius in (9, 16, 28)]
        island = 2 * (2 - np.hypot(self.x - (cx + 33), self.y - cy))
        logits[2] = np.maximum(logits[2], island)
        logits[1] = np.minimum(logits[1], 2 * (distance - 2))
        penalty = 0.0001 * ((7 * cx + 13 * cy) % 500)
        return logits, [0.90 + 0.03 * k - penalty for k in range(3)]

    def window(self, logits, box):
        if box is None:
            return None
        y0, x0, y1, x1 = box
        return LogitWindow(logits[y0:y1, x0:x1], y0, x0)


def search(settings, **options):
    return search_image(SHAPE, AutoSettings(**settings), ScriptedDecoder, **options)


@pytest.mark.parametrize(
    "name", [key for key in GOLDEN if isinstance(GOLDEN[key], dict)]
)
@pytest.mark.parametrize("batch_size", [None, 7])
def test_records_are_those_of_the_reference(name, batch_size):
    golden = GOLDEN[name]
    records = search(golden["settings"], batch_size=batch_size)
    assert len(records) == golden["n"] == len(golden["records"])
    for record, wanted in zip(records, golden["records"], strict=True):
        written = record.to_dict("uncompressed_rle")
        counts = written.pop("segmentation")
        summary = wanted["segmentation"]
        assert counts["size"] == summary["size"]
        assert len(counts["counts"]) == summary["n_counts"]
        head = summary["counts_head"]
        assert counts["counts"][: len(head)] == head
        assert written == {key: wanted[key] for key in written}


def test_own_grids_are_searched():
    settings = {"points_per_side": None, "point_grids": [[[0.1, 0.1], [0.5, 0.5]]]}
    records = search({**settings, "stability_score_thresh": 0.8})
    assert {record.point_yx for record in records} <= {(15.0, 22.0), (75.0, 110.0)}
    assert records


def test_filters_at_zero_are_switched_off():
    everything = {"pred_iou_thresh": 0, "stability_score_thresh": 0}
    records = search({"points_per_side": 2, "box_nms_thresh": 1, **everything})
    assert len(records) == 2 * 2 * 3


def test_progress_counts_points_of_all_crops():
    steps = []
    search(
        {"points_per_side": 4, "crop_n_layers": 1, "points_per_batch": 6},
        progress=lambda *step: steps.append(step),
    )
    assert [total for _, total in steps] == [80] * len(steps)
    done = [number for number, _ in steps]
    assert done == sorted(done)
    assert done[:3] == [6, 12, 16]
    assert done[-1] == 80


@pytest.mark.parametrize("crop_n_layers", [0, 1])
def test_a_cancelled_search_returns_what_it_has(crop_n_layers):
    cancel = threading.Event()
    settings = {
        "points_per_side": 8,
        "points_per_batch": 16,
        "stability_score_thresh": 0.8,
        "crop_n_layers": crop_n_layers,
    }

    def stop_at_half(done, total):
        if done >= 32:
            cancel.set()

    part = search(settings, progress=stop_at_half, cancel=cancel)
    whole = search({**settings, "crop_n_layers": 0})
    assert 0 < len(part) < len(whole)
    assert {record.point_yx for record in part} <= {r.point_yx for r in whole}


def test_a_search_cancelled_while_encoding_returns_what_it_has():
    def open_crop(box):
        if box != (0, 0, *SHAPE):
            raise Cancelled
        return ScriptedDecoder(box)

    settings = {"points_per_side": 8, "stability_score_thresh": 0.8}
    records = search_image(SHAPE, AutoSettings(**settings, crop_n_layers=1), open_crop)
    assert len(records) == 48


def test_nothing_found_is_an_empty_list():
    settings = {"points_per_side": 2, "pred_iou_thresh": 1.0, "crop_n_layers": 1}
    assert search({**settings, "min_mask_region_area": 5}) == []


def test_when_memory_runs_out_smaller_batches_give_the_same_records():
    """Lesson 17: a grid never holds all masks in full size; batches shrink with
    the memory.
    """

    class SmallDecoder(ScriptedDecoder):
        def decode(self, points_yx):
            if len(points_yx) > 5:
                raise torch.OutOfMemoryError
            return super().decode(points_yx)

    settings = AutoSettings(points_per_side=8, stability_score_thresh=0.8)
    records = search_image(SHAPE, settings, SmallDecoder)
    assert records == search({"points_per_side": 8, "stability_score_thresh": 0.8})


def test_only_one_enlarged_mask_is_held_at_a_time():
    """Lesson 17: a grid never holds all masks in full size; batches shrink with
    the memory.
    """
    alive = []

    class WatchedDecoder(ScriptedDecoder):
        def window(self, logits, box):
            alive.append(sum(reference() is not None for reference in self.made))
            window = super().window(logits, box)
            if window is not None:
                window = LogitWindow(window.values.clone(), window.y0, window.x0)
                self.made.append(weakref.ref(window.values))
            return window

        def __init__(self, box):
            super().__init__(box)
            self.made = []

    settings = AutoSettings(points_per_side=3, stability_score_thresh=0.8)
    search_image(SHAPE, settings, WatchedDecoder)
    assert len(alive) > 5
    assert max(alive) <= 1
