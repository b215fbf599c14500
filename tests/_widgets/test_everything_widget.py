# SPDX-License-Identifier: Apache-2.0
"""The dock "Segment everything"."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam._widgets.everything_widget import EverythingWidget


@pytest.fixture
def widget(docked, image):
    widget = docked(EverythingWidget)
    for name, value in [
        ("points_per_side", 12),
        ("pred_iou_thresh", 0.5),
        ("stability_score_thresh", 0.5),
    ]:
        widget.settings.set_value(name, value)
    return widget


def test_run_makes_labels_with_a_table(viewer, widget, wait, blobs, iou):
    widget.run.click()
    assert not widget.run.isEnabled()
    assert widget.cancel.isEnabled()
    wait(lambda: not widget.session.is_grid_running, timeout=60)
    labels = viewer.layers["blobs objects"]
    best = [
        max(
            iou(labels.data == found, blobs.labels == label)
            for found in range(1, int(labels.data.max()) + 1)
        )
        for label in np.unique(blobs.labels)[1:]
    ]
    assert np.mean(best) > 0.5
    assert len(labels.features) == labels.data.max()
    assert f"{labels.data.max()} objects" in widget.message.text()
    assert widget.run.isEnabled()
    assert not widget.cancel.isEnabled()


def test_region_drawn_as_a_shape(viewer, widget, wait, blobs):
    height, width = blobs.labels.shape
    region = viewer.add_shapes(
        [[0, 0], [0, width / 2], [height, width / 2], [height, 0]], name="left half"
    )
    widget.region.value = region
    widget.run.click()
    wait(lambda: not widget.session.is_grid_running, timeout=60)
    data = viewer.layers["blobs objects"].data
    assert data.max() >= 2
    assert (data[:, : width // 2] > 0).sum() > 3 * (data[:, width // 2 :] > 0).sum()


def test_cancel_keeps_what_was_found(viewer, widget, wait):
    widget.settings.set_value("points_per_side", 64)
    widget.run.click()
    # A quarter of the points has met some blobs.
    wait(
        lambda: 4 * widget.progress.value() > widget.progress.maximum() > 0, timeout=60
    )
    widget.cancel.click()
    wait(lambda: not widget.session.is_grid_running)
    assert "cancelled" in widget.message.text()
    assert "blobs objects" in viewer.layers
    assert widget.run.isEnabled()


def test_failure_leaves_no_dead_button(widget, wait, monkeypatch):
    def fail(*_, **__):
        msg = "CUDA out of memory"
        raise RuntimeError(msg)

    seen = []
    from napari.utils.notifications import notification_manager

    monkeypatch.setattr(
        "napari_sam.prediction.model_segmenter.ModelSegmenter.segment_everything", fail
    )
    monkeypatch.setattr(
        notification_manager, "receive_error", lambda *error: seen.append(error[1])
    )
    widget.run.click()
    wait(lambda: not widget.session.is_grid_running)
    assert [str(error) for error in seen] == ["CUDA out of memory"]
    assert widget.message.text() == "No result: CUDA out of memory"
    assert widget.run.isEnabled()
    assert not widget.cancel.isEnabled()


def test_hidden_panel_still_gets_its_result(viewer, widget, wait):
    widget.run.click()
    widget.parent().hide()
    wait(lambda: "blobs objects" in viewer.layers, timeout=60)
    widget.parent().show()
    assert widget.run.isEnabled()


def test_squeezed_panel_hides_no_button(widget):
    """Sideways nothing scrolls, so the panel asks for the width of its content."""
    content = widget.content.minimumSizeHint().width()
    assert widget.minimumSizeHint().width() > content
    widget.resize(widget.minimumSizeHint())
    assert widget.viewport().width() >= content


def test_empty_viewer_asks_for_an_image(viewer, docked, blobs):
    widget = docked(EverythingWidget)
    assert widget.message.text() == "Open an image to begin."
    viewer.add_image(blobs.image, rgb=True)
    assert widget.message.text() == ""


def test_cancelled_before_the_first_mask(widget, wait):
    widget.run.click()
    widget.cancel.click()  # the model is still being loaded
    wait(lambda: not widget.session.is_busy)
    assert widget.message.text() == "Cancelled before the first mask."


def test_nothing_found_says_what_to_do(widget, wait):
    widget.settings.set_value("pred_iou_thresh", 1.0)
    widget.settings.set_value("points_per_side", 2)
    widget.run.click()
    wait(lambda: not widget.session.is_grid_running, timeout=60)
    assert "lower the thresholds" in widget.message.text()
