# SPDX-License-Identifier: Apache-2.0
"""Proposals, batches and review on a headless viewer with the tiny model."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from napari_sam._bridge.everything_run import NO_OBJECTS, NO_PROMPTING, EverythingRun
from napari_sam._bridge.many_desk import NOT_IN_FRONT, desk_of
from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam.annotation.objects import Origin, Status
from napari_sam.annotation.scope import Scope
from napari_sam.errors import NapariSamError, PhaseError, PromptError

SPEC = ModelSpec("mini")
LOOSE = {
    "points_per_side": 10,
    "min_area": 25,
    "pred_iou_thresh": 0.4,
    "stability_score_thresh": 0.4,
}


@pytest.fixture
def image(viewer, blobs):
    return viewer.add_image(blobs.image, rgb=True, name="blobs")


@pytest.fixture
def desk(session, image):
    session.start_prompts(image, SPEC)
    session.pump()
    return desk_of(session)


@pytest.fixture
def stack(viewer, blobs):
    return viewer.add_image(np.stack([blobs.image[..., 0]] * 3), name="stack")


def run(viewer, session, image, settings=None, **options):
    """Text that a run ends with."""
    texts = []
    everything = EverythingRun(viewer, session)
    everything.finished.connect(texts.append)
    options.setdefault("scope", Scope.PLANE)
    everything.start(image, SPEC, settings or LOOSE, **options)
    session.pump()
    assert not everything.is_running
    everything.close()
    (text,) = texts
    return text


def labels_of(desk):
    return desk.controller.labels_layer.data


def test_sure_ones_are_filled_in_and_the_rest_is_shown(
    viewer, session, desk, image, blobs, iou
):
    text = run(viewer, session, image, desk=desk, sure=(0.7, 0.8))
    objects = list(desk.controller.annotator.objects)
    assert objects
    assert all(o.is_locked and o.origin is Origin.GRID for o in objects)
    assert f"{len(objects)} sure objects filled in and locked" in text
    found = labels_of(desk)
    best = [
        max(
            iou(found == o.object_id, blobs.labels == n)
            for n in np.unique(blobs.labels)[1:]
        )
        for o in objects
    ]
    assert np.median(best) > 0.7
    proposals = desk.proposals
    assert f"{len(proposals.visible_ids())} proposed" in text
    assert desk.layer.layer in viewer.layers
    assert viewer.layers.selection.active is desk.layer.layer
    shown = desk.layer.layer.data > 0
    masks = [proposals.mask(i).on_plane(shown.shape) for i in proposals.visible_ids()]
    np.testing.assert_array_equal(shown, np.any([shown & False, *masks], axis=0))
    advance = desk.advance
    assert advance.n_taken == len(objects)
    assert advance.share_covered == pytest.approx((found > 0).mean())


def test_take_drop_undo_and_the_layer_follows(viewer, session, desk, image):
    run(viewer, session, image, desk=desk, sure=(1.0, 1.0))  # nothing is sure
    first, second, *_ = desk.proposals.visible_ids()
    window = desk.proposals.mask(first)
    shape = labels_of(desk).shape
    assert not labels_of(desk).any()
    desk.take(first)
    np.testing.assert_array_equal(labels_of(desk) > 0, window.on_plane(shape))
    assert not desk.layer.layer.data[window.on_plane(shape)].any()
    desk.drop(second)
    assert desk.proposals.at((0, 0)) is None
    dropped = desk.proposals.mask(second).on_plane(shape)
    assert not desk.layer.layer.data[dropped].any()
    desk.undo()
    desk.undo()
    assert not labels_of(desk).any()
    assert desk.layer.layer.data[window.on_plane(shape)].all()
    desk.take()  # all of them, as one step
    assert desk.proposals.visible_ids() == []
    assert len(desk.controller.annotator.objects) > 1
    desk.undo()
    assert not labels_of(desk).any()


def test_filters_hold_on_every_plane(viewer, session, stack):
    session.start_prompts(stack, SPEC)
    desk = desk_of(session)
    desk.set_filter("area", 0, 10)  # nothing is that small
    run(viewer, session, stack, desk=desk, scope=Scope.ALL, sure=(1.0, 1.0))
    assert len(list(desk.book)) == 3
    assert all(not proposals.visible_ids() for proposals in desk.book)
    desk.set_filter("area", -np.inf, np.inf)
    assert all(proposals.visible_ids() for proposals in desk.book)
    ids = [set(proposals.ids) for proposals in desk.book]
    assert not ids[0] & ids[1]
    n_changes = []
    desk.proposals_changed.connect(lambda: n_changes.append(1))
    desk.set_drops_background(False)
    assert n_changes
    assert all(not proposals.drops_background for proposals in desk.book)


def test_layer_follows_the_slider(viewer, session, stack):
    session.start_prompts(stack, SPEC)
    desk = desk_of(session)
    run(viewer, session, stack, desk=desk, sure=(1.0, 1.0))
    assert desk.layer.layer.visible
    viewer.dims.set_current_step(0, 0)
    assert desk.proposals is None
    assert not desk.layer.layer.visible
    viewer.dims.set_current_step(0, 1)
    assert desk.layer.layer.visible


def test_all_planes_into_one_new_layer(viewer, session, stack):
    text = run(viewer, session, stack, scope=Scope.ALL)
    layer = viewer.layers["stack objects"]
    assert layer.data.shape == stack.data.shape
    ids = [np.unique(plane[plane > 0]) for plane in layer.data]
    assert all(len(found) for found in ids)
    assert len(np.unique(np.concatenate(ids))) == sum(map(len, ids))
    assert f"{layer.data.max()} objects" in text
    table = layer.features
    assert table["index"].tolist() == list(range(1, layer.data.max() + 1))
    for _, row in table.iterrows():
        plane = layer.data[int(row["axis_0"])]
        assert (plane == row["index"]).sum() == row["area"]


def test_region_limits_the_proposals(viewer, session, desk, image):
    height, width = image.data.shape[:2]
    half = width / 2
    region = viewer.add_shapes([[0, 0], [0, half], [height, half], [height, 0]])
    run(viewer, session, image, desk=desk, region=region, sure=(1.0, 1.0))
    shown = desk.layer.layer.data > 0
    assert shown[:, : width // 2].sum() > 3 * shown[:, width // 2 :].sum()
    # Only what was looked at: the region and what the model is shown around it.
    assert shown.shape[0] == height
    assert half <= shown.shape[1] <= half + 1 + 32


def test_semi_automatic_needs_the_image_that_is_prompted(
    viewer, session, desk, stack, blobs
):
    everything = EverythingRun(viewer, session)
    with pytest.raises(PhaseError, match="Press Start"):
        everything.start(stack, SPEC, LOOSE, Scope.PLANE, desk=desk)
    assert NO_PROMPTING.startswith("The semi-automatic")
    assert not everything.is_running


def test_nothing_found_and_failures_are_told(viewer, session, desk, image, monkeypatch):
    strict = {"pred_iou_thresh": 1.0, "points_per_side": 2}
    assert run(viewer, session, image, strict, desk=desk) == NO_OBJECTS

    def fail(*_, **__):
        msg = "no memory"
        raise RuntimeError(msg)

    reported = []
    monkeypatch.setattr(session, "report", reported.append)
    monkeypatch.setattr(
        "napari_sam.prediction.model_segmenter.ModelSegmenter.segment_everything", fail
    )
    assert run(viewer, session, image, desk=desk) == "No result: no memory"
    assert [str(error) for error in reported] == ["no memory"]


def test_removed_labels_layer_is_made_anew(viewer, session, desk, image):
    run(viewer, session, image, desk=desk, sure=(1.0, 1.0))
    viewer.layers.remove(desk.controller.labels_layer)
    desk.take(desk.proposals.visible_ids()[0])
    assert desk.controller.labels_layer in viewer.layers
    assert labels_of(desk).any()


def test_every_point_of_a_layer_becomes_an_object(
    viewer, session, desk, blobs, centres, iou
):
    points = viewer.add_points([(y, x) for y, x, _ in centres], name="maxima")
    texts = []
    desk.batch_finished.connect(texts.append)
    assert desk.start_batch(points, Scope.PLANE) == 0
    session.pump()
    objects = list(desk.controller.annotator.objects)
    assert texts[0].startswith(f"{len(objects)} objects from {len(centres)} prompts")
    assert all(
        o.status is Status.PROPOSED and o.origin is Origin.BATCH for o in objects
    )
    found = labels_of(desk)
    good = [
        iou(found == found[y, x], blobs.labels == label)
        for y, x, label in centres
        if found[y, x]
    ]
    assert len(good) >= 8
    assert np.median(good) > 0.7
    desk.undo()
    assert not labels_of(desk).any()


def test_boxes_of_a_shapes_layer(viewer, session, desk, blobs, iou):
    boxes = []
    for label in np.unique(blobs.labels)[1:]:
        y, x = np.nonzero(blobs.labels == label)
        y0, x0, y1, x1 = y.min() - 1, x.min() - 1, y.max() + 1, x.max() + 1
        boxes.append([(y0, x0), (y0, x1), (y1, x1), (y1, x0)])
    shapes = viewer.add_shapes(boxes, name="detector")
    desk.start_batch(shapes, Scope.PLANE)
    session.pump()
    found = labels_of(desk)
    best = [
        max(
            iou(found == o.object_id, blobs.labels == label)
            for o in desk.controller.annotator.objects
        )
        for label in np.unique(blobs.labels)[1:]
    ]
    assert np.median(best) > 0.8


def test_review_of_a_batch(viewer, session, desk, centres):
    points = viewer.add_points([(y, x) for y, x, _ in centres])
    desk.start_batch(points, Scope.PLANE)
    session.pump()
    queue = desk.review
    worst = queue.current
    assert worst.predicted_iou == min(o.predicted_iou for o in queue.queue())
    desk.show_current()
    assert desk.controller.labels_layer.selected_label == worst.object_id
    n_before = len(queue)
    queue.accept()
    assert len(queue) == n_before - 1
    second = queue.current
    desk.refine()
    assert desk.controller.annotator.draft.object_id == second.object_id
    desk.controller.discard()
    queue.reject()
    assert not (labels_of(desk) == second.object_id).any()
    desk.controller.pause()
    with pytest.raises(PhaseError, match="Bring it to the front"):
        desk.refine()
    assert "refine" in NOT_IN_FRONT


def test_batch_without_items_says_where(viewer, session, desk):
    empty = viewer.add_points(np.zeros((0, 2)), name="nothing here")
    with pytest.raises(PromptError, match="'nothing here' has nothing usable"):
        desk.start_batch(empty, Scope.PLANE)
    assert not desk.is_batch_running
    beside = viewer.add_points([(-50, 5)])
    with pytest.raises(NapariSamError):
        desk.start_batch(beside, Scope.ALL)


def test_hovered_numbers(viewer, session, desk, image):
    run(viewer, session, image, desk=desk, sure=(1.0, 1.0))
    told = []
    desk.hovered.connect(told.append)
    first = desk.proposals.visible_ids()[0]
    desk.layer.hovered.emit(first)
    desk.layer.hovered.emit(None)
    assert told == [desk.proposals.describe(first), None]


def test_one_desk_for_each_image_and_none_left_behind(viewer, session, desk, image):
    assert desk_of(session) is desk
    run(viewer, session, image, desk=desk, sure=(1.0, 1.0))
    n_callbacks = len(viewer.dims.events.point.callbacks)
    session.stop_prompts()
    session.pump()
    assert desk_of(session) is None
    assert desk.layer.layer is None
    assert [layer.name for layer in viewer.layers if "proposals" in layer.name] == []
    assert len(viewer.dims.events.point.callbacks) < n_callbacks
    session.start_prompts(image, SPEC)
    assert desk_of(session) is not desk


def test_desk_keeps_nothing_alive(viewer, session, image):
    session.start_prompts(image, SPEC)
    desk = weakref.ref(desk_of(session))
    controller = weakref.ref(session.controller)
    run(viewer, session, image, desk=desk(), sure=(1.0, 1.0))
    session.close()  # without stopping first, as when the last dock is gone
    session.controller = session.autosave = None
    gc.collect()
    assert controller() is None
    gc.collect()  # what only the controller's entry had kept
    assert desk() is None
