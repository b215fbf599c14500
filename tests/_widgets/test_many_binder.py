# SPDX-License-Identifier: Apache-2.0
"""Many at once in the dock "Segment everything" of a real viewer."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam._bridge.everything_run import NO_PROMPTING
from napari_sam._widgets.everything_widget import EverythingWidget
from napari_sam._widgets.many_binder import NEEDS_PROMPTING
from napari_sam.annotation.scope import Scope

SETTINGS = {
    "points_per_side": 10,
    "pred_iou_thresh": 0.4,
    "stability_score_thresh": 0.4,
}


@pytest.fixture
def widget(docked, image):
    widget = docked(EverythingWidget)
    for name, value in SETTINGS.items():
        widget.settings.set_value(name, value)
    return widget


@pytest.fixture
def prompting(widget, image, wait):
    """The dock, while its image is being prompted."""
    widget.session.start_prompts(image, widget.model.spec)
    wait(lambda: not widget.session.is_busy, timeout=60)
    return widget


def run(widget, wait):
    widget.run.click()
    wait(lambda: not widget._is_running, timeout=60)


def test_semi_automatic_without_prompting_says_what_to_do(widget, notices, wait):
    widget.way.semi.setChecked(True)
    run(widget, wait)
    assert notices == [NO_PROMPTING]
    assert widget.run.isEnabled()
    assert widget.many.batch.message.text() == NEEDS_PROMPTING
    assert not widget.many.batch.run.isEnabled()


def test_sure_filled_in_rest_filtered_and_accepted(prompting, viewer, wait):
    widget, panel = prompting, prompting.many.proposals
    assert not widget.way.thresholds.isVisible()
    widget.way.semi.setChecked(True)
    assert widget.way.thresholds.isVisible()
    widget.way.iou.setValue(0.7)
    widget.way.stability.setValue(0.8)
    run(widget, wait)
    labels = widget.session.controller.labels_layer.data
    n_sure = len(np.unique(labels)) - 1
    assert n_sure >= 1
    assert f"{n_sure} sure object" in widget.message.text()
    assert panel.take.isVisible()  # its section has unfolded
    proposals = widget.many.desk.proposals
    n_open = len(proposals.visible_ids())
    assert f"{n_sure} accepted, 0 dropped, {n_open} open" in panel.figures.text()
    areas = sorted(proposals.describe(i)["area"] for i in proposals.visible_ids())
    slider = panel.rows["area"].slider
    slider.setValue((areas[1], slider.maximum()))
    assert len(proposals.visible_ids()) < n_open
    shown = viewer.layers["SAM proposals"].data > 0
    masks = [proposals.mask(i).on_plane(shown.shape) for i in proposals.visible_ids()]
    np.testing.assert_array_equal(shown, np.any(masks, axis=0))
    panel.take.click()
    assert len(np.unique(labels)) - 1 > n_sure
    assert not viewer.layers["SAM proposals"].data.any()
    panel.undo.click()
    assert len(np.unique(labels)) - 1 == n_sure
    panel.drop.click()
    assert "0 open" in panel.figures.text()


def test_points_of_a_layer_and_their_review(prompting, viewer, wait, centres):
    widget = prompting
    batch, review = widget.many.batch, widget.many.review
    points = viewer.add_points([(y, x) for y, x, _ in centres], name="maxima")
    batch.layer.value = points
    batch.run.click()
    assert batch.cancel.isEnabled()
    wait(lambda: not widget.many.desk.is_batch_running, timeout=60)
    assert f"from {len(centres)} prompts" in batch.message.text()
    assert batch.run.isEnabled()
    queue = widget.many.desk.review
    labels = widget.session.controller.labels_layer
    first = queue.current
    assert f"Object {first.object_id}:" in review.about.text()
    assert labels.selected_label == first.object_id
    n_before = len(queue)
    review.reject.click()
    assert not (labels.data == first.object_id).any()
    assert f"{n_before - 1} to review" in review.left.text()
    review.accept.click()
    review.next.click()
    review.previous.click()
    assert len(queue) == n_before - 2


def test_all_planes_of_a_stack(viewer, docked, blobs, wait):
    viewer.add_image(np.stack([blobs.image[..., 0]] * 2), name="stack")
    widget = docked(EverythingWidget)
    for name, value in SETTINGS.items():
        widget.settings.set_value(name, value)
    widget.scope.choose(Scope.ALL)
    run(widget, wait)
    data = viewer.layers["stack objects"].data
    assert all(plane.any() for plane in data)
    assert widget.progress.maximum() == 2 * 100
    assert f"{data.max()} objects" in widget.message.text()


def test_stopping_to_prompt_empties_the_panels(prompting, viewer, wait):
    widget = prompting
    widget.way.semi.setChecked(True)
    run(widget, wait)
    widget.session.stop_prompts()
    assert not widget.many.proposals.has_proposals
    assert not widget.many.batch.run.isEnabled()
    assert "SAM proposals" not in viewer.layers


def test_two_docks_of_two_viewers_share_nothing(prompting, make_napari_viewer):
    other = make_napari_viewer()
    widget = EverythingWidget(other)
    assert widget.many.desk is None
    assert prompting.many.desk is not None
    widget.deleteLater()


def test_click_on_a_proposal_takes_it(prompting, viewer, wait, mouse):
    """The proposals' layer is active after a run, so that clicks mean proposals."""
    widget = prompting
    widget.way.semi.setChecked(True)
    widget.way.iou.setValue(1.0)
    run(widget, wait)
    desk = widget.many.desk
    window = desk.proposals.mask(desk.proposals.visible_ids()[0])
    y, x = np.argwhere(window.crop)[window.area // 2]
    labels = widget.session.controller.labels_layer
    mouse.click(labels, (float(window.y0 + y), float(window.x0 + x)))
    wait(lambda: labels.data.any())
    np.testing.assert_array_equal(labels.data > 0, window.on_plane(labels.data.shape))
    assert "1 accepted" in widget.many.proposals.figures.text()


def test_cancel_in_the_middle_keeps_proposals(prompting, wait):
    widget = prompting
    widget.way.semi.setChecked(True)
    widget.way.iou.setValue(1.0)
    widget.settings.set_value("points_per_side", 64)
    widget.run.click()
    wait(lambda: widget.progress.value() > 0, timeout=60)
    widget.cancel.click()
    assert widget.message.text() == "Stopping ..."
    wait(lambda: not widget._is_running, timeout=60)
    assert "Cancelled" in widget.message.text()
    assert widget.many.desk.proposals is not None
    assert widget.run.isEnabled()
