# SPDX-License-Identifier: Apache-2.0
"""Saving, opening and restoring through the panel, as a user does."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam._widgets.prompt_widget import PromptWidget


@pytest.fixture
def started(docked, image, wait):
    widget = docked(PromptWidget)
    widget.start.click()
    wait(lambda: "Ready" in widget.message.text())
    return widget


def accept_at(widget, wait, place):
    controller = widget.session.controller
    controller.prompts.points.add([float(place[0]), float(place[1])])
    wait(lambda: controller.annotator.shown is not None)
    widget.accept.click()


def centre(blobs, label):
    return np.argwhere(blobs.labels == label).mean(axis=0)


def test_annotation_file_brings_objects_and_prompts_back(
    started, wait, blobs, tmp_path
):
    controller = started.session.controller
    accept_at(started, wait, centre(blobs, 3))
    before = controller.labels_layer.data.copy()
    assert started.record.save_to(tmp_path / "blobs.sam.json")
    controller.annotator.delete([known.key for known in controller.annotator.objects])
    assert controller.labels_layer.data.max() == 0
    assert started.record.open_from(tmp_path / "blobs.sam.json")
    np.testing.assert_array_equal(controller.labels_layer.data, before)
    (known,) = controller.annotator.objects
    assert len(known.prompts.points) == 1


def test_undo_takes_an_opened_file_back(started, wait, blobs, tmp_path):
    controller = started.session.controller
    accept_at(started, wait, centre(blobs, 3))
    assert started.record.save_to(tmp_path / "blobs.sam.json")
    accept_at(started, wait, centre(blobs, 5))
    labels, objects = (
        controller.labels_layer.data.copy(),
        [*controller.annotator.objects],
    )
    assert started.record.open_from(tmp_path / "blobs.sam.json")
    assert len(controller.annotator.objects) == 1
    controller.act("undo")
    np.testing.assert_array_equal(controller.labels_layer.data, labels)
    assert list(controller.annotator.objects) == objects
    assert "undo takes it back" in started.record.open.toolTip()
    assert "undo takes it back" in started.restore.restore.toolTip()


def test_a_file_of_another_image_changes_nothing(
    started, wait, blobs, tmp_path, viewer
):
    accept_at(started, wait, centre(blobs, 3))
    path = tmp_path / "blobs.sam.json"
    assert started.record.save_to(path)
    text = path.read_bytes()
    started.start.click()
    other = viewer.add_image(blobs.image[::-1].copy(), rgb=True, name="other")
    started.image.value = other
    started.labels.value = None
    started.start.click()
    wait(lambda: "Ready" in started.message.text())
    assert not started.record.open_from(path)
    assert started.session.controller.labels_layer.data.max() == 0
    assert not started.record.save_to(path)
    assert path.read_bytes() == text


def test_work_left_behind_is_offered_and_restored(
    docked, viewer, image, wait, blobs, started, monkeypatch
):
    """The session ends without saving; the next one on the image offers the work."""
    accept_at(started, wait, centre(blobs, 3))
    before = started.session.controller.labels_layer.data.copy()
    assert started.restore.isHidden()
    started.start.click()  # Stop
    started.session.autosave.close()
    started.session.autosave = None
    started.labels.value = None
    started.start.click()
    wait(lambda: "Ready" in started.message.text())
    assert started.restore.isVisible()
    assert started.session.controller.labels_layer.data.max() == 0
    started.restore.restore.click()
    np.testing.assert_array_equal(started.session.controller.labels_layer.data, before)
    assert started.restore.isHidden()
    assert "undo takes it back" in started.message.text()
    started.session.controller.act("undo")
    assert started.session.controller.labels_layer.data.max() == 0


def test_what_was_saved_is_not_offered(started, wait, blobs, tmp_path):
    accept_at(started, wait, centre(blobs, 3))
    assert started.record.save_to(tmp_path / "blobs.sam.json")
    started.start.click()
    started.session.autosave.close()
    started.session.autosave = None
    started.labels.value = None
    started.start.click()
    wait(lambda: "Ready" in started.message.text())
    assert started.restore.isHidden()


def test_forgotten_work_is_gone(started, wait, blobs):
    accept_at(started, wait, centre(blobs, 3))
    started.start.click()
    started.session.autosave.close()
    started.session.autosave = None
    started.labels.value = None
    for _ in range(2):
        started.start.click()
        wait(lambda: "Ready" in started.message.text())
        if started.restore.isVisible():
            started.restore.forget.click()
        assert started.restore.isHidden()
        started.start.click()
