# SPDX-License-Identifier: Apache-2.0
"""Nothing is missed or lost while layers change, vanish or a panel is hidden."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam.errors import ImageError

SPEC = ModelSpec("tiny")


@pytest.fixture
def image(viewer, blobs):
    return viewer.add_image(blobs.image, rgb=True, name="blobs")


@pytest.fixture
def controller(session, image):
    return session.start_prompts(image, SPEC)


def accept_at(controller, centre):
    controller.pointer.clicked.emit(controller.plane, centre[:2], 1)
    controller.act("accept")


def test_strokes_are_noted_while_the_panel_is_hidden(controller, centres):
    accept_at(controller, centres[0])
    labels = controller.labels_layer
    before = labels.data.copy()
    controller.pause()
    labels.brush_size = 9
    labels.paint((100, 100), 7)
    painted = labels.data.copy()
    assert (painted == 7).any()
    controller.resume()
    assert {o.object_id for o in controller.annotator.objects} == {1, 7}
    controller.act("undo")
    np.testing.assert_array_equal(labels.data, before)
    controller.act("redo")
    np.testing.assert_array_equal(labels.data, painted)


def test_undo_while_hidden_keeps_its_prompts_and_redo(controller, centres):
    accept_at(controller, centres[0])
    controller.pause()
    controller.annotator.undo()  # as the button of another panel does
    controller.resume()
    assert len(controller.prompts.points.data) == 1
    assert controller.annotator.ledger.history.redo_text == "Accept object 1"
    controller.act("redo")
    assert controller.labels_layer.data.max() == 1


def test_one_of_two_panels_is_enough_to_listen(controller, centres):
    one, two = object(), object()
    controller.resume(one)
    controller.resume(two)
    controller.pause(one)
    assert controller.is_active
    accept_at(controller, centres[0])
    assert controller.labels_layer.data.max() == 1
    controller.pause(two)
    assert not controller.is_active


def test_objects_keep_their_prompts_when_layers_are_exchanged(
    viewer, session, controller, centres, blobs
):
    accept_at(controller, centres[0])
    first = controller.labels_layer
    controller.annotator.change(
        [o.key for o in controller.annotator.objects], class_name="blob"
    )
    second = viewer.add_labels(np.zeros(blobs.labels.shape, np.uint32), name="second")
    controller.use_labels(second)
    assert len(controller.annotator.objects) == 0
    accept_at(controller, centres[1])
    assert (first.data.max(), second.data.max()) == (1, 1)
    controller.use_labels(first)
    (known,) = controller.annotator.objects
    assert (known.class_name, len(known.prompts.points)) == ("blob", 1)
    controller.use_labels(second)
    (known,) = controller.annotator.objects
    assert known.prompts.points[0].yx == tuple(map(float, centres[1][:2]))


def test_work_in_a_removed_layer_can_be_restored(viewer, session, controller, centres):
    for centre in centres[:3]:
        accept_at(controller, centre)
    before = controller.labels_layer.data.copy()
    viewer.layers.remove(controller.labels_layer)
    accept_at(controller, centres[3])
    assert controller.labels_layer in viewer.layers
    assert len(np.unique(controller.labels_layer.data)) == 2
    (offer,) = session.autosave.offers()
    session.autosave.restore(offer)
    np.testing.assert_array_equal(controller.labels_layer.data, before)


def test_turbo_after_the_layer_was_removed_makes_a_new_one(viewer, controller, centres):
    controller.act("toggle_turbo")
    viewer.layers.remove(controller.labels_layer)
    controller.pointer.clicked.emit(controller.plane, centres[0][:2], 1)
    assert controller.labels_layer in viewer.layers
    assert controller.labels_layer.data.max() == 1


def test_nothing_is_undone_into_a_removed_layer(
    viewer, controller, centres, warnings_shown
):
    accept_at(controller, centres[0])
    removed = controller.labels_layer
    before = removed.data.copy()
    viewer.layers.remove(removed)
    controller.act("undo")
    assert "removed" in warnings_shown[-1]
    np.testing.assert_array_equal(removed.data, before)


def test_an_array_of_another_shape_is_let_go(session, controller, centres):
    controller.pointer.clicked.emit(controller.plane, centres[0][:2], 1)
    before = controller.labels_layer
    before.data = np.zeros((5, 5), np.uint32)
    session.pump()
    assert controller.labels_layer != before
    controller.act("accept")
    assert controller.labels_layer.data.max() == 1
    assert before.data.max() == 0


def test_the_last_id_can_be_used_again_after_undo(
    viewer, session, image, blobs, centres
):
    data = np.zeros(blobs.labels.shape, np.uint8)
    data[0, 0] = 254
    controller = session.start_prompts(image, SPEC, viewer.add_labels(data))
    for _ in range(3):
        accept_at(controller, centres[0])
        assert controller.labels_layer.data.max() == 255
        controller.act("undo")
        controller.act("discard")
    assert controller.labels_layer.data.max() == 254


def test_an_image_without_pixels_is_refused(viewer, session):
    empty = viewer.add_image(np.zeros((0, 8, 10), np.uint8))
    with pytest.raises(ImageError, match="without pixels"):
        session.start_prompts(empty, SPEC)


def test_labels_of_the_users_that_the_image_left_are_told(
    viewer, session, image, blobs, warnings_shown
):
    labels = viewer.add_labels(np.zeros(blobs.labels.shape, np.uint32))
    session.start_prompts(image, SPEC, labels)
    image.translate = (50, 0)
    assert "does not lie on the image" in warnings_shown[-1]
