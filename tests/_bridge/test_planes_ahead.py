# SPDX-License-Identifier: Apache-2.0
"""Neighbouring planes are ready before the slider comes to them, in a viewer."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from napari_sam._bridge import preferences
from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam._bridge.preferences import EmbeddingSettings, save_embedding_settings
from napari_sam._bridge.sessions import ViewerSession
from napari_sam.annotation.job import Priority
from napari_sam.annotation.ports import PlaneKey
from napari_sam.prediction.embedding_library import EmbeddingLibrary
from napari_sam.prediction.model_segmenter import ModelSegmenter


@pytest.fixture(autouse=True)
def _without_preferences(monkeypatch):
    monkeypatch.setattr(preferences, "_settings", lambda: None)
    preferences._CHOSEN.clear()
    yield
    preferences._CHOSEN.clear()


@pytest.fixture
def stack(viewer, blobs):
    """Five planes, each another part of the picture."""
    planes = [np.roll(blobs.image[..., 0], 9 * z, axis=0) for z in range(5)]
    viewer.add_image(np.stack(planes), name="stack")
    viewer.dims.set_point(0, 1)
    return viewer.layers["stack"]


class Counted:
    """The tiny model, with a look at its encoder."""

    def __init__(self, sam, library=None) -> None:
        self.segmenter = ModelSegmenter(sam, library)
        self.n_encoded = 0
        self.between_blocks = lambda: None
        engine = self.segmenter._predictor._engine
        encode = engine.encode_image

        def watched(frames, check):
            def look() -> None:
                self.between_blocks()
                check()

            features = encode(frames, look)
            self.n_encoded += 1
            return features

        engine.encode_image = watched


@pytest.fixture
def counted(tiny_sam) -> Counted:
    return Counted(tiny_sam)


@pytest.fixture
def session(viewer, counted):
    session = ViewerSession(viewer, load=lambda _: counted.segmenter)
    yield session
    session.close()


def settle(session) -> None:
    end = time.monotonic() + 20
    while session.is_busy:
        assert time.monotonic() < end
        session.pump()
        time.sleep(0.002)


def ready(session) -> set[int]:
    memory = session.controller.annotator.desk.memory
    return {key.index[0] for key in memory.embeddings.keys()}  # noqa: SIM118  no dict


def test_the_next_planes_are_ready_when_the_slider_comes(
    session, viewer, stack, counted
):
    session.start_prompts(stack, ModelSpec())
    settle(session)
    assert ready(session) == {0, 1, 2, 3}
    assert counted.n_encoded == 4
    heard = []
    session.controller.annotator.embedding_changed.connect(
        lambda key, is_ready: heard.append((key.index, is_ready))
    )
    viewer.dims.set_point(0, 2)
    assert heard == [((2,), True)]  # at once: no pump was needed
    settle(session)
    assert ready(session) == {0, 1, 2, 3, 4}
    assert counted.n_encoded == 5


def test_what_was_made_ahead_answers_as_what_was_not(
    session, viewer, stack, segmenter, centres
):
    session.start_prompts(stack, ModelSpec())
    settle(session)
    viewer.dims.set_point(0, 2)
    settle(session)
    key = PlaneKey((1, 2), (2,))
    made = session.controller.annotator.desk.embedding_of(key)
    direct = segmenter.embed(np.asarray(stack.data[2]))
    np.testing.assert_array_equal(made.whole.features, direct.whole.features)
    assert made.whole.digest == direct.whole.digest


def test_the_user_can_switch_it_off(session, stack, counted):
    save_embedding_settings(EmbeddingSettings(is_ahead=False))
    session.start_prompts(stack, ModelSpec())
    settle(session)
    assert ready(session) == {1}
    assert counted.n_encoded == 1


def test_stopping_ends_it(session, stack, counted):
    inside, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        if counted.n_encoded:
            inside.set()
            assert go_on.wait(10)

    counted.between_blocks = wait
    session.start_prompts(stack, ModelSpec())
    while not inside.is_set():
        session.pump()
        time.sleep(0.002)
    session.stop_prompts()
    go_on.set()
    settle(session)
    assert counted.n_encoded == 1  # the one under way was given up


def test_a_click_is_answered_between_two_blocks(session, stack, counted):
    order: list[str] = []

    def click() -> None:
        if counted.n_encoded != 1:
            return
        order.append("block")
        if len(order) == 1:  # in the middle of the plane ahead
            session.runner.submit(
                lambda _: order.append("click"), priority=Priority.INTERACTIVE
            )

    counted.between_blocks = click
    session.start_prompts(stack, ModelSpec())
    settle(session)
    assert order[:2] == ["block", "click"]
    assert order.count("block") >= 2
    assert counted.n_encoded == 4


def test_scrolling_back_far_reads_no_pixels(viewer, blobs, tiny_sam):
    """Memory holds eight planes; the library knows the others by their digest."""
    planes = [np.roll(blobs.image[..., 0], z, axis=0) for z in range(14)]
    viewer.add_image(np.stack(planes), name="stack")
    viewer.dims.set_point(0, 0)
    counted = Counted(tiny_sam, EmbeddingLibrary())
    session = ViewerSession(viewer, load=lambda _: counted.segmenter)
    try:
        controller = session.start_prompts(viewer.layers["stack"], ModelSpec())
        for z in range(14):
            viewer.dims.set_point(0, z)
            settle(session)
        assert counted.n_encoded == 14
        assert len(ready(session)) == 8
        source = controller.annotator.source
        pixels = source.plane_pixels
        read = []

        def watched(key):
            found = pixels(key)
            take = found.read

            def noted(*arguments):
                read.append(key.index)
                return take(*arguments)

            found.read = noted
            return found

        source.plane_pixels = watched
        session._ahead.is_on = False
        viewer.dims.set_point(0, 0)
        settle(session)
        assert 0 in ready(session)
        assert counted.n_encoded == 14
        assert read == []
        controller.annotator.add_point(PlaneKey((1, 2), (0,)), (100, 100))
        settle(session)
        assert controller.annotator.shown is not None
    finally:
        session.close()
