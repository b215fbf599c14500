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
    assert viewer.layers.selection.active == layer(viewer, "SAM shapes")
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
    assert len(layer(viewer, "SAM shapes").data) == 0


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
    n_callbacks = len(viewer.dims.events.point.callbacks)
    dock.hide()
    assert not started.session.controller.is_active
    assert len(viewer.dims.events.point.callbacks) == n_callbacks - 2
    mouse.click(layer(viewer, "SAM points"), centres[0][:2])
    assert not layer(viewer, "SAM preview").visible
    dock.show()
    wait(lambda: layer(viewer, "SAM preview").visible)
    assert len(viewer.dims.events.point.callbacks) == n_callbacks


def test_plugin_from_the_menu_and_its_command(
    viewer, image, npe2pm, wait, docked, mouse, centres
):
    """The way of a user: dock by its plugin name, accept by the menu command."""
    from pathlib import Path

    from napari._app_model import get_app_model

    import napari_sam
    from napari_sam._bridge.action_commands import accept

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


def press(button):
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    assert button.isEnabled(), button.text()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def prompt(started, mouse, wait, place):
    """Click on the canvas and wait for the mask."""
    annotator = started.session.controller.annotator
    mouse.click(started.session.controller.prompts.points, place[:2])
    wait(lambda: annotator.shown is not None and not annotator.shown.is_pending)
    return annotator


def test_candidate_button_chooses_what_is_accepted(
    viewer, started, mouse, wait, centres
):
    annotator = prompt(started, mouse, wait, centres[0])
    button = started.masks.candidates.buttons["large"]
    press(button)
    wait(lambda: annotator.shown.name == "large" and not annotator.shown.is_pending)
    area = annotator.shown.mask.area
    press(started.accept)
    assert (started.session.controller.labels_layer.data == 1).sum() == area
    assert annotator.objects[annotator.plane, 1].candidate == "large"


def test_undo_and_redo_buttons_take_the_point_along(
    viewer, started, mouse, wait, centres
):
    annotator = prompt(started, mouse, wait, centres[0])
    points = layer(viewer, "SAM points")
    commit = started.masks.commit
    press(commit.undo)
    assert len(points.data) == 0
    assert not started.accept.isEnabled()
    press(commit.redo)
    assert len(points.data) == 1
    wait(lambda: annotator.shown is not None)
    press(started.accept)
    press(commit.undo)
    assert started.session.controller.labels_layer.data.max() == 0
    assert len(points.data) == 1


def test_turbo_accepts_each_click(viewer, started, mouse, wait, centres):
    started.masks.commit.turbo.click()
    labels = started.session.controller.labels_layer
    for number, place in enumerate(centres[:2], start=1):
        mouse.click(layer(viewer, "SAM points"), place[:2])
        wait(lambda n=number: labels.data.max() == n)
    assert started.table.objects.proxy.rowCount() == 2
    press(started.masks.commit.undo)
    assert labels.data.max() == 1
    assert started.session.controller.annotator.draft is None


def test_click_into_the_table_flies_to_the_object(
    viewer, started, mouse, wait, centres
):
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    prompt(started, mouse, wait, centres[0])
    press(started.accept)
    camera = getattr(viewer, "scene", viewer).camera  # napari 0.8 has no scene
    camera.center = (0, 5, 5)
    table = started.table.objects.table
    QTest.mouseClick(
        table.viewport(),
        Qt.MouseButton.LeftButton,
        pos=table.visualRect(started.table.objects.proxy.index(0, 0)).center(),
    )
    y, x, _ = centres[0]
    np.testing.assert_allclose(camera.center[-2:], (y, x), atol=8)
    assert started.session.controller.labels_layer.selected_label == 1


@pytest.mark.parametrize(
    ("tool", "name", "mode"),
    [
        ("lasso", "SAM shapes", "add_polygon_lasso"),
        ("scribble", "SAM shapes", "add_path"),
        ("point", "SAM points", "add"),
    ],
)
def test_tools_make_their_layer_active(viewer, started, tool, name, mode):
    press(started.tools.tools[tool])
    assert viewer.layers.selection.active == layer(viewer, name)
    assert layer(viewer, name).mode == mode


def test_hover_is_switched_in_both_directions(started):
    annotator = started.session.controller.annotator
    assert annotator.is_hover_on
    started.tools.hover.click()
    assert not annotator.is_hover_on
    started.session.controller.act("toggle_hover")
    assert started.tools.hover.isChecked()


def test_other_contrast_is_out_of_date_until_embedded(viewer, started, wait):
    from napari_sam._widgets.status_line import EmbeddingState
    from napari_sam.structures.view_settings import ViewSettings

    status = started.seen.status
    assert status.state is EmbeddingState.READY
    assert status.device.text() == "cpu"
    started.seen.view.changed.emit(ViewSettings(invert=True))
    assert status.state is EmbeddingState.OUT_OF_DATE
    assert started.session.controller.source.settings.invert
    started.seen.view.embed_wanted.emit()
    assert status.state is EmbeddingState.COMPUTING
    wait(lambda: status.state is EmbeddingState.READY)


def test_dock_fits_a_small_screen(viewer, started, wait):
    from napari_sam._widgets.section import Section

    # Folded once prompting has begun: its choices are made.
    assert not started.source.isExpanded()
    for section in started.content.findChildren(Section):
        section.expand(animate=False)
    started.resize(330, 700)
    assert started.minimumSizeHint().width() <= 330
    assert not started.horizontalScrollBar().isVisible()


def test_every_button_has_a_tooltip_and_names_its_key(started):
    from qtpy.QtWidgets import QAbstractButton, QComboBox

    for kind in (QAbstractButton, QComboBox):
        for widget in started.content.findChildren(kind):
            is_ours = not widget.objectName().startswith("qt_")
            if is_ours and type(widget).__module__.startswith("napari_sam"):
                assert widget.toolTip(), widget
    assert started.accept.toolTip().endswith("Key: W")
    assert "Accept mask" in started.keys.table.text()


def test_two_docks_of_a_viewer_show_the_same(viewer, started, docked, wait):
    second = docked(PromptWidget)
    started.masks.commit.turbo.click()
    assert second.masks.commit.turbo.isChecked()
    second.tools.hover.click()
    assert not started.tools.hover.isChecked()
    started.masks.commit.rule.min_area.setValue(9)
    assert second.masks.commit.rule.min_area.value() == 9


def test_keys_work_after_a_click_into_the_panel(viewer, started, mouse, wait, centres):
    """The focus stays in a table or combo box, which would take letters itself."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    annotator = prompt(started, mouse, wait, centres[0])
    name = annotator.shown.name
    for widget in (
        started.masks.candidates.preference,
        started.table.objects.table,
        started.masks.candidates.buttons["small"],
    ):
        widget.setFocus()
        QTest.keyClick(widget, Qt.Key.Key_N)
        wait(lambda: not annotator.shown.is_pending)
        assert annotator.shown.name != name, widget
        name = annotator.shown.name


@pytest.fixture
def stack_widget(viewer, docked, wait, blobs):
    """The widget after Start on a stack of three planes, the last one shown."""
    stack = np.stack([blobs.image[..., 0]] * 3)
    viewer.add_image(stack, name="stack")
    widget = docked(PromptWidget)
    widget.start.click()
    wait(lambda: "Ready" in widget.message.text())
    return widget


def test_flying_to_an_object_of_another_plane(viewer, stack_widget, wait, centres):
    controller = stack_widget.session.controller
    annotator, plane = controller.annotator, controller.plane
    annotator.add_point(plane, centres[0][:2])
    wait(lambda: annotator.shown is not None and not annotator.shown.is_pending)
    press(stack_widget.accept)
    panel = stack_widget.table.objects
    assert not panel.table.isColumnHidden(6)
    viewer.dims.set_current_step(0, 0)
    assert controller.plane != plane
    panel.fly_wanted.emit((plane, 1))
    assert controller.plane == plane
    assert viewer.dims.current_step[0] == plane.index[0]


def test_channels_chosen_later_begin_anew(viewer, stack_widget, wait):
    """What were planes are channels now; layers so far stay as they are."""
    from napari_sam.structures.view_settings import ViewSettings

    before = stack_widget.session.controller
    view = stack_widget.seen.view
    view.set_settings(ViewSettings(channel_axis=0))
    view.changed.emit(view.settings)
    after = stack_widget.session.controller
    assert after is not before
    assert after.source.channel_axis == 0
    assert before.labels_layer in viewer.layers
    assert after.labels_layer != before.labels_layer
    wait(lambda: "Ready" in stack_widget.message.text())


def test_preferences_are_what_prompting_begins_with(docked, image, monkeypatch, wait):
    from napari_sam._widgets import prompt_widget
    from napari_sam.annotation.commit_policy import CommitSettings, Overlap

    rule = CommitSettings(overlap=Overlap.OVERWRITE, min_area=12)
    monkeypatch.setattr(prompt_widget, "commit_rule", lambda: rule)
    monkeypatch.setattr(prompt_widget, "begins_with_hover", lambda: False)
    monkeypatch.setattr(prompt_widget, "is_hint_seen", lambda name: name == "point")
    widget = docked(PromptWidget)
    assert widget.hints.name == "candidates"
    widget.start.click()
    annotator = widget.session.controller.annotator
    assert annotator.settings == rule
    assert not annotator.is_hover_on
    wait(lambda: not widget.session.is_busy)
