# SPDX-License-Identifier: Apache-2.0
"""Sliders, counts and progress of proposals, without a viewer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_sam._widgets.proposals_panel import NOTHING_YET, ProposalsPanel
from napari_sam.annotation.ports import PlaneKey
from napari_sam.annotation.proposals import Proposals
from napari_sam.annotation.semi_automatic import Advance
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.rle import encode_window

SHAPE = (40, 60)


def record_of(box, iou):
    y0, x0, y1, x1 = box
    window = np.ones((y1 - y0, x1 - x0), bool)
    return MaskRecord(
        rle=encode_window(window, y0, x0, SHAPE),
        bbox=box,
        area=window.size,
        predicted_iou=iou,
        stability_score=0.9,
        point_yx=(0.0, 0.0),
        crop_box=(0, 0, *SHAPE),
    )


@pytest.fixture
def proposals():
    """Squares of 16, 36 and 64 px with scores 0.9, 0.8, 0.7, and the background."""
    boxes = [(4, 4, 8, 8), (10, 10, 16, 16), (20, 20, 28, 28), (0, 0, 40, 60)]
    records = [record_of(box, 0.9 - 0.1 * i) for i, box in enumerate(boxes)]
    return Proposals.measured(PlaneKey(), np.full(SHAPE, 1000.0), records)


@pytest.fixture
def panel(qtbot, proposals):
    panel = ProposalsPanel()
    qtbot.addWidget(panel)
    panel.show_proposals(proposals, {}, Advance(1, 2, 1, 3, 0.25, 0.5))
    # As the binder does it.
    panel.filter_changed.connect(proposals.set_filter)
    panel.filter_changed.connect(lambda *_: panel.show_proposals(proposals, {}))
    return panel


def test_every_slider_spans_the_values(panel):
    area = panel.rows["area"].slider
    assert (area.minimum(), area.maximum()) == (16, 2400)
    assert area.value() == (16, 2400)
    iou = panel.rows["predicted_iou"].slider
    assert iou.minimum() <= 0.6
    assert iou.maximum() >= 0.9
    stability = panel.rows["stability_score"].slider  # one value only
    assert stability.minimum() < stability.maximum()


def test_moving_a_slider_counts_at_once(panel, proposals):
    """Lesson 16: what each filter drops is seen while it is moved."""
    assert panel.message.text() == "3 of 4 masks pass; 1 are background."
    panel.rows["area"].slider.setValue((20, 2400))
    assert proposals.visible_ids() == [2, 3]
    assert panel.rows["area"].count.text() == "-1"
    assert "1 of them would pass" in panel.rows["area"].count.toolTip()
    assert panel.rows["predicted_iou"].count.text() == ""
    assert panel.take.text() == "Accept 2"
    panel.rows["predicted_iou"].slider.setValue((0.75, 0.9))
    assert proposals.visible_ids() == [2]
    assert panel.rows["predicted_iou"].count.text() == "-2"


def test_an_end_at_the_end_is_open(panel):
    told = []
    panel.filter_changed.connect(lambda *change: told.append(change))
    panel.rows["area"].slider.setValue((20, 2400))
    panel.rows["area"].slider.setValue((16, 100))
    assert told == [("area", 20, math.inf), ("area", -math.inf, 100)]


def test_filters_of_before_are_shown_for_other_proposals(panel, qtbot):
    records = [record_of((4, 4, 8, 8), 0.5), record_of((10, 10, 20, 20), 0.6)]
    other = Proposals.measured(PlaneKey((1, 2), (1,)), np.zeros(SHAPE), records)
    told = []
    panel.filter_changed.connect(lambda *change: told.append(change))
    panel.show_proposals(other, {"area": (50, math.inf), "roundness": (-math.inf, 0.9)})
    assert panel.rows["area"].slider.value() == (50, 100)
    assert panel.rows["predicted_iou"].slider.value() == pytest.approx((0.5, 0.6))
    assert told == []


def test_a_filter_beyond_the_values_fits_the_slider(panel):
    records = [record_of((4, 4, 8, 8), 0.5), record_of((10, 10, 16, 16), 0.6)]
    other = Proposals.measured(PlaneKey((1, 2), (1,)), np.zeros(SHAPE), records)
    panel.show_proposals(other, {"area": (500, math.inf)})
    low, high = panel.rows["area"].slider.value()
    assert 16 <= low <= high <= 36


def test_background_switch(panel, proposals):
    """Lesson 15: the rule can be switched off, and says how many it concerns."""
    told = []
    panel.background_toggled.connect(told.append)
    assert panel.background.text() == "Drop background (1 found)"
    panel.background.click()
    assert told == [False]


def test_progress_and_numbers(panel):
    assert panel.done.value() == 50
    text = panel.figures.text()
    assert "1 accepted, 1 dropped, 2 open, 3 added by hand" in text
    assert "25% of the plane" in text
    assert "Click a proposal" in panel.under_pointer.text()
    panel.show_hovered(
        {
            "predicted_iou": 0.876,
            "stability_score": 0.9,
            "area": 64.0,
            "roundness": 0.93,
            "mean_intensity": 1234.5,
        }
    )
    assert panel.under_pointer.text() == (
        "IoU 0.88 · stability 0.90 · 64 px · roundness 0.93 · intensity 1234"
    )
    panel.show_hovered(None)
    assert "Click a proposal" in panel.under_pointer.text()


def test_buttons_tell_what_is_wanted(panel):
    told = []
    panel.take_wanted.connect(lambda: told.append("take"))
    panel.drop_wanted.connect(lambda: told.append("drop"))
    panel.undo_wanted.connect(lambda: told.append("undo"))
    for button in (panel.take, panel.drop, panel.undo):
        assert button.toolTip()
        button.click()
    assert told == ["take", "drop", "undo"]


def test_without_proposals(panel):
    panel.show_proposals(None, {})
    assert panel.message.text() == NOTHING_YET
    assert panel.filters.isHidden()
    assert panel.take.isHidden()
    assert not panel.has_proposals


def test_nothing_left_to_take(panel, proposals):
    panel.rows["area"].slider.setValue((2000, 2400))
    assert not panel.take.isEnabled()
    assert not panel.drop.isEnabled()
