# SPDX-License-Identifier: Apache-2.0
"""Buttons for the masks of an answer, and advice."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_sam._widgets.buttons import show_keys
from napari_sam._widgets.candidate_panel import CandidatePanel
from napari_sam.annotation.choices import Size
from napari_sam.structures.candidates import Answer
from napari_sam.structures.mask_window import MaskWindow


def an_answer(*areas):
    masks = tuple(MaskWindow(0, 0, np.ones((1, area), bool)) for area in areas)
    scores = np.linspace(0.9, 0.6, len(areas)).astype(np.float32)
    return Answer(masks, scores, np.zeros((len(areas), 2, 2), np.float32))


@pytest.fixture
def panel(qtbot):
    panel = CandidatePanel()
    qtbot.addWidget(panel)
    panel.resize(310, 200)
    panel.show()
    return panel


def press(button):
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.mark.parametrize(
    ("area", "text"),
    [(99_999, "99,999 px"), (938_058, "938k px"), (81_000_000, "81M px")],
)
def test_large_areas_fit_the_buttons(panel, area, text):
    assert panel._area_text(area) == text


def test_buttons_name_score_and_area(panel):
    panel.show_answer(an_answer(1400, 300, 20, 5000), 2)
    texts = [button.text().split("\n") for button in panel.buttons.values()]
    assert texts == [
        ["small", "0.70", "20 px"],
        ["medium", "0.80", "300 px"],
        ["large", "0.60", "5,000 px"],
        ["single", "0.90", "1,400 px"],
    ]
    checked = [size for size, button in panel.buttons.items() if button.isChecked()]
    assert checked == [Size.SMALL]
    panel.set_pixel_area(0.25)
    assert panel.buttons[Size.LARGE].text().endswith("1,250 µm²")


def test_pressing_a_button_chooses_that_mask(panel):
    chosen = []
    panel.chosen.connect(chosen.append)
    panel.show_answer(an_answer(1400, 300, 20, 5000), 2)
    press(panel.buttons[Size.LARGE])
    press(panel.buttons[Size.SINGLE])
    assert chosen == [3, 0]


def test_only_the_masks_that_are_there_can_be_chosen(panel):
    assert not any(button.isEnabled() for button in panel.buttons.values())
    panel.show_answer(an_answer(50))
    enabled = [size for size, button in panel.buttons.items() if button.isEnabled()]
    assert enabled == [Size.SINGLE]
    assert panel.buttons[Size.SINGLE].isChecked()
    panel.show_answer(None)
    assert not any(button.isChecked() for button in panel.buttons.values())


def test_preference_for_the_next_objects(panel):
    chosen = []
    panel.preference_chosen.connect(chosen.append)
    panel.show_preference("large")
    assert panel.preference.currentText() == "largest"
    assert chosen == []
    panel.preference.setFocus()
    QTest.keyClick(panel.preference, Qt.Key.Key_Home)
    QTest.keyClick(panel.preference, Qt.Key.Key_Down)
    assert chosen[-1] == Size.SMALL
    QTest.keyClick(panel.preference, Qt.Key.Key_Up)
    assert chosen[-1] is None


@pytest.mark.parametrize(
    ("kind", "text"), [("worse", "Go back"), ("repeats", "Refine that one")]
)
def test_advice_has_a_button_that_follows_it(panel, kind, text):
    taken = []
    panel.advice_taken.connect(lambda: taken.append(1))
    assert not panel.advice_frame.isVisible()
    panel.show_advice(kind, "This mask repeats object 7.", 7)
    assert panel.advice_frame.isVisible()
    assert panel.advice.text() == "This mask repeats object 7."
    assert panel.advice_button.text() == text
    press(panel.advice_button)
    assert taken == [1]
    panel.show_advice()
    assert not panel.advice_frame.isVisible()


def test_tooltips_name_the_key(panel):
    show_keys(panel, {"next_candidate": "C"})
    assert panel.buttons[Size.SMALL].toolTip().endswith("Key: C")
    show_keys(panel, {})
    assert "Key" not in panel.buttons[Size.SMALL].toolTip()


def test_four_buttons_fit_a_narrow_dock(panel):
    assert panel.minimumSizeHint().width() <= 300
    panel.show_answer(an_answer(123456, 300, 20, 654321), 0)
    for button in panel.buttons.values():
        texts = button.text().split("\n")
        width = max(button.fontMetrics().horizontalAdvance(text) for text in texts)
        assert width <= button.width(), texts
