# SPDX-License-Identifier: Apache-2.0
"""The dock "Segment with prompts", driven as a user drives it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam._widgets.prompt_widget import PromptWidget


@pytest.fixture
def widget(docked, image):
    return docked(PromptWidget)


@pytest.fixture
def started(widget, wait):
    """The widget after Start, with the image looked at."""
    widget.start.click()
    wait(lambda: "Ready" in widget.message.text())
    return widget


def layer(viewer, name):
    return viewer.layers[name]


def test_click_accept_click_accept(viewer, started, mouse, wait, blobs, centres, iou):
    """Two clicks on the canvas and the button make two objects."""
    labels = started.session.controller.labels_layer
    for number, (y, x, label) in enumerate(centres[:2], start=1):
        mouse.click(layer(viewer, "SAM points"), (y, x))
        wait(lambda: layer(viewer, "SAM preview").visible)
        started.accept.click()
        wait(lambda n=number: labels.data.max() == n)
        assert iou(labels.data == number, blobs.labels == label) > 0.75
        assert not layer(viewer, "SAM preview").visible
        assert len(layer(viewer, "SAM points").data) == 0


def test_drag_a_box(viewer, started, mouse, wait, blobs, iou):
    started.tools.box.click()
    assert viewer.layers.selection.active == layer(viewer, "SAM boxes")
    y, x = np.nonzero(blobs.labels == 3)
    mouse.drag(
        layer(viewer, "blobs"),
        (y.min() - 0.5, x.min() - 0.5),
        (y.max() + 0.5, x.max() + 0.5),
    )
    wait(lambda: layer(viewer, "SAM preview").visible)
    started.accept.click()
    labels = started.session.controller.labels_layer
    assert iou(labels.data == 1, blobs.labels == 3) > 0.65
    assert len(layer(viewer, "SAM boxes").data) == 0


def test_negative_point_takes_a_part_away(viewer, started, mouse, wait, centres):
    y, x, _ = centres[0]
    mouse.click(layer(viewer, "SAM points"), (y, x))
    preview = layer(viewer, "SAM preview")
    wait(lambda: preview.visible)
    before = preview.data.sum()
    rows, columns = np.nonzero(preview.data)
    edge = preview.data_to_world((rows[0], columns[0]))
    started.tools.negative.click()
    mouse.click(layer(viewer, "SAM points"), tuple(edge))
    wait(lambda: len(layer(viewer, "SAM points").data) == 2)
    wait(lambda: not started.session.is_busy)
    assert list(layer(viewer, "SAM points").features["polarity"]) == [
        "positive",
        "negative",
    ]
    assert preview.data.sum() != before


def test_moving_a_point_with_the_mouse(
    viewer, started, mouse, wait, blobs, centres, iou
):
    (y, x, _), (to_y, to_x, label) = centres[0], centres[1]
    points = layer(viewer, "SAM points")
    mouse.click(points, (y, x))
    wait(lambda: layer(viewer, "SAM preview").visible)
    points.mode = "select"
    mouse.drag(points, (y, x), (to_y, to_x))
    wait(lambda: np.allclose(points.data[0], (to_y, to_x), atol=2))
    wait(lambda: not started.session.is_busy)
    started.accept.click()
    labels = started.session.controller.labels_layer
    assert iou(labels.data == 1, blobs.labels == label) > 0.7


def test_clear_discards(viewer, started, mouse, wait, centres):
    mouse.click(layer(viewer, "SAM points"), centres[0][:2])
    wait(lambda: layer(viewer, "SAM preview").visible)
    started.clear.click()
    assert not layer(viewer, "SAM preview").visible
    assert len(layer(viewer, "SAM points").data) == 0
    assert started.session.controller.labels_layer.data.max() == 0
    assert not started.accept.isEnabled()


def test_buttons_follow_what_can_be_done(viewer, widget, mouse, wait, centres):
    assert widget.start.isEnabled()
    assert not widget.accept.isEnabled()
    assert not widget.tools.isEnabled()
    widget.start.click()
    assert widget.start.text() == "Stop"
    assert widget.busy.isVisibleTo(widget)
    wait(lambda: "Ready" in widget.message.text())
    assert not widget.busy.isVisibleTo(widget)
    mouse.click(layer(viewer, "SAM points"), centres[0][:2])
    wait(widget.accept.isEnabled)
    widget.start.click()
    assert widget.start.text() == "Start"
    assert [one.name for one in viewer.layers] == ["blobs", "SAM objects"]


def test_model_that_cannot_be_loaded_leaves_no_dead_button(
    viewer, widget, wait, notices, tmp_path
):
    bad = tmp_path / "bad.pth"
    bad.write_text("this is no checkpoint")
    widget.session.add_checkpoint(bad)
    widget.model.models.setCurrentIndex(widget.model.models.count() - 1)
    widget.start.click()
    wait(lambda: notices)
    assert "bad.pth" in notices[0]
    assert not widget.busy.isVisibleTo(widget)
    # The other file works, without pressing Start again.
    widget.model.models.setCurrentIndex(widget.model.models.count() - 2)
    widget.model.models.activated.emit(widget.model.models.currentIndex())
    wait(lambda: "Ready" in widget.message.text())


def test_combo_boxes_follow_the_layer_list(viewer, widget, blobs):
    assert [one.name for one in widget.image.choices] == ["blobs"]
    viewer.add_image(blobs.image[::-1], rgb=True, name="second")
    viewer.add_labels(blobs.labels.astype(int), name="truth")
    assert [one.name for one in widget.image.choices] == ["blobs", "second"]
    assert [one and one.name for one in widget.labels.choices] == [None, "truth"]
    viewer.layers["second"].name = "renamed"
    assert widget.image.native.findText("renamed") >= 0
    viewer.layers.clear()
    assert widget.image.value is None
    assert not widget.start.isEnabled()


def choose_labels(widget, name):
    """Choose in the combo box as the mouse does."""
    box = widget.labels.native
    box.setCurrentIndex(box.findText(name))
    box.activated.emit(box.currentIndex())


def test_labels_combo_shows_where_objects_go(viewer, started, blobs, notices):
    controller = started.session.controller
    assert started.labels.value == layer(viewer, "SAM objects")
    other = viewer.add_labels(np.zeros(blobs.labels.shape, int), name="mine")
    choose_labels(started, "mine")
    assert controller.labels_layer == other
    viewer.add_labels(np.zeros((5, 5), int), name="small")
    choose_labels(started, "small")
    assert "shape" in notices[-1]
    assert started.labels.value == other
    # A layer that goes is replaced when something is accepted, not before.
    viewer.layers.remove("mine")
    assert controller.labels_layer == other
    assert started.labels.value is None


def test_new_labels_layer_on_request(viewer, started):
    choose_labels(started, "new layer")
    assert started.labels.value.name == "SAM objects [1]"
    assert started.session.controller.labels_layer == started.labels.value


def test_hidden_panel_lets_go_and_comes_back(viewer, started, mouse, wait, centres):
    dock = started.parent()
    dock.hide()
    assert not started.session.controller.is_active
    n_callbacks = len(viewer.dims.events.point.callbacks)
    mouse.click(layer(viewer, "SAM points"), centres[0][:2])
    assert not layer(viewer, "SAM preview").visible
    dock.show()
    wait(lambda: layer(viewer, "SAM preview").visible)
    assert len(viewer.dims.events.point.callbacks) == n_callbacks + 1


def test_plugin_from_the_menu_and_its_command(
    viewer, image, npe2pm, wait, docked, mouse, centres
):
    """The way of a user: dock by its plugin name, accept by the menu command."""
    from pathlib import Path

    from napari._app_model import get_app_model

    import napari_sam
    from napari_sam._bridge.commands import accept

    manifest = Path(napari_sam.__file__).with_name("napari.yaml")
    with npe2pm.tmp_plugin(manifest=str(manifest)):
        _, widget = viewer.window.add_plugin_dock_widget(
            "napari-sam-live", "Segment with prompts"
        )
        wait(widget.isVisible)
        first = docked(PromptWidget)  # a second dock shares the session
        assert first.session is widget.session
        first.start.click()
        assert widget.start.text() == "Stop"
        wait(lambda: "Ready" in widget.message.text())
        mouse.click(layer(viewer, "SAM points"), centres[0][:2])
        get_app_model().injection_store.inject(accept)()  # as napari's menus call it
        wait(lambda: layer(viewer, "SAM objects").data.max() == 1)


def test_removed_image_is_told(viewer, started):
    viewer.layers.remove("blobs")
    started.session.pump()
    assert started.session.controller is None
    assert "removed" in started.message.text()


@pytest.mark.render
def test_mask_and_points_are_drawn(viewer, started, mouse, wait, centres):
    y, x, _ = centres[0]
    before = viewer.screenshot(canvas_only=True, flash=False)
    mouse.click(layer(viewer, "SAM points"), (y, x))
    wait(lambda: layer(viewer, "SAM preview").visible)
    after = viewer.screenshot(canvas_only=True, flash=False)
    changed = (before != after).any(axis=2).mean()
    preview = layer(viewer, "SAM preview")
    share = preview.data.sum() / np.prod(layer(viewer, "blobs").data.shape[:2])
    assert changed > 0.3 * share


def test_copy_diagnostics(widget):
    from qtpy.QtWidgets import QApplication

    widget.copy_diagnostics()
    text = QApplication.clipboard().text()
    assert "napari: " in text
    assert "qt: " in text


def test_negative_tool_brings_a_removed_points_layer_back(viewer, started):
    viewer.layers.remove("SAM points")
    started.session.pump()
    started.tools.negative.click()
    assert viewer.layers.selection.active == layer(viewer, "SAM points")
    assert started.session.controller.prompts.polarity == "negative"
    assert started.tools.negative.isChecked()


def test_empty_viewer_asks_for_an_image(viewer, docked, blobs):
    widget = docked(PromptWidget)
    assert widget.message.text() == "Open an image to begin."
    viewer.add_image(blobs.image, rgb=True)
    assert widget.message.text() == ""
