# SPDX-License-Identifier: Apache-2.0
"""A day of clicking leaves nothing behind: memory, threads, callbacks, layers."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import Any, ClassVar

import numpy as np
import psutil
import pytest
from napari.components import ViewerModel

from napari_sam._bridge.many_desk import desk_of
from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam._bridge.sessions import ViewerSession
from napari_sam.annotation.jobs import InlineRunner, ModelThread
from napari_sam.structures.candidates import Answer
from napari_sam.structures.mask_window import MaskWindow

SPEC = ModelSpec("disks")
SIDE = 256
MOUSE = (
    "mouse_move_callbacks",
    "mouse_drag_callbacks",
    "mouse_wheel_callbacks",
    "mouse_double_click_callbacks",
)


class Disks:
    """Answers every prompt with disks around a positive point, at once."""

    name = "disks"
    auto_defaults: ClassVar[dict[str, float]] = {}

    def describe(self) -> dict[str, str]:
        return {"model": self.name, "weights": "sha256:00"}

    def see(self, pixels: Any) -> Any:
        return pixels

    def embed(self, pixels: Any, **_: Any) -> tuple[int, int]:
        return pixels.shape

    def scale_for(self, embedding: Any, view: Any, extent: Any = None) -> None:
        return None

    def region_at(self, embedding: Any, yx: Any, scale: Any) -> None:
        return None

    def predict(
        self,
        embedding: tuple[int, int],
        prompts: Any,
        *,
        scale: Any = None,
        cancel: Any = None,
    ) -> Answer:
        y, x = max(prompts.points, key=lambda point: point.label).yx
        masks = tuple(disk(embedding, y, x, radius) for radius in (6, 3, 6, 9))
        scores = np.array([0.8, 0.5, 0.9, 0.6], np.float32)
        return Answer(masks, scores, np.zeros((4, 64, 64), np.float32), 0.001)

    def preview(
        self,
        embedding: tuple[int, int],
        yx: tuple[float, float],
        *,
        scale: Any = None,
    ) -> Answer:
        mask = disk(embedding, *yx, 6)
        return Answer((mask,), np.ones(1, np.float32), np.zeros((1, 64, 64)), 0.001)


def disk(shape: tuple[int, int], y: float, x: float, radius: int) -> MaskWindow:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return MaskWindow.of_mask((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


@pytest.fixture(autouse=True)
def _journals_of_their_own(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_SAM_DATA_DIR", str(tmp_path))


@pytest.fixture
def image(viewer):
    rng = np.random.default_rng(0)
    return viewer.add_image(rng.integers(0, 255, (SIDE, SIDE), np.uint8), name="noise")


@pytest.fixture
def threaded(viewer):
    """A session with the thread that users have."""
    session = ViewerSession(viewer, ModelThread(), lambda _: Disks())
    yield session
    session.close()


def settle(session, timeout=20.0):
    end = time.monotonic() + timeout
    while session.is_busy:
        assert time.monotonic() < end, "answers did not come in time"
        session.pump()
        time.sleep(0.0005)


def listeners(viewer):
    """Number of listeners of everything in a viewer, by name."""
    models = {
        "viewer": viewer,
        "dims": viewer.dims,
        "layers": viewer.layers,
        "selection": viewer.layers.selection,
        "cursor": viewer.cursor,
        **{f"layer {layer.name}": layer for layer in viewer.layers},
    }
    counts = {}
    for name, model in models.items():
        for event, emitter in model.events.emitters.items():
            counts[f"{name}.{event}"] = len(emitter.callbacks)
        for kind in MOUSE:
            counts[f"{name}.{kind}"] = len(getattr(model, kind, ()))
        counts[f"{name}.keymap"] = len(getattr(model, "keymap", ()))
    return counts


def clicks(session, gestures, n_clicks, begin=0):
    """Click as an annotator does: hover, choose, correct, accept, undo, delete."""
    controller = session.controller
    annotator = controller.annotator
    for number in range(begin, begin + n_clicks):
        y, x = 15 + number * 37 % (SIDE - 30), 15 + number * 53 % (SIDE - 30)
        gestures.hover((y, x))
        gestures.click((y, x), modifiers=("Control",) if number % 7 == 6 else ())
        settle(session)
        if number % 3 == 1 and annotator.shown is not None:
            controller.act("next_candidate")
            settle(session)
        if number % 2 and annotator.shown is not None and annotator.shown.mask.area:
            controller.act("accept")
        if number % 5 == 4:
            controller.act("undo")
            controller.act("redo")
            controller.act("undo")
            settle(session)
        if number % 10 == 9:
            if annotator.draft is not None:
                controller.act("discard")
            if len(annotator.objects):
                annotator.delete([known.key for known in annotator.objects])
            settle(session)


@pytest.mark.parametrize("n_clicks", [300, pytest.param(1000, marks=pytest.mark.slow)])
def test_clicks_leave_no_memory_thread_callback_or_layer(
    viewer, image, threaded, gestures, monkeypatch, warnings_shown, n_clicks
):
    # Reached within the first clicks, so that a full history does not count as a leak.
    monkeypatch.setattr("napari_sam.annotation.history.MAX_STEPS", 40)
    threaded.start_prompts(image, SPEC)
    settle(threaded)
    layers = list(viewer.layers)
    clicks(threaded, gestures, 100)
    before = listeners(viewer)
    threads = threading.active_count()
    gc.collect()
    n_objects, n_bytes = len(gc.get_objects()), psutil.Process().memory_info().rss
    clicks(threaded, gestures, n_clicks - 100, begin=100)
    gc.collect()
    assert list(viewer.layers) == layers
    assert listeners(viewer) == before
    assert threading.active_count() == threads
    # The logits of one answer are 64 kB; what else the process does is not exact.
    grown = psutil.Process().memory_info().rss - n_bytes
    assert grown < 20_000_000 + 20_000 * (n_clicks - 100)
    # The place of an object in the table is remembered; an error would be 20.
    assert len(gc.get_objects()) - n_objects < 1.5 * (n_clicks - 100)
    assert not warnings_shown


def test_objects_were_really_made_while_clicking(image, threaded, gestures):
    """The clicks of the test above write labels; without, it would prove nothing."""
    threaded.start_prompts(image, SPEC)
    settle(threaded)
    clicks(threaded, gestures, 9)
    labels = threaded.controller.labels_layer.data
    ids = np.unique(labels)[1:]
    assert len(ids) >= 2
    assert ids.tolist() == [o.object_id for o in threaded.controller.annotator.objects]


@pytest.mark.parametrize("n_starts", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_starts_and_stops_leave_the_viewer_as_it_was(viewer, image, n_starts):
    session = ViewerSession(viewer, InlineRunner(), lambda _: Disks())
    labels = viewer.add_labels(np.zeros((SIDE, SIDE), np.uint32), name="mine")
    viewer.layers.selection.active = image
    session.start_prompts(image, SPEC, labels)
    session.stop_prompts()  # what napari sets up once, on first use, is not ours
    layers, before = list(viewer.layers), listeners(viewer)
    keymaps = [dict(one.keymap) for one in (viewer, *viewer.layers)]
    pixels = labels.data.copy()
    gone = []
    for _ in range(n_starts):
        controller = session.start_prompts(image, SPEC, labels)
        desk_of(session)
        assert listeners(viewer) != before
        controller.prompts.points.add([50, 50])
        controller.pause()
        controller.resume()
        gone += [weakref.ref(controller), weakref.ref(controller.annotator)]
        gone += [weakref.ref(controller.prompts.points)]
        session.stop_prompts()
    del controller
    assert list(viewer.layers) == layers
    assert listeners(viewer) == before
    assert [dict(one.keymap) for one in (viewer, *viewer.layers)] == keymaps
    np.testing.assert_array_equal(labels.data, pixels)
    assert str(image.mode) == "pan_zoom"
    session.close()
    gc.collect()
    # The session remembers the last one, for its journal.
    assert not [one() for one in gone[:-3] if one() is not None]


@pytest.mark.parametrize("n_starts", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_sessions_leave_no_thread(n_starts):
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((SIDE, SIDE), np.uint8))
    threads = threading.active_count()
    before = listeners(viewer)
    for _ in range(n_starts):
        session = ViewerSession(viewer, load=lambda _: Disks())
        session.start_prompts(image, SPEC)
        settle(session)
        viewer.layers.remove(session.controller.labels_layer)
        session.stop_prompts()
        session.close()
    assert list(viewer.layers) == [image]
    assert listeners(viewer) == before
    end = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < end:
        time.sleep(0.01)  # a thread that was told to end needs a moment
    assert threading.active_count() == threads
