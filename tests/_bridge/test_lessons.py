# SPDX-License-Identifier: Apache-2.0
"""Lessons from other annotators: clicks, labels, history, what is never lost.

See `tests/test_lessons.py` for the list.
"""

from __future__ import annotations

import builtins
import shutil
import threading
import time
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from scipy import ndimage

from napari_sam._bridge.annotation_record import load_record, save_record
from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam._bridge.sessions import ViewerSession
from napari_sam.annotation.commit_policy import CommitSettings, Overlap
from napari_sam.annotation.jobs import InlineRunner, ModelThread
from napari_sam.annotation.objects import Status
from napari_sam.annotation.ports import PlaneKey

SPEC = ModelSpec("tiny")
FLAT = PlaneKey()


@pytest.fixture(autouse=True)
def journals(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_SAM_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data" / "journals"


@pytest.fixture
def image(viewer, blobs):
    return viewer.add_image(blobs.image, rgb=True, name="blobs")


@pytest.fixture
def controller(session, image):
    return session.start_prompts(image, SPEC)


class Dawdler:
    """A model that takes its time, and remembers the thread that waited for it."""

    def __init__(self, segmenter: Any, seconds: float) -> None:
        self._segmenter = segmenter
        self._seconds = seconds
        self.threads: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._segmenter, name)

    def predict(self, *arguments: Any, **options: Any) -> Any:
        self.threads.add(threading.current_thread().name)
        time.sleep(self._seconds)
        return self._segmenter.predict(*arguments, **options)


def test_clicks_never_wait_for_the_model(viewer, segmenter, image, centres, gestures):
    """Lesson 1: one lasting thread answers all clicks; a click returns at once."""
    slow = Dawdler(segmenter, 0.15)
    session = ViewerSession(viewer, ModelThread(), lambda _: slow)
    controller = session.start_prompts(image, SPEC)

    def settle() -> None:
        while session.is_busy:
            session.pump()
            time.sleep(0.002)

    settle()
    seconds = []
    for number, (y, x, _) in enumerate(centres[:5], start=1):
        start = time.thread_time()
        gestures.click((y, x))
        seconds.append(time.thread_time() - start)
        settle()
        controller.accept()
        assert controller.labels_layer.data[y, x] == number
    session.close()
    assert min(seconds) < 0.1
    assert len(slow.threads) == 1
    assert threading.current_thread().name not in slow.threads


def test_only_the_box_of_a_mask_is_written(controller, centres, gestures):
    """Lesson 2: what an object costs does not grow with the layer."""
    layer, updates, others = controller.labels_layer, [], []
    before = layer.data
    layer.events.labels_update.connect(
        lambda event: updates.append((event.offset, np.shape(event.data)))
    )
    layer.events.set_data.connect(lambda _: others.append("everything shown anew"))
    layer.events.data.connect(lambda _: others.append("another array"))
    gestures.click(centres[0][:2])
    y0, x0, y1, x1 = controller.annotator.shown.mask.box
    controller.accept()
    assert layer.data is before
    assert others == []
    assert (y1 - y0) * (x1 - x0) < 0.1 * layer.data.size
    for offset, shape in updates:
        assert all(
            start - 2 <= there and there + n <= stop + 2
            for there, n, start, stop in zip(
                offset, shape, (y0, x0), (y1, x1), strict=True
            )
        )
    assert updates


def test_what_was_there_is_kept_and_ids_go_on(viewer, session, image, centres, blobs):
    """Lesson 6: labels of the user are not written over; the next id is free."""
    _, x, _ = centres[0]
    mine = np.zeros(blobs.labels.shape, np.uint16)
    mine[:, : x + 1] = 41
    labels = viewer.add_labels(mine.copy(), name="mine")
    controller = session.start_prompts(image, SPEC, labels)
    for place in centres[:3]:
        controller.prompts.points.add([list(place[:2])])
        controller.accept()
    np.testing.assert_array_equal(labels.data[mine > 0], 41)
    assert np.unique(labels.data).tolist() == [0, 41, 42, 43, 44]


def test_embeddings_stay_in_the_computer_s_memory(controller):
    """Lesson 6: a hundred planes do not fill the memory of the graphics card."""
    view = controller.annotator.desk.embedding_of(FLAT)
    assert isinstance(view.whole.features, np.ndarray)
    assert all(isinstance(one, np.ndarray) for one in view.whole.high_res)


def test_everything_goes_back_and_forth_in_one_history(controller, centres, gestures):
    """Lesson 7: prompts, choices, objects, classes: many steps back, and again."""
    annotator, labels = controller.annotator, controller.labels_layer

    def look() -> tuple[Any, ...]:
        shown = annotator.shown
        return (
            labels.data.tobytes(),
            np.asarray(controller.prompts.points.data).tolist(),
            None if shown is None else (shown.name, shown.mask.area),
            [(o.object_id, o.class_name, o.status) for o in annotator.objects],
        )

    (y, x, _), second, third = centres[:3]
    first = (FLAT, 1)
    doings = [
        lambda: gestures.click((y, x)),
        lambda: gestures.click((y + 4, x + 3)),
        lambda: controller.act("next_candidate"),
        lambda: controller.act("accept"),
        lambda: gestures.click(second[:2]),
        lambda: controller.act("accept"),
        lambda: annotator.change([first], class_name="cell"),
        lambda: annotator.change([first], status=Status.UNSURE),
        lambda: annotator.reopen(*first),
        lambda: gestures.click(third[:2], modifiers=("Control",)),
        lambda: controller.act("accept"),
        lambda: annotator.delete([first]),
        lambda: gestures.click(third[:2]),
        lambda: controller.act("discard"),
    ]
    states = [look()]
    for do in doings:
        do()
        states.append(look())
    assert len({state[0] for state in states}) == 5  # two made, one edited, deleted
    for expected in states[-2::-1]:
        controller.act("undo")
        assert look() == expected
    for expected in states[1:]:
        controller.act("redo")
        assert look() == expected


def test_an_object_is_opened_again_with_its_prompts(controller, centres, gestures):
    """Lesson 8: back to the first object after the third, and it can be corrected."""
    labels, annotator = controller.labels_layer, controller.annotator
    for place in centres[:3]:
        gestures.click(place[:2])
        controller.accept()
    others = labels.data > 1
    before = labels.data.copy()
    gestures.click(centres[0][:2], modifiers=("Shift",))
    np.testing.assert_allclose(controller.prompts.points.data, [centres[0][:2]])
    controller.act("next_candidate")
    wanted = annotator.shown.mask.on_plane(labels.data.shape)
    controller.accept()
    np.testing.assert_array_equal(labels.data == 1, wanted)
    assert (wanted != (before == 1)).any()
    np.testing.assert_array_equal(labels.data[others], before[others])
    assert len(annotator.objects) == 3


def test_a_mask_of_somebody_else_is_refined(viewer, session, image, blobs, centres):
    """Lesson 8: an object without prompts is corrected from its own mask."""
    theirs = np.where(blobs.labels == 3, 9, 0).astype(np.uint16)
    theirs[: centres[2][0]] = 0  # only a part of it
    labels = viewer.add_labels(theirs.copy())
    controller = session.start_prompts(image, SPEC, labels)
    controller.annotator.reopen(FLAT, 9)
    assert controller.annotator.draft.drawn.mask is not None
    controller.prompts.points.add([list(centres[2][:2])])
    controller.accept()
    assert set(np.unique(labels.data)) == {0, 9}
    assert (labels.data == 9).sum() > (theirs == 9).sum()


def test_painting_on_an_object_is_never_lost(controller, centres, gestures):
    """Lesson 9: strokes of napari's brush stay wherever they lie; undo knows them."""
    labels, annotator = controller.labels_layer, controller.annotator
    gestures.click(centres[0][:2])
    controller.accept()
    object_before = annotator.objects[FLAT, 1]
    labels.brush_size = 7
    labels.paint((100, 100), 1)  # far outside the object's box
    painted = labels.data.copy()
    y0, x0, y1, x1 = annotator.objects[FLAT, 1].box
    assert y0 <= 97 < y1
    assert x0 <= 97 < x1
    assert annotator.objects[FLAT, 1].area == (painted == 1).sum()
    gestures.click(centres[1][:2])
    controller.accept()
    np.testing.assert_array_equal(labels.data == 1, painted == 1)
    annotator.reopen(FLAT, 1)
    controller.act("discard")
    np.testing.assert_array_equal(labels.data == 1, painted == 1)
    for _ in range(5):  # discard, open, accept, click, stroke
        controller.act("undo")
    assert annotator.objects[FLAT, 1] == object_before
    assert labels.data[100, 100] == 0


def test_saving_needs_no_package_that_may_be_missing(
    controller, centres, gestures, monkeypatch, tmp_path
):
    """Lesson 10: what is saved is saved with the standard library and numpy."""
    gestures.click(centres[0][:2])
    controller.accept()
    wanted = controller.labels_layer.data.copy()
    optional = {"zarr", "z5py", "h5py", "dask", "pandas", "tifffile", "skimage", "cv2"}
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name.partition(".")[0] in optional:
            raise ModuleNotFoundError(name)
        return real(name, *arguments)

    path = tmp_path / "blobs.annotation.json"
    monkeypatch.setattr(builtins, "__import__", without)
    save_record(controller, path)
    controller.annotator.delete([(FLAT, 1)])
    assert not controller.labels_layer.data.any()
    load_record(controller, path)
    monkeypatch.undo()
    np.testing.assert_array_equal(controller.labels_layer.data, wanted)


def test_a_crash_takes_no_object(
    viewer, controller, segmenter, centres, gestures, journals, monkeypatch, tmp_path
):
    """Lesson 11: what was annotated is on disk at once and offered again."""
    for place in centres[:2]:
        gestures.click(place[:2])
        controller.accept()
    gestures.click(centres[2][:2])
    wanted = controller.labels_layer.data.copy()
    # As the disk stands when the program is killed at this moment.
    left = tmp_path / "after" / "journals"
    shutil.copytree(journals, left)
    monkeypatch.setenv("NAPARI_SAM_DATA_DIR", str(left.parent))
    other = ViewerModel()
    session = ViewerSession(other, InlineRunner(), lambda _: segmenter)
    again = session.start_prompts(other.add_image(controller.image.data), SPEC)
    (offer,) = session.autosave.offers()
    session.autosave.restore(offer)
    np.testing.assert_array_equal(again.labels_layer.data, wanted)
    np.testing.assert_allclose(again.prompts.points.data, [centres[2][:2]])
    again.accept()
    assert again.labels_layer.data.max() == 3
    assert session.autosave.offers() == []
    session.close()


def test_another_model_or_image_clears_nothing(
    viewer, session, controller, image, blobs, centres, gestures
):
    """Lesson 12: labels, prompts and layers outlive the choice of model and image."""
    labels = controller.labels_layer
    gestures.click(centres[0][:2])
    controller.accept()
    gestures.click(centres[1][:2])
    mine = viewer.add_labels(np.full(blobs.labels.shape, 5), name="mine")
    kept, layers = labels.data.copy(), list(viewer.layers)
    session.use_model(ModelSpec("another"))
    assert list(viewer.layers) == layers
    np.testing.assert_array_equal(labels.data, kept)
    np.testing.assert_allclose(controller.prompts.points.data, [centres[1][:2]])
    image.data = blobs.image[::-1].copy()
    np.testing.assert_array_equal(labels.data, kept)
    other = viewer.add_image(blobs.image[:, ::-1].copy(), rgb=True)
    session.start_prompts(other, SPEC)
    assert labels in viewer.layers
    np.testing.assert_array_equal(labels.data, kept)
    np.testing.assert_array_equal(mine.data, 5)


@pytest.mark.parametrize("overlap", list(Overlap))
def test_overlaps_leave_no_rings_and_slivers(
    viewer, session, image, blobs, centres, overlap
):
    """Lesson 14: where masks meet, each object stays one piece."""
    y, _, label = centres[0]
    # Somebody's object, a little smaller than the blob: around it a ring is left.
    core = ndimage.binary_erosion(blobs.labels == label, iterations=2)
    labels = viewer.add_labels(core.astype(np.uint16))
    controller = session.start_prompts(image, SPEC, labels)
    controller.annotator.settings = CommitSettings(overlap=overlap)
    half = blobs.labels == label
    half[:y] = False
    ys, xs = np.nonzero(ndimage.binary_dilation(half, iterations=4))
    y0, x0, y1, x1 = ys.min(), xs.min(), ys.max(), xs.max()
    controller.prompts.shapes.add_rectangles([[y0, x0], [y0, x1], [y1, x1], [y1, x0]])
    if controller.annotator.shown.mask.area:
        controller.accept()
    if overlap is Overlap.KEEP:
        np.testing.assert_array_equal(labels.data == 1, core)
    if overlap is not Overlap.FILL:  # which says that it cuts nothing off
        _, n_pieces = ndimage.label(labels.data == 2, np.ones((3, 3)))
        assert n_pieces <= 1
