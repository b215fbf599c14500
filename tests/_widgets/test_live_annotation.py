# SPDX-License-Identifier: Apache-2.0
"""One annotator's day in the real window: hover, click, choose, accept, undo, reopen.

Everything is done with the mouse and the keys; what counts is what is in the labels.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest

SIZES = ("small", "medium", "large")


@pytest.fixture
def live(hand, image):
    return hand(image)


def ids(live):
    return np.unique(live.labels.data)[1:].tolist()


def choose(box, text):
    """Choose in a combo box as the mouse does."""
    index = box.findText(text)
    assert index >= 0
    box.setCurrentIndex(index)
    box.activated.emit(index)


def edge_of(mask):
    """A pixel of a mask near its border, away from its corners."""
    y = int(np.flatnonzero(mask.any(axis=1)).mean())
    return y, int(np.flatnonzero(mask[y])[1])


def test_hover_click_correct_accept(live, centres, blobs, iou):
    y, x, label = centres[0]
    hover, preview = live.controller.hover_layer, live.controller.preview_layer
    live.move((y + 3, x + 3), (y, x))
    live.settle()
    assert hover.visible
    under_pointer = int(hover.data.astype(bool).sum())
    assert under_pointer > 50
    assert not live.labels.data.any()
    live.leave()
    assert not hover.visible
    live.move((y, x))
    live.settle()
    live.click((y, x))
    assert preview.visible
    assert not hover.visible  # one mask at a time
    first = live.shown
    assert iou(first, blobs.labels == label) > 0.7
    live.click(edge_of(first), modifier="Control")
    second = live.shown
    assert (second != first).any()
    live.click((y + 2, x + 2))
    live.click(edge_of(live.shown), button="Right")
    polarities = list(live.controller.prompts.points.features["polarity"])
    assert polarities == ["positive", "negative", "positive", "negative"]
    wanted = live.shown
    live.key("W")
    np.testing.assert_array_equal(live.labels.data == 1, wanted)
    assert ids(live) == [1]
    assert not preview.visible
    assert len(live.controller.prompts.points.data) == 0


def test_pointer_beside_the_image_and_the_toggle(live, centres):
    hover = live.controller.hover_layer
    live.move(centres[0][:2])
    live.settle()
    assert hover.visible
    live.move((-9, 100))
    live.settle()
    assert not hover.visible
    live.key("H")
    live.move(centres[1][:2])
    live.settle()
    assert not hover.visible
    assert not live.labels.data.any()
    live.key("H")
    live.move(centres[0][:2])
    live.settle()
    assert hover.visible


def test_a_key_walks_the_masks_and_the_one_shown_is_written(live, centres):
    areas = {}
    for number, (size, place) in enumerate(zip(SIZES, centres, strict=False), start=1):
        live.click(place[:2])
        for _ in range(4):
            if live.annotator.shown.name == size:
                break
            live.key("N")
        assert live.annotator.shown.name == size
        answer = live.annotator.shown.answer
        areas[number] = sorted(mask.area for mask in answer.masks[1:])
        wanted = live.shown
        live.key("W")
        np.testing.assert_array_equal(live.labels.data == number, wanted)
        assert live.annotator.objects[live.annotator.plane, number].candidate == size
    live.click(centres[3][:2])
    begun = live.annotator.shown.name
    live.key("N")
    assert live.annotator.shown.name != begun
    live.key("N", "Shift")
    assert live.annotator.shown.name == begun


def test_dragging_draws_a_box(live, blobs, iou):
    y, x = np.nonzero(blobs.labels == 3)
    live.drag(
        (y.min(), x.min()),
        (y.mean(), x.mean()),
        (y.max() - 2, x.max() - 2),
        (y.max(), x.max()),
    )
    (box,) = live.controller.prompts.shapes.data
    np.testing.assert_allclose(box.min(axis=0), (y.min(), x.min()), atol=2)
    live.key("W")
    assert iou(live.labels.data == 1, blobs.labels == 3) > 0.65


@pytest.mark.parametrize("active", ["SAM points", "SAM objects", "blobs"])
def test_undo_and_redo_by_key_whatever_layer_is_active(live, centres, active):
    states = [live.labels.data.copy()]
    for place in centres[:2]:
        live.click(place[:2])
        live.key("W")
        states.append(live.labels.data.copy())
    live.activate(live.viewer.layers[active])
    for number in (1, 0):
        live.key("Z", "Control")  # the object, which brings its point back
        np.testing.assert_array_equal(live.labels.data, states[number])
        points = live.controller.prompts.points.data
        np.testing.assert_allclose(points, [centres[number][:2]], atol=2)
        live.key("Z", "Control")
        assert len(live.controller.prompts.points.data) == 0
    for number in (1, 2):
        live.key("Z", "Control", "Shift")
        assert len(live.controller.prompts.points.data) == 1
        live.key("Z", "Control", "Shift")
        np.testing.assert_array_equal(live.labels.data, states[number])


def test_an_object_is_reopened_by_shift_click_and_by_key(live, centres):
    points = live.controller.prompts.points
    for place in centres[:3]:
        live.click(place[:2])
        live.key("W")
    before = live.labels.data.copy()
    live.click(centres[0][:2], modifier="Shift")
    np.testing.assert_allclose(points.data, [centres[0][:2]], atol=2)
    live.click(edge_of(live.shown), modifier="Control")
    wanted = live.shown
    live.key("W")
    np.testing.assert_array_equal(live.labels.data == 1, wanted)
    assert ((live.labels.data == 1) != (before == 1)).any()
    np.testing.assert_array_equal(live.labels.data > 1, before > 1)
    live.move(centres[2][:2])
    live.key("G")
    np.testing.assert_allclose(points.data, [centres[2][:2]], atol=2)
    live.key("Q")
    assert len(points.data) == 0
    assert ids(live) == [1, 2, 3]
    live.move(centres[0][:2])
    live.key("G")
    assert list(points.features["polarity"]) == ["positive", "negative"]


def test_a_brush_stroke_is_undone_and_redone_like_the_rest(live, centres):
    live.click(centres[0][:2])
    live.key("W")
    clicked = live.labels.data.copy()
    layer = live.labels
    live.activate(layer)
    layer.mode = "paint"
    layer.selected_label = 7
    layer.brush_size = 6
    live.drag((100, 20), (100, 30), (100, 40))
    stroke = layer.data.copy()
    assert (stroke == 7).sum() > 60
    assert ids(live) == [1, 7]
    layer.mode = "erase"
    live.drag(centres[0][:2], (centres[0][0] + 2, centres[0][1]))
    erased = layer.data.copy()
    assert (erased == 1).sum() < (clicked == 1).sum()
    layer.mode = "fill"
    layer.selected_label = 9
    live.click((100, 30))
    assert ids(live) == [1, 9]
    for expected in (erased, stroke, clicked, np.zeros_like(clicked)):
        live.key("Z", "Control")
        np.testing.assert_array_equal(layer.data, expected)
    for expected in (clicked, stroke, erased):
        live.key("Z", "Control", "Shift")
        np.testing.assert_array_equal(layer.data, expected)


def test_turbo(live, centres):
    live.key("T", "Shift")
    for number, place in enumerate(centres[:3], start=1):
        live.click(place[:2])
        assert ids(live) == list(range(1, number + 1))
    live.key("Z", "Control")
    assert ids(live) == [1, 2]
    assert live.annotator.draft is None
    live.key("T", "Shift")
    live.click(centres[4][:2])
    assert ids(live) == [1, 2]


def test_the_commit_rule_is_changed_in_the_panel(live, centres):
    rule = live.widget.masks.commit.rule
    live.labels.data[:, :] = 0
    y, x, _ = centres[0]
    live.activate(live.labels)
    live.labels.mode = "paint"
    live.labels.selected_label = 5
    live.labels.brush_size = 10
    live.drag((y, x - 2), (y, x + 2))
    mine = live.labels.data == 5
    live.press(live.widget.tools.tools["point"])

    def accept_with(overlap):
        choose(rule.overlap, overlap)
        live.click((y, x))
        live.key("W")
        return live.labels.data.copy()

    kept = accept_with("keep them")
    np.testing.assert_array_equal(kept == 5, mine)
    assert (kept == 6).sum() > 50
    live.key("Z", "Control")
    live.key("Z", "Control")
    taken = accept_with("overwrite them")
    assert (taken == 5).sum() < mine.sum()
    assert (taken[mine] > 5).any()
    live.key("Z", "Control")
    live.key("Z", "Control")
    np.testing.assert_array_equal(live.labels.data == 5, mine)
    filled = accept_with("fill only background")
    np.testing.assert_array_equal(filled == 5, mine)


def test_classes_and_semantic_mode(live, centres):
    commit = live.widget.masks.commit

    def accept(name, place):
        commit.class_name.setEditText(name)
        live.click(place[:2])
        wanted = live.shown
        live.key("W")
        return wanted

    accept("cell", centres[0])
    accept("cell", centres[1])
    assert [known.class_name for known in live.annotator.objects] == ["cell", "cell"]
    assert ids(live) == [1, 2]
    objects = live.labels.data.copy()
    choose(commit.rule.mode, "one id per class")
    cells = accept("cell", centres[2])
    assert ids(live) == [1, 2, 3]  # an object is no class, whatever it is called
    accept("debris", centres[3])
    cells |= accept("cell", centres[4])
    assert ids(live) == [1, 2, 3, 4]
    np.testing.assert_array_equal(live.labels.data == 3, cells)
    live.key("Z", "Control")
    assert (live.labels.data == 3).sum() < cells.sum()
    kept = live.labels.data[objects > 0]
    np.testing.assert_array_equal(kept, objects[objects > 0])


def test_a_stack_plane_by_plane(viewer, hand, blobs, centres, iou):
    gray = blobs.image.mean(axis=2).astype(np.uint8)
    viewer.add_image(np.stack([gray, gray[::-1], gray[:, ::-1]]), name="stack")
    viewer.dims.set_current_step(0, 0)
    live = hand()
    (y, x, label), height = centres[0], len(gray)
    live.click((y, x))
    live.key("W")
    first = live.labels.data.copy()
    viewer.dims.set_current_step(0, 1)
    live.settle()
    live.click((height - 1 - y, x))
    live.key("W")
    written = live.labels.data
    assert iou(written[0] == 1, blobs.labels == label) > 0.6
    assert iou(written[1] == 2, (blobs.labels == label)[::-1]) > 0.6
    assert not written[2].any()
    viewer.dims.set_current_step(0, 2)
    live.settle()
    live.key("Z", "Control")
    assert viewer.dims.current_step[0] == 1  # where it happened
    np.testing.assert_array_equal(live.labels.data, first)
    points = live.controller.prompts.points
    np.testing.assert_allclose(points.data, [(1, height - 1 - y, x)], atol=2)
    live.key("Z", "Control")
    live.key("Z", "Control")
    assert viewer.dims.current_step[0] == 0
    assert not live.labels.data.any()
    np.testing.assert_allclose(points.data, [(0, y, x)], atol=2)
    for _ in range(3):
        live.key("Z", "Control", "Shift")
    assert viewer.dims.current_step[0] == 1
    assert ids(live) == [1, 2]


def test_what_a_crash_left_is_offered_and_restored(
    live, centres, wait, tmp_path, monkeypatch
):
    for place in centres[:2]:
        live.click(place[:2])
        live.key("W")
    live.click(centres[2][:2])
    wanted = live.labels.data.copy()
    # What the disk holds if the program is killed now; the next program finds it.
    left = tmp_path / "after"
    shutil.copytree(tmp_path / "user-data", left)
    monkeypatch.setenv("NAPARI_SAM_DATA_DIR", str(left))
    live.widget.start.click()  # stop
    live.viewer.layers.remove(live.viewer.layers["SAM objects"])
    live.widget.start.click()
    wait(lambda: live.controller is not None and live.controller.annotator.plane)
    live.settle()
    assert not live.labels.data.any()
    assert live.widget.restore.isVisibleTo(live.widget)
    assert "without being saved" in live.widget.restore.text.text()
    live.press(live.widget.restore.restore)
    np.testing.assert_array_equal(live.labels.data, wanted)
    points = live.controller.prompts.points
    np.testing.assert_allclose(points.data, [centres[2][:2]], atol=2)
    live.key("W")
    assert ids(live) == [1, 2, 3]
    assert not live.widget.restore.isVisibleTo(live.widget)
