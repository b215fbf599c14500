# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from napari_sam.evaluation.annotation_effort import (
    OPERATORS,
    Action,
    ActionTimes,
    EffortReport,
    Habits,
    ImageEffort,
)


@pytest.fixture
def report():
    one = ImageEffort(
        "one",
        "hand",
        np.array([0.9, 0.85, 0.2]),
        1,
        Counter({Action.LOOK: 2, Action.POINT: 3, Action.ACCEPT: 1}),
        seconds_ahead=0.5,
        seconds_answers=0.25,
    )
    two = ImageEffort("two", "hand", np.array([1.0]), 0, Counter({Action.POINT: 1}))
    none = ImageEffort("three", "semi", np.empty(0), 0)
    return EffortReport((one, two, none), Habits(), ActionTimes(1, 2, 3, 4), seed=7)


def test_every_action_is_described():
    assert set(OPERATORS) == set(Action)
    assert set("".join(OPERATORS.values())) <= set("MPCK")


def test_numbers_of_an_image(report):
    row = report.rows()[0]
    assert row["objects"] == 3
    assert row["done"] == 2  # 0.85 is the target
    assert row["mean_iou"] == 0.65
    assert (row["clicks"], row["keys"], row["look"], row["point"]) == (3, 1, 2, 3)
    assert row["seconds_human"] == 2 * 1 + 3 * (2 + 3) + 4
    assert row["seconds_per_object"] == round((21 + 0.25) / 3, 3)


def test_sums_pool_objects_and_actions(report):
    hand, semi = report.totals
    assert (hand.way, semi.way) == ("hand", "semi")
    np.testing.assert_array_equal(hand.ious, [0.9, 0.85, 0.2, 1.0])
    assert hand.actions[Action.POINT] == 4
    assert report.row(hand)["clicks_per_object"] == 1.0
    assert report.row(semi)["mean_iou"] is None


def test_the_dictionary_is_plain_and_says_everything(report):
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert found["settings"]["seed"] == 7
    assert found["settings"]["target_iou"] == 0.85
    assert found["operator_seconds"] == {"look": 1, "move": 2, "click": 3, "key": 4}
    assert found["action_seconds"]["delete"] == 10
    assert list(found["ways"]) == ["hand", "semi"]
    assert len(found["images"]) == 3


def test_rows_have_the_same_columns(report):
    columns = {tuple(row) for row in report.rows()}
    assert len(columns) == 1


def test_the_text_has_a_line_for_each_way(report):
    head, hand, semi = report.format().splitlines()
    assert "clicks" in head
    assert hand.split()[:4] == ["hand", "4", "3", "1"]
    assert "-" in semi


def test_nothing_annotated_is_an_empty_report():
    empty = EffortReport((), Habits(), ActionTimes())
    assert empty.rows() == []
    assert empty.to_dict()["ways"] == {}
