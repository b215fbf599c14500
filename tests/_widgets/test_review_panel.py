# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from napari_sam._widgets.review_panel import NOTHING_LEFT, ReviewPanel
from napari_sam.annotation.objects import AnnotatedObject, Status
from napari_sam.annotation.ports import PlaneKey


@pytest.fixture
def panel(qtbot):
    panel = ReviewPanel()
    qtbot.addWidget(panel)
    return panel


FLAT = PlaneKey()


def known(score=0.57, plane=FLAT):
    return AnnotatedObject(
        12, plane, (0, 0, 9, 9), 81, predicted_iou=score, status=Status.PROPOSED
    )


def test_nothing_to_review(panel):
    assert panel.about.text() == NOTHING_LEFT
    assert not panel.accept.isEnabled()
    assert not panel.next.isEnabled()


def test_object_is_described(panel):
    panel.show_object(known(plane=PlaneKey((2, 3), (4, 0))), 23)
    assert panel.left.text().startswith("23 to review")
    assert panel.about.text() == (
        "Object 12: predicted IoU 0.57, 81 px, proposed, plane 4, 0"
    )
    panel.show_object(known(score=None), 1)
    assert panel.about.text() == "Object 12: no score, 81 px, proposed"
    panel.show_object(None, 0)
    assert panel.about.text() == NOTHING_LEFT


def test_buttons_tell_the_decision(panel):
    panel.show_object(known(), 1)
    told = []
    for name in ("accept", "reject", "refine", "unsure", "show"):
        signal = getattr(panel, f"{name}_wanted")
        signal.connect(lambda name=name: told.append(name))
    panel.step_wanted.connect(told.append)
    for button in (
        panel.accept,
        panel.reject,
        panel.refine,
        panel.unsure,
        panel.show_it,
        panel.next,
        panel.previous,
    ):
        assert button.toolTip()
        button.click()
    assert told == ["accept", "reject", "refine", "unsure", "show", 1, -1]
