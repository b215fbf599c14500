# SPDX-License-Identifier: Apache-2.0
"""Curves, example masks and words of the panel "Train on my masks"."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam._bridge.training_order import Outcome
from napari_sam._widgets.curves import COLOURS, LineChart
from napari_sam._widgets.example_masks import SIDE_PX, ExampleMasks, picture
from napari_sam._widgets.train_texts import (
    duration,
    error_text,
    outcome_text,
    progress_text,
)
from napari_sam.errors import Cancelled, LabelsError
from napari_sam.training.fine_tuning import TrainingResult
from napari_sam.training.task import Example, TrainingProgress


def example(predicted, iou=0.5):
    """A square of 8 x 8 mask pixels in a grey picture of twice their resolution."""
    truth = np.zeros((32, 32), bool)
    truth[10:18, 12:20] = True
    rgb = np.full((48, 64, 3), 100, np.uint8)
    return Example("a", rgb, truth, predicted, iou, (28.0, 32.0))


def outcome(before, after, name="mine", ended="steps", last=None):
    result = TrainingResult(Path("w"), Path("l"), before, after, 5, 9, 90.0, ended)
    last = after if last is None else last
    return Outcome(name, result, last, ModelSpec("embedded"), Path())


def scores(point, n=40):
    return {"point": point, "box": 0.9, "selection": point, "objects": float(n)}


def test_picture_shows_truth_and_answer_where_they_are():
    answer = np.zeros((32, 32), bool)
    answer[10:18, 12:16] = True  # the left half
    plain = picture(example(answer), None)
    drawn = picture(example(answer), answer)
    assert drawn.shape == (SIDE_PX, SIDE_PX, 3)
    middle = SIDE_PX // 2
    assert plain[middle, middle].tolist() == [100, 100, 100]
    assert drawn[middle, middle - 12, 0] > 140  # orange
    assert drawn[middle, middle + 12].tolist() == [100, 100, 100]
    is_green = (plain == (0, 200, 130)).all(axis=2)
    rows, columns = np.nonzero(is_green)
    # 8 of 8 * 1.8 + 6 mask pixels.
    side = SIDE_PX * 8 / 20.4
    assert np.ptp(rows) + 1 == pytest.approx(side, abs=3)
    assert (rows.min() + rows.max()) / 2 == pytest.approx(middle, abs=2)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(middle, abs=2)


def test_first_answers_stay_beside_the_present_ones(qtbot):
    widget = ExampleMasks()
    qtbot.addWidget(widget)
    none, all_of_it = np.zeros((32, 32), bool), example(None).truth
    widget.show_examples([example(none, 0.0)])
    widget.show_examples([example(all_of_it, 1.0)])
    ((truth, before, now),) = widget.pictures
    np.testing.assert_array_equal(truth, before)
    assert not np.array_equal(before, now)


def test_chart_paints_each_line_at_its_place(qtbot):
    chart = LineChart("IoU", {"point": "click", "box": "box"}, (0.0, 1.0))
    qtbot.addWidget(chart)
    chart.resize(240, 118)
    chart.add(0, {"point": 0.2, "box": 0.8, "other": 1.0})
    chart.add(10, {"point": 0.2, "box": float("nan")})
    chart.add(20, {"point": 0.2, "box": 0.8})
    assert chart.points["box"] == [(0.0, 0.8), (20.0, 0.8)]
    image = chart.grab().toImage()
    column = [image.pixelColor(136, y).name() for y in range(22, 95)]
    assert column.index(COLOURS[1]) < column.index(COLOURS[0])
    chart.clear()
    column = chart.grab().toImage()
    assert COLOURS[0] not in [column.pixelColor(136, y).name() for y in range(22, 95)]


def test_words_of_a_gain():
    text = outcome_text(outcome(scores(0.7), scores(0.8)))
    assert "with one click it rose from 0.70 to 0.80" in text
    assert "with a box it stayed at 0.90" in text
    assert "40 objects" in text
    assert "'mine', from step 5: 9 steps in 1.5 min" in text
    assert "Hardly" not in text
    assert "chance" not in text


def test_words_of_a_small_gain_on_few_objects():
    text = outcome_text(outcome(scores(0.7, 3), scores(0.704, 3)))
    assert text.startswith("Hardly better.")
    assert "Only 3 objects" in text


def test_words_of_a_loss():
    before = scores(0.7)
    text = outcome_text(outcome(before, before, "", "early", last=scores(0.6)))
    assert "nothing was kept" in text
    assert "'embedded' stays the model" in text
    assert "fell from 0.70 to 0.60" in text


def test_words_on_the_way():
    now = TrainingProgress(30, 100, 0.25, 60.0, {})
    assert progress_text(now) == "Step 30, 1.0 min; at most 3.0 min left"
    assert duration(59) == "59 s"
    assert duration(1200) == "20 min"


def test_words_of_errors():
    assert "nothing was trained" in error_text(Cancelled("x"))
    assert error_text(LabelsError("No masks.")) == "Not trained. No masks."
    assert "not enough memory" in error_text(MemoryError())
    assert error_text(KeyError("a")) == "Not trained: 'a'"


def test_words_when_an_earlier_part_was_kept():
    before = scores(0.7)
    came = outcome(before, before, "", "early")
    kept = replace(came, result=replace(came.result, kept_step=5))
    text = outcome_text(kept)
    assert "from step 5: that one stays" in text
    assert "stays the model" not in text
