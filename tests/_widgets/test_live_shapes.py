# SPDX-License-Identifier: Apache-2.0
"""Drawing with napari's own shape tools in the real window, and what it does to labels.

Outlines become boxes and masks, strokes become points, a line cuts an object in two.
"""

from __future__ import annotations

import numpy as np
import pytest

ROUND = np.linspace(0, 2 * np.pi, 13)[:-1]


@pytest.fixture
def live(hand, image):
    return hand(image)


def blob(blobs, label):
    """Mask, centre and half sides of a blob."""
    mask = blobs.labels == label
    y, x = np.nonzero(mask)
    centre = ((y.min() + y.max()) / 2, (x.min() + x.max()) / 2)
    return mask, centre, (np.ptp(y) / 2, np.ptp(x) / 2)


def around(centre, half, grow=2.0):
    """Positions on an ellipse around a blob."""
    return [
        (
            centre[0] + (half[0] + grow) * np.sin(angle),
            centre[1] + (half[1] + grow) * np.cos(angle),
        )
        for angle in ROUND
    ]


def accepted(live):
    """Accept by key; the labels must be the mask that was shown."""
    wanted, before = live.shown, live.labels.data.copy()
    live.key("W")
    changed = live.labels.data != before
    np.testing.assert_array_equal(changed, wanted)
    assert len(live.controller.prompts.shapes.data) == 0
    return wanted


TOOLS = {"box": 3, "ellipse": 5, "lasso": 2, "polygon": 4}
"""A blob for each tool."""


def test_outlines(live, blobs, iou):
    for number, (tool, label) in enumerate(TOOLS.items(), start=1):
        truth, centre, half = blob(blobs, label)
        live.press(live.widget.tools.tools[tool])
        assert live.viewer.layers.selection.active.name == "SAM shapes"
        if tool in ("box", "ellipse"):
            reach = np.array(half) + 1
            live.drag(*(tuple(centre + part * reach) for part in (-1, 0, 1)))
        elif tool == "lasso":
            live.drag(*around(centre, half))
        else:
            for corner in around(centre, half)[::2]:
                live.move(corner)
                live.click(corner)
            live.key("Escape")
        assert len(live.controller.prompts.shapes.data) == 1
        assert iou(live.shown, truth) > 0.5
        accepted(live)
        assert live.labels.data.max() == number
    assert iou(live.labels.data == 3, blobs.labels == TOOLS["lasso"]) > 0.5


def test_a_scribble_on_the_object_and_one_beside_it(live, blobs, iou):
    truth, (y, x), half = blob(blobs, 3)
    live.press(live.widget.tools.tools["scribble"])
    live.drag(*[(y, x + part * half[1]) for part in np.linspace(-0.4, 0.4, 6)])
    (drawn,) = live.annotator.draft.drawn.shapes
    assert drawn.label == 1
    first = live.shown
    assert iou(first, truth) > 0.5
    live.press(live.widget.tools.negative)
    assert str(live.controller.prompts.shapes.mode) == "add_path"
    rows = np.flatnonzero(first.any(axis=1))
    columns = np.flatnonzero(first[rows[2]])
    live.drag(*[(rows[2], c) for c in np.linspace(columns[0], columns[-1], 6)])
    assert [shape.label for shape in live.annotator.draft.drawn.shapes] == [1, 0]
    assert (live.shown != first).any()
    accepted(live)
    assert live.controller.prompts.polarity == "positive"


def test_points_and_a_box_together(live, blobs, iou):
    truth, (y, x), half = blob(blobs, 3)
    live.drag((y - half[0], x - half[1]), (y, x), (y + half[0], x + half[1]))
    live.press(live.widget.tools.tools["point"])
    live.click((y, x))
    drawn = live.annotator.draft.drawn
    assert (len(drawn.points), len(drawn.shapes)) == (1, 1)
    assert iou(live.shown, truth) > 0.65
    wanted = accepted(live)
    live.key("Z", "Control")
    assert not live.labels.data.any()
    assert len(live.controller.prompts.shapes.data) == 1
    assert len(live.controller.prompts.points.data) == 1
    live.key("Z", "Control")
    assert len(live.controller.prompts.points.data) == 0
    for _ in range(2):
        live.key("Z", "Control", "Shift")
    np.testing.assert_array_equal(live.labels.data == 1, wanted)


def select(live, *ids):
    """Select objects in the table."""
    plane = live.annotator.plane
    live.widget.table.objects.select([(plane, object_id) for object_id in ids])


def test_split_merge_and_delete(live, centres, blobs):
    buttons = live.widget.table.objects.buttons
    for place in centres[:2]:
        live.click(place[:2])
        live.key("W")
    whole = live.labels.data.copy()
    ys, xs = np.nonzero(whole == 1)
    middle = (ys.min() + ys.max()) / 2
    live.press(live.widget.tools.tools["scribble"])
    line = [(middle, x) for x in np.linspace(xs.min() - 5, xs.max() + 5, 8)]
    live.drag(*line)
    select(live, 1)
    live.press(buttons["split"])
    split = live.labels.data.copy()
    parts = [int(part) for part in np.unique(split[whole == 1])]
    assert len(parts) == 2
    assert 1 in parts
    np.testing.assert_array_equal(np.isin(split, parts), whole == 1)
    upper, lower = (split[: int(middle)], split[int(middle) + 2 :])
    assert set(np.unique(upper)) & set(parts) != set(np.unique(lower)) & set(parts)
    assert live.annotator.draft is None  # the line is gone
    assert len(live.controller.prompts.shapes.data) == 0
    select(live, *parts)
    live.press(buttons["merge"])
    np.testing.assert_array_equal(live.labels.data > 0, whole > 0)
    assert len(np.unique(live.labels.data)) == 3
    select(live, 2)
    live.press(buttons["delete"])
    assert not live.labels.data[whole == 2].any()
    assert (live.labels.data[whole == 1] > 0).all()
    live.key("Z", "Control")
    live.key("Z", "Control")
    np.testing.assert_array_equal(live.labels.data, split)
    for _ in range(3):  # the line that went, the cut, the line that came
        live.key("Z", "Control")
    np.testing.assert_array_equal(live.labels.data, whole)


def test_a_locked_object_is_neither_deleted_nor_written_over(live, centres):
    buttons = live.widget.table.objects.buttons
    live.click(centres[0][:2])
    live.key("W")
    mine = live.labels.data == 1
    select(live, 1)
    live.press(buttons["lock"])
    assert not buttons["delete"].isEnabled()
    rule = live.widget.masks.commit.rule.overlap
    rule.setCurrentIndex(rule.findText("overwrite them"))
    rule.activated.emit(rule.currentIndex())
    ys, xs = np.nonzero(mine)
    live.drag(
        (ys.min() - 9, xs.min() - 9),
        (ys.mean(), xs.mean()),
        (ys.max() + 9, xs.max() + 9),
    )
    live.key("W")
    np.testing.assert_array_equal(live.labels.data == 1, mine)


def test_the_table_flies_reopens_and_names(live, centres):
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    for place in centres[:3]:
        live.click(place[:2])
        live.key("W")
    panel = live.widget.table.objects
    row = panel.table.visualRect(panel.proxy.index(1, 0)).center()
    camera = getattr(live.viewer, "scene", live.viewer).camera
    QTest.mouseClick(panel.table.viewport(), Qt.MouseButton.LeftButton, pos=row)
    live.settle()
    np.testing.assert_allclose(camera.center[-2:], centres[1][:2], atol=9)
    assert live.labels.selected_label == 2
    live.press(panel.buttons["reopen"])
    points = live.controller.prompts.points
    np.testing.assert_allclose(points.data, [centres[1][:2]], atol=2)
    live.key("Q")
    live.move(centres[2][:2])
    before = live.labels.data.copy()
    live.key("D", "Shift")
    np.testing.assert_array_equal(live.labels.data, np.where(before == 3, 0, before))
    live.move(centres[0][:2])
    live.key("U", "Shift")
    key = (live.annotator.plane, 1)
    assert live.annotator.objects[key].status == "unsure"
    live.key("Z", "Control")
    assert live.annotator.objects[key].status == "accepted"
