# SPDX-License-Identifier: Apache-2.0
"""Many objects in the real window: batches and their review, proposals, a folder."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from napari_sam._widgets.everything_widget import EverythingWidget
from napari_sam._widgets.folder_widget import FolderWidget
from napari_sam.io.images import read_image

SETTINGS = {
    "points_per_side": 10,
    "pred_iou_thresh": 0.4,
    "stability_score_thresh": 0.4,
}


@pytest.fixture
def live(hand, image):
    return hand(image)


@pytest.fixture
def many(live, docked):
    """The dock for many objects beside the one for prompts."""
    widget = docked(EverythingWidget)
    for name, value in SETTINGS.items():
        widget.settings.set_value(name, value)
    return widget


def ids(live):
    return np.unique(live.labels.data)[1:].tolist()


@pytest.fixture
def batch(live, many, viewer, wait, centres):
    """One object for each point of a layer of the user's."""
    maxima = viewer.add_points([(y, x) for y, x, _ in centres], name="maxima")
    many.many.batch.layer.value = maxima
    many.many.batch.run.click()
    wait(lambda: not many.many.desk.is_batch_running, timeout=60)
    live.settle()
    return many.many


def test_a_points_layer_becomes_objects(live, batch, centres, blobs, iou):
    found = live.labels.data.copy()
    overlaps = [
        iou(found == found[y, x], blobs.labels == label) if found[y, x] else 0.0
        for y, x, label in centres
    ]
    assert np.mean(overlaps) > 0.6
    assert len(live.annotator.objects) == len(ids(live)) > 5
    live.activate(live.controller.prompts.points)
    live.key("Z", "Control")  # all of them are one step
    assert not live.labels.data.any()
    live.key("Z", "Control", "Shift")
    np.testing.assert_array_equal(live.labels.data, found)


def test_review_from_the_worst_on(live, batch):
    review, queue = batch.review, batch.desk.review
    scores = {one.object_id: one.predicted_iou for one in live.annotator.objects}
    first = queue.current.object_id
    assert scores[first] == min(scores.values())
    kept = live.labels.data.copy()
    review.accept.click()
    live.settle()
    np.testing.assert_array_equal(live.labels.data, kept)
    assert live.annotator.objects[live.annotator.plane, first].status == "accepted"
    second = queue.current.object_id
    review.reject.click()
    live.settle()
    np.testing.assert_array_equal(live.labels.data, np.where(kept == second, 0, kept))
    third = queue.current.object_id
    review.refine.click()
    live.settle()
    (point,) = live.controller.prompts.points.data
    live.press(live.widget.tools.tools["point"])
    live.key("N")
    wanted = live.shown
    live.key("W")
    np.testing.assert_array_equal(live.labels.data == third, wanted)
    assert live.labels.data[tuple(np.round(point).astype(int))] in (0, third)
    assert queue.current.object_id not in (first, second, third)
    live.key("Z", "Control")
    np.testing.assert_array_equal(live.labels.data == third, kept == third)
    for _ in range(3):  # the choice, the opening, the rejection
        live.key("Z", "Control")
    np.testing.assert_array_equal(live.labels.data, kept)


def middle(proposals, proposal_id):
    """A pixel that belongs, as its neighbours do, to a proposal and no smaller one."""
    window = proposals.mask(proposal_id)
    around = [(-1, -1), (-1, 1), (0, 0), (1, -1), (1, 1)]  # a pointer is not exact
    for y, x in np.argwhere(window.crop)[:: max(1, window.area // 40)]:
        place = (int(window.y0 + y), int(window.x0 + x))
        near = [(place[0] + y, place[1] + x) for y, x in around]
        if all(proposals.at(one) == proposal_id for one in near):
            return place
    return None


def test_proposals_are_taken_and_dropped_with_the_mouse(live, many, wait):
    many.way.semi.setChecked(True)
    many.way.iou.setValue(0.75)
    many.way.stability.setValue(0.85)
    many.run.click()
    wait(lambda: not many._is_running, timeout=60)
    live.settle()
    sure = live.labels.data.copy()
    assert sure.any()
    assert all(known.is_locked for known in live.annotator.objects)
    proposals = many.many.desk.proposals
    places = {one: middle(proposals, one) for one in proposals.visible_ids()}
    taken, dropped, *_ = [one for one, place in places.items() if place]
    assert live.viewer.layers.selection.active.name == "SAM proposals"
    wanted = proposals.mask(taken).on_plane(sure.shape)
    live.click(places[taken])
    new = live.labels.data != sure
    assert new.any()
    assert not (new & ~wanted).any()
    after = live.labels.data.copy()
    live.click(places[dropped], modifier="Control")
    np.testing.assert_array_equal(live.labels.data, after)
    assert dropped not in many.many.desk.proposals.visible_ids()
    live.key("Z", "Control")
    assert dropped in many.many.desk.proposals.visible_ids()
    live.key("Z", "Control")
    np.testing.assert_array_equal(live.labels.data, sure)
    live.key("Z", "Control", "Shift")
    np.testing.assert_array_equal(live.labels.data, after)


def test_a_folder_image_after_image(
    hand, viewer, docked, wait, tmp_path, blobs, centres
):
    folder = tmp_path / "images"
    folder.mkdir()
    for number, view in enumerate((blobs.image, blobs.image[:, ::-1]), start=1):
        picture = Image.fromarray(np.ascontiguousarray(view))
        picture.save(folder / f"b{number}.png")
    walker = docked(FolderWidget)
    walker.folder.setText(str(folder))

    def go(button):
        button.click()
        wait(lambda: not walker.session.is_busy and not walker.walk.task)

    go(walker.start)
    live = hand(is_started=True)
    (y, x, _), width = centres[0], blobs.labels.shape[1]
    live.click((y, x))
    live.key("W")
    first = live.labels.data.copy()
    live.click(centres[1][:2])  # left open
    go(walker.next)
    assert live.controller.image.name == "b2.png"
    assert not live.labels.data.any()
    live.key("Z", "Control")  # nothing of the image before comes back here
    assert not live.labels.data.any()
    live.click((y, width - 1 - x))
    live.key("W")
    assert ids(live) == [1]
    go(walker.previous)
    np.testing.assert_array_equal(live.labels.data, first)
    points = live.controller.prompts.points
    np.testing.assert_allclose(points.data, [centres[1][:2]], atol=2)
    live.key("W")
    assert ids(live) == [1, 2]
    live.click((y, x), modifier="Shift")
    np.testing.assert_allclose(points.data, [(y, x)], atol=2)
    live.key("Q")
    go(walker.save)
    for name, expected in (("b1", [0, 1, 2]), ("b2", [0, 1])):
        written = read_image(folder / f"{name}_labels.tif", as_labels=True).data
        assert np.unique(written).tolist() == expected
