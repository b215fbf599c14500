# SPDX-License-Identifier: Apache-2.0
"""What the pointer and the annotator say to each other."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam._bridge.layer_link import MAX_ADOPTED_PX
from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam._bridge.sessions import ViewerSession

SPEC = ModelSpec("tiny")


@pytest.fixture
def image(viewer, blobs):
    return viewer.add_image(blobs.image, rgb=True, name="blobs")


@pytest.fixture
def controller(session, image):
    return session.start_prompts(image, SPEC)


def test_hover_shows_a_mask_before_any_click(controller, image, centres, blobs):
    y, x, label = centres[0]
    controller.pointer.hovered.emit(image.data_to_world((y, x)))
    assert controller.hover_layer.visible
    assert not controller.preview_layer.visible
    assert len(controller.prompts.points.data) == 0
    controller.pointer.left.emit()
    assert not controller.hover_layer.visible
    assert controller.labels_layer.data.max() == 0
    assert blobs.labels[y, x] == label


def test_no_hover_while_prompting_or_when_switched_off(controller, image, centres):
    (y, x, _), (far_y, far_x, _) = centres[0], centres[1]
    controller.pointer.clicked.emit(controller.plane, (y, x), 1)
    controller.pointer.hovered.emit(image.data_to_world((far_y, far_x)))
    assert not controller.hover_layer.visible
    controller.act("discard")
    controller.act("toggle_hover")
    controller.pointer.hovered.emit(image.data_to_world((far_y, far_x)))
    assert not controller.hover_layer.visible
    controller.act("toggle_hover")
    controller.pointer.hovered.emit(image.data_to_world((far_y + 1, far_x)))
    assert controller.hover_layer.visible


def test_clicks_and_boxes_become_items_of_the_layers(controller, centres, blobs):
    y, x, label = centres[2]
    controller.pointer.clicked.emit(controller.plane, (y, x), 1)
    np.testing.assert_allclose(controller.prompts.points.data, [[y, x]])
    controller.pointer.clicked.emit(controller.plane, (y, x + 60), 0)
    polarity = list(controller.prompts.points.features["polarity"])
    assert polarity == ["positive", "negative"]
    controller.act("undo")
    assert len(controller.prompts.points.data) == 1
    ys, xs = np.nonzero(blobs.labels == label)
    box = (ys.min() - 0.5, xs.min() - 0.5, ys.max() + 0.5, xs.max() + 0.5)
    controller.pointer.boxed.emit(controller.plane, box)
    assert list(controller.prompts.shapes.shape_type) == ["rectangle"]
    controller.act("accept")
    assert (controller.labels_layer.data[blobs.labels == label] == 1).mean() > 0.8
    assert len(controller.prompts.shapes.data) == 0


def test_picking_opens_an_object_again_with_its_prompts(controller, centres):
    y, x, _ = centres[0]
    controller.pointer.clicked.emit(controller.plane, (y, x), 1)
    controller.act("accept")
    assert len(controller.prompts.points.data) == 0
    controller.pointer.picked.emit(controller.plane, (y, x))
    np.testing.assert_allclose(controller.prompts.points.data, [[y, x]])
    assert controller.annotator.draft.object_id == 1
    controller.act("accept")
    assert set(np.unique(controller.labels_layer.data)) == {0, 1}


def test_picking_background_says_so(controller):
    messages = []
    controller.message_changed.connect(messages.append)
    controller.pointer.picked.emit(controller.plane, (0.0, 0.0))
    assert "no object" in messages[-1]


def test_turbo_gives_each_of_two_quick_clicks_an_object(
    viewer, image, segmenter, centres
):
    """The second click comes before the first one is answered."""
    session = ViewerSession(viewer, load=lambda _: segmenter)
    controller = session.start_prompts(image, SPEC)
    session.runner.wait()
    controller.act("toggle_turbo")
    for y, x, _ in centres[:3]:
        controller.pointer.clicked.emit(controller.plane, (y, x), 1)
    while session.is_busy:
        session.pump()
    labels = controller.labels_layer.data
    ids = [labels[y, x] for y, x, _ in centres[:3]]
    assert sorted(ids) == [1, 2, 3]
    controller.act("undo")
    assert labels.max() == 2
    assert len(controller.prompts.points.data) == 0
    session.close()


def test_undo_on_another_plane_goes_there(viewer, session, blobs, centres):
    stack = np.stack([blobs.image, blobs.image[::-1]])
    controller = session.start_prompts(viewer.add_image(stack, rgb=True), SPEC)
    viewer.dims.set_point(0, 0)
    y, x, _ = centres[0]
    controller.pointer.clicked.emit(controller.plane, (y, x), 1)
    controller.act("accept")
    viewer.dims.set_point(0, 1)
    assert controller.plane.index == (1,)
    controller.act("undo")
    assert controller.plane.index == (0,)
    assert controller.labels_layer.data.max() == 0
    assert controller.preview_layer.visible


def test_labels_that_were_there_are_in_the_table(viewer, session, image, blobs):
    labels = viewer.add_labels(blobs.labels.astype(np.uint32))
    controller = session.start_prompts(image, SPEC, labels)
    known = {o.object_id: o.area for o in controller.annotator.objects}
    ids, areas = np.unique(blobs.labels[blobs.labels > 0], return_counts=True)
    assert known == dict(zip(ids.tolist(), areas.tolist(), strict=True))
    assert blobs.labels.size < MAX_ADOPTED_PX


def test_start_again_on_the_same_labels_keeps_prompts(session, image, centres):
    controller = session.start_prompts(image, SPEC)
    y, x, _ = centres[0]
    controller.pointer.clicked.emit(controller.plane, (y, x), 1)
    controller.act("accept")
    labels = controller.labels_layer
    session.stop_prompts()
    again = session.start_prompts(image, SPEC, labels)
    (known,) = again.annotator.objects
    assert known.prompts.points[0].yx == (y, x)


def test_tools_of_napari_are_told_to_the_panel(controller):
    tools = []
    controller.prompts.tool_changed.connect(tools.append)
    controller.prompts.shapes.mode = "add_polygon_lasso"
    controller.prompts.shapes.mode = "select"
    controller.prompts.points.mode = "pan_zoom"
    controller.prompts.points.mode = "add"
    assert tools == ["lasso", "point"]
