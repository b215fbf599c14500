# SPDX-License-Identifier: Apache-2.0
"""Prompts on layers become masks and labels, whatever the layers look like."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam.annotation.commit_policy import CommitSettings, Overlap
from napari_sam.errors import ImageError, LabelsError, PhaseError

SPEC = ModelSpec("tiny")


@pytest.fixture
def image(viewer, blobs):
    return viewer.add_image(blobs.image, rgb=True, name="blobs")


@pytest.fixture
def controller(session, image):
    return session.start_prompts(image, SPEC)


def add_point(controller, *position):
    """Add a point where the pixel of the image lies in the world."""
    points = controller.prompts.points
    world = controller.image.data_to_world(position)
    points.add(points.world_to_data(world))


def preview_mask(controller, shape):
    """The preview as a mask of the whole image, through world coordinates."""
    layer = controller.preview_layer
    whole = np.zeros(shape, bool)
    if layer.visible:
        for pixel in np.argwhere(layer.data):
            where = controller.image.world_to_data(layer.data_to_world(pixel))
            whole[tuple(np.round(where).astype(int))] = True
    return whole


def test_start_makes_layers_on_the_image(viewer, controller):
    names = [layer.name for layer in viewer.layers]
    assert names[:2] == ["blobs", "SAM objects"]
    assert set(names[2:4]) == {"SAM preview", "SAM hover"}
    assert names[4:] == ["SAM shapes", "SAM points"]
    assert viewer.layers.selection.active == controller.prompts.points
    assert str(controller.prompts.points.mode) == "add"
    assert not controller.preview_layer.visible


def test_click_on_every_blob(controller, blobs, centres, iou):
    for number, (y, x, label) in enumerate(centres, start=1):
        add_point(controller, y, x)
        shown = preview_mask(controller, blobs.labels.shape)
        assert iou(shown, blobs.labels == label) > 0.75
        controller.accept()
        written = controller.labels_layer.data == number
        np.testing.assert_array_equal(written, shown)
        assert len(controller.prompts.points.data) == 0
        assert not controller.preview_layer.visible
    assert controller.labels_layer.data.max() == len(centres)


def test_box_on_a_blob(controller, blobs, iou):
    y, x = np.nonzero(blobs.labels == 3)
    y0, x0, y1, x1 = y.min() - 0.5, x.min() - 0.5, y.max() + 0.5, x.max() + 0.5
    controller.prompts.shapes.add_rectangles([[y0, x0], [y0, x1], [y1, x1], [y1, x0]])
    controller.accept()
    assert iou(controller.labels_layer.data > 0, blobs.labels == 3) > 0.7
    assert len(controller.prompts.shapes.data) == 0


def test_moving_a_point_moves_the_mask(controller, blobs, centres, iou):
    (y, x, first), (to_y, to_x, second) = centres[0], centres[1]
    add_point(controller, y, x)
    assert (
        iou(preview_mask(controller, blobs.labels.shape), blobs.labels == first) > 0.7
    )
    controller.prompts.points.data = np.array([[to_y, to_x]], float)
    shown = preview_mask(controller, blobs.labels.shape)
    assert iou(shown, blobs.labels == second) > 0.7


def test_removing_the_last_prompt_removes_the_preview(controller, centres):
    add_point(controller, *centres[0][:2])
    assert controller.preview_layer.visible
    controller.prompts.points.selected_data = {0}
    controller.prompts.points.remove_selected()
    assert not controller.preview_layer.visible


def test_discard_leaves_labels_alone(controller, centres):
    add_point(controller, *centres[0][:2])
    controller.discard()
    assert len(controller.prompts.points.data) == 0
    assert not controller.preview_layer.visible
    assert controller.labels_layer.data.max() == 0
    with pytest.raises(PhaseError, match="no mask"):
        controller.accept()


@pytest.mark.parametrize("polarity", ["positive", "negative"])
def test_negative_point_shrinks_the_mask(controller, blobs, centres, polarity):
    y, x, _ = centres[0]
    add_point(controller, y, x)
    before = preview_mask(controller, blobs.labels.shape)
    rows, columns = np.nonzero(before)
    far = np.argmax(np.hypot(rows - y, columns - x))
    controller.prompts.set_polarity(polarity)
    add_point(controller, rows[far], columns[far])
    after = preview_mask(controller, blobs.labels.shape)
    assert after[rows[far], columns[far]] == (polarity == "positive")


TRANSFORMS = [
    {"scale": (0.5, 2.0)},
    {"translate": (100, -30)},
    {"rotate": 30},
    {"affine": [[0.9, 0.3, 5], [-0.2, 1.1, 7], [0, 0, 1]], "scale": (2, 2)},
]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transformed_image(viewer, session, blobs, centres, iou, transform):
    image = viewer.add_image(blobs.image, rgb=True, **transform)
    controller = session.start_prompts(image, SPEC)
    y, x, label = centres[2]
    add_point(controller, y, x)
    assert (
        iou(preview_mask(controller, blobs.labels.shape), blobs.labels == label) > 0.7
    )
    controller.accept()
    labels = controller.labels_layer
    assert iou(labels.data > 0, blobs.labels == label) > 0.7
    corner = np.asarray(blobs.labels.shape)
    np.testing.assert_allclose(
        labels.data_to_world(corner), image.data_to_world(corner)
    )


@pytest.mark.parametrize("kind", ["numpy", "dask"])
@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)])
def test_current_plane_of_a_stack(viewer, session, blobs, centres, iou, kind, order):
    gray = blobs.image.mean(axis=2).astype(np.uint8)
    stack = np.stack([np.zeros_like(gray), gray, gray[::-1]])
    data = da.from_array(stack, chunks=(1, -1, -1)) if kind == "dask" else stack
    image = viewer.add_image(data, scale=(4, 1, 0.5), contrast_limits=(0, 255))
    viewer.dims.order = order
    viewer.dims.set_point(0, 4.0)  # plane 1
    controller = session.start_prompts(image, SPEC)
    y, x, label = centres[4]
    add_point(controller, 1, y, x)
    assert controller.preview_layer.data.shape[0] == 1
    controller.accept()
    written = controller.labels_layer.data
    assert iou(written[1] > 0, blobs.labels == label) > 0.7
    assert written[0].max() == written[2].max() == 0


def test_prompts_of_a_plane_wait_there(viewer, session, blobs, centres):
    gray = blobs.image.mean(axis=2).astype(np.uint8)
    image = viewer.add_image(np.stack([gray, gray]))
    controller = session.start_prompts(image, SPEC)
    viewer.dims.set_current_step(0, 0)
    add_point(controller, 0, *centres[0][:2])
    assert controller.preview_layer.visible
    viewer.dims.set_current_step(0, 1)
    assert not controller.preview_layer.visible
    viewer.dims.set_current_step(0, 0)
    assert controller.preview_layer.visible


def test_multiscale_image(viewer, session, blobs, centres, iou):
    image = viewer.add_image(
        [blobs.image, blobs.image[::2, ::2]], rgb=True, multiscale=True, scale=(2, 2)
    )
    controller = session.start_prompts(image, SPEC)
    y, x, label = centres[1]
    add_point(controller, y, x)
    controller.accept()
    assert iou(controller.labels_layer.data > 0, blobs.labels == label) > 0.7


def test_existing_labels_are_kept_or_overwritten(
    viewer, session, image, blobs, centres
):
    y, x, _ = centres[0]
    data = np.zeros(blobs.labels.shape, np.uint16)
    data[:y] = 5
    labels = viewer.add_labels(data)
    controller = session.start_prompts(image, SPEC, labels)
    before = data.copy()
    add_point(controller, y, x)
    controller.accept()
    np.testing.assert_array_equal(labels.data[before > 0], 5)
    assert (labels.data == 6).any()
    controller.annotator.settings = CommitSettings(overlap=Overlap.OVERWRITE)
    add_point(controller, y, x)
    controller.accept()
    assert (labels.data[before > 0] == 7).any()


def test_accepted_object_is_undone_by_the_annotator_alone(controller, centres):
    add_point(controller, *centres[0][:2])
    controller.accept()
    assert controller.labels_layer.data.max() == 1
    controller.labels_layer.undo()  # napari's own history holds nothing of it
    assert controller.labels_layer.data.max() == 1
    controller.act("undo")
    assert controller.labels_layer.data.max() == 0
    assert len(controller.prompts.points.data) == 1
    controller.act("redo")
    assert controller.labels_layer.data.max() == 1
    assert len(controller.prompts.points.data) == 0


def test_labels_that_do_not_fit_leave_nothing_behind(viewer, session, image):
    labels = viewer.add_labels(np.zeros((5, 5), np.uint8))
    with pytest.raises(LabelsError, match="shape"):
        session.start_prompts(image, SPEC, labels)
    assert list(viewer.layers) == [image, labels]
    assert session.controller is None


def test_three_dimensional_display_is_refused(viewer, session, image):
    viewer.add_image(np.zeros((3, 10, 10)))
    viewer.dims.ndisplay = 3
    with pytest.raises(ImageError, match="2-D display"):
        session.start_prompts(image, SPEC)
    assert len(viewer.layers) == 2


def test_switching_to_3d_and_back(viewer, controller, centres):
    messages = []
    controller.message_changed.connect(messages.append)
    add_point(controller, *centres[0][:2])
    viewer.dims.ndisplay = 3
    assert not controller.preview_layer.visible
    assert "2-D" in messages[-1]
    viewer.dims.ndisplay = 2
    assert controller.preview_layer.visible


def test_removed_labels_layer_is_made_anew(viewer, controller, centres):
    viewer.layers.remove(controller.labels_layer)
    add_point(controller, *centres[0][:2])
    controller.accept()
    assert controller.labels_layer in viewer.layers
    assert controller.labels_layer.data.max() == 1


def test_removed_preview_layer_is_made_anew(viewer, controller, centres):
    viewer.layers.remove(controller.preview_layer)
    add_point(controller, *centres[0][:2])
    assert controller.preview_layer in viewer.layers
    assert controller.preview_layer.visible


def test_one_prompt_layer_may_go(viewer, session, controller, centres):
    viewer.layers.remove(controller.prompts.shapes)
    session.pump()
    add_point(controller, *centres[0][:2])
    assert controller.preview_layer.visible
    viewer.layers.remove(controller.prompts.points)
    session.pump()
    assert session.controller is None


@pytest.mark.parametrize("how", ["image", "everything"])
def test_removed_image_ends_the_session_of_prompts(viewer, session, controller, how):
    if how == "image":
        viewer.layers.remove(controller.image)
    else:
        viewer.layers.clear()
    session.pump()
    assert session.controller is None
    left = [layer.name for layer in viewer.layers]
    assert left == (["SAM objects"] if how == "image" else [])


def test_renamed_layers_still_work(viewer, controller, centres):
    for number, layer in enumerate(list(viewer.layers)):
        layer.name = f"renamed {number}"
    add_point(controller, *centres[0][:2])
    controller.accept()
    assert controller.labels_layer.data.max() == 1


def test_pause_and_resume(controller, centres):
    controller.pause()
    add_point(controller, *centres[0][:2])
    assert not controller.preview_layer.visible
    with pytest.raises(PhaseError, match="hidden"):
        controller.accept()
    controller.resume()
    assert controller.preview_layer.visible


def test_image_removed_while_paused(viewer, session, controller):
    controller.pause()
    viewer.layers.remove(controller.image)
    controller.resume()
    session.pump()
    assert session.controller is None


def test_stop_leaves_no_layer_and_no_callback(viewer, session, image):
    def callbacks():
        return [
            len(emitter.callbacks)
            for events in (viewer.dims.events, viewer.layers.events, image.events)
            for emitter in events.emitters.values()
        ]

    before = callbacks()
    labels = session.start_prompts(image, SPEC).labels_layer
    session.stop_prompts()
    assert list(viewer.layers) == [image, labels]
    viewer.layers.remove(labels)
    assert callbacks() == before


def test_new_pixels_are_looked_at(controller, blobs, centres, iou):
    y, x, label = centres[0]
    controller.image.data = blobs.image[::-1].copy()
    add_point(controller, blobs.labels.shape[0] - 1 - y, x)
    shown = preview_mask(controller, blobs.labels.shape)
    assert iou(shown, blobs.labels[::-1] == label) > 0.7


def test_pixels_of_another_shape_end_it(session, controller, blobs):
    controller.image.data = blobs.image[:100].copy()
    session.pump()
    assert session.controller is None


def test_point_beside_the_image_is_told(controller):
    messages = []
    controller.message_changed.connect(messages.append)
    add_point(controller, -20, 5)
    assert "left out" in messages[-1]
    assert not controller.preview_layer.visible


def test_scaling_the_image_meanwhile(controller, blobs, centres, iou):
    """Prompts, preview and our labels follow; the mask stays on its object."""
    y, x, label = centres[0]
    add_point(controller, y, x)
    controller.image.scale = (0.25, 3.0)
    controller.image.translate = (7, -9)
    shown = preview_mask(controller, blobs.labels.shape)
    assert iou(shown, blobs.labels == label) > 0.7
    np.testing.assert_allclose(controller.labels_layer.scale, (0.25, 3.0))
    y, x, label = centres[1]
    controller.discard()
    add_point(controller, y, x)
    controller.accept()
    assert iou(controller.labels_layer.data > 0, blobs.labels == label) > 0.7


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (3000, 2)])
def test_odd_shapes(viewer, session, shape):
    image = viewer.add_image(np.arange(np.prod(shape)).reshape(shape) % 251)
    controller = session.start_prompts(image, SPEC)
    add_point(controller, 0, 0)
    y0, x0, y1, x1 = controller.annotator.shown.mask.box
    assert 0 <= y0 <= y1 <= shape[0]
    assert 0 <= x0 <= x1 <= shape[1]
    session.start_grid(image, SPEC, {"points_per_side": 2})
    assert viewer.layers[-1].data.shape == shape


def test_nan_point_is_left_out(controller, centres):
    messages = []
    controller.message_changed.connect(messages.append)
    controller.prompts.points.add([np.nan, 5])
    assert "left out" in messages[-1]
    add_point(controller, *centres[0][:2])
    assert controller.preview_layer.visible


def test_labels_layer_is_no_image(viewer, session, blobs):
    labels = viewer.add_labels(blobs.labels.astype(int))
    with pytest.raises(ImageError, match="Choose an Image layer"):
        session.start_prompts(labels, SPEC)


def test_image_that_cannot_be_read_is_told(viewer, session, monkeypatch):
    from napari.utils.notifications import notification_manager

    seen, is_broken = [], []
    monkeypatch.setattr(
        notification_manager, "receive_error", lambda *error: seen.append(error[1])
    )

    def load(_):
        if is_broken:
            msg = "the disk is gone"
            raise OSError(msg)
        return np.zeros((40, 50), np.uint8)

    lazy = da.zeros((40, 50), dtype=np.uint8, chunks=-1).map_blocks(load, dtype="u1")
    image = viewer.add_image(lazy, contrast_limits=(0, 255), cache=False)
    is_broken.append(True)
    controller = session.start_prompts(image, SPEC)
    assert [str(error) for error in seen] == ["the disk is gone"]
    assert not controller.annotator.is_embedding
    is_broken.clear()
    add_point(controller, 20, 20)
    assert controller.annotator.shown is not None


def test_next_object_begins_with_a_positive_point(controller, centres):
    add_point(controller, *centres[0][:2])
    controller.prompts.set_polarity("negative")
    controller.accept()
    assert controller.prompts.polarity == "positive"


def test_no_labels_layer_means_a_new_one(viewer, controller, centres):
    first = controller.labels_layer
    controller.use_labels(None)
    add_point(controller, *centres[0][:2])
    controller.accept()
    assert controller.labels_layer != first
    assert controller.labels_layer in viewer.layers
    assert (first.data.max(), controller.labels_layer.data.max()) == (0, 1)


def test_message_does_not_speak_of_a_mask_that_is_gone(controller, centres):
    messages = []
    controller.message_changed.connect(messages.append)
    add_point(controller, *centres[0][:2])
    assert " mask of " in messages[-1]
    controller.prompts.points.remove([0])
    assert messages[-1].startswith("Ready")


def test_preview_leaves_out_what_existing_objects_keep(controller, blobs, centres):
    y, x, _ = centres[0]
    shape = blobs.labels.shape
    labels, messages = controller.labels_layer, []
    controller.message_changed.connect(messages.append)
    add_point(controller, y, x)
    whole = preview_mask(controller, shape)
    top = np.zeros(shape, bool)
    top[: y - 1] = True
    labels.data_setitem(np.nonzero(top), 5)  # as the user's brush does
    np.testing.assert_array_equal(preview_mask(controller, shape), whole & ~top)
    controller.act("undo")
    np.testing.assert_array_equal(preview_mask(controller, shape), whole)
    controller.act("redo")
    controller.annotator.settings = CommitSettings(overlap=Overlap.OVERWRITE)
    np.testing.assert_array_equal(preview_mask(controller, shape), whole)
    labels.preserve_labels = True
    shown = preview_mask(controller, shape)
    np.testing.assert_array_equal(shown, whole & ~top)
    controller.accept()
    np.testing.assert_array_equal((labels.data > 0) & ~top, shown)
    controller.message_changed.disconnect(messages.append)


def test_mask_on_existing_objects_alone_is_told(controller, blobs, centres):
    messages = []
    controller.message_changed.connect(messages.append)
    controller.labels_layer.data = np.full(blobs.labels.shape, 3, np.uint32)
    add_point(controller, *centres[0][:2])
    assert not controller.preview_layer.visible
    assert "already" in messages[-1]


def test_negative_points_alone_give_no_mask(controller, centres):
    messages = []
    controller.message_changed.connect(messages.append)
    y, x, _ = centres[0]
    controller.prompts.set_polarity("negative")
    add_point(controller, 2, 2)
    assert "on the object as well" in messages[-1]
    assert not controller.preview_layer.visible
    controller.prompts.set_polarity("positive")
    add_point(controller, y, x)
    assert controller.preview_layer.visible
    controller.prompts.points.remove([1])
    assert not controller.preview_layer.visible
    assert "on the object as well" in messages[-1]
