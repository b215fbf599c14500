# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gc
import threading
import time
import weakref

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam._bridge.action_commands import accept, discard
from napari_sam._bridge.diagnostics import diagnostics
from napari_sam._bridge.model_holder import LoadedModel, LoadingModel, NoModel
from napari_sam._bridge.model_segmenter import ModelSpec, load_segmenter
from napari_sam._bridge.sessions import ViewerSession, session_of, unwrap
from napari_sam.annotation.jobs import InlineRunner, ModelThread
from napari_sam.errors import PhaseError, SettingsError, WeightsError

SPEC = ModelSpec("tiny")
LOOSE = {"pred_iou_thresh": 0.5, "stability_score_thresh": 0.5, "points_per_side": 12}


@pytest.fixture
def image(viewer, blobs):
    return viewer.add_image(blobs.image, rgb=True, name="blobs")


def test_proxy_and_viewer_have_one_session_and_viewers_share_nothing():
    from napari.utils._proxies import PublicOnlyProxy

    viewer, other = ViewerModel(), ViewerModel()
    session = session_of(viewer)
    assert session_of(PublicOnlyProxy(viewer)) is session
    assert unwrap(PublicOnlyProxy(viewer)) is viewer
    assert session_of(other) is not session
    session.close()
    session_of(other).close()


def test_session_does_not_keep_its_viewer_alive(image, viewer, segmenter):
    viewer = ViewerModel()
    session = session_of(viewer)
    gone = weakref.ref(viewer)
    del viewer
    gc.collect()
    assert gone() is None
    session.close()


def test_last_holder_closes(viewer):
    session = session_of(viewer)
    session.hold()
    session.hold()
    session.release()
    assert not session.is_closed
    session.release()
    assert session.is_closed
    assert session_of(viewer) is not session
    session_of(viewer).close()


def test_model_is_loaded_once_and_told(viewer, segmenter):
    loaded, seen = [], []

    def load(spec):
        loaded.append(spec)
        return segmenter

    session = ViewerSession(viewer, InlineRunner(), load)
    session.models.changed.connect(lambda status: seen.append(type(status)))
    session.use_model(SPEC)
    session.use_model(SPEC)
    assert loaded == [SPEC]
    assert seen == [LoadingModel, LoadedModel]
    session.use_model(ModelSpec("other"))
    assert len(loaded) == 2


def test_prompts_given_while_the_model_loads_are_answered(
    viewer, segmenter, image, blobs
):
    runner, go_on = ModelThread(), threading.Event()

    def load(_):
        assert go_on.wait(5)
        return segmenter

    session = ViewerSession(viewer, runner, load)
    controller = session.start_prompts(image, SPEC)
    y, x = np.argwhere(blobs.labels == 1).mean(axis=0)
    controller.prompts.points.add([y, x])
    assert not controller.preview_layer.visible
    go_on.set()
    end = time.monotonic() + 20
    while session.is_busy and time.monotonic() < end:
        session.pump()
        time.sleep(0.01)
    assert controller.preview_layer.visible
    session.close()


def test_failed_load_is_told_and_the_next_works(
    viewer, segmenter, image, warnings_shown
):
    problems = [WeightsError("No such weights."), None]

    def load(_):
        if (problem := problems.pop(0)) is not None:
            raise problem
        return segmenter

    session = ViewerSession(viewer, InlineRunner(), load)
    finished = []
    session.grid_finished.connect(lambda *result: finished.append(result))
    session.start_grid(image, SPEC, LOOSE)
    assert warnings_shown == ["No such weights."]
    assert finished == [(None, None, "No result: No such weights.")]
    assert isinstance(session.models.status, NoModel)
    assert not session.is_grid_running
    session.start_grid(image, SPEC, LOOSE)
    assert finished[-1][0] in viewer.layers
    session.close()


def test_changing_the_model_keeps_layers_and_prompts(viewer, session, image, centres):
    controller = session.start_prompts(image, SPEC)
    controller.prompts.points.add(centres[0][:2])
    controller.accept()
    controller.prompts.points.add(centres[1][:2])
    before, layers = controller.labels_layer.data.copy(), list(viewer.layers)
    session.use_model(ModelSpec("another"))
    assert list(viewer.layers) == layers
    np.testing.assert_array_equal(controller.labels_layer.data, before)
    assert controller.preview_layer.visible  # answered by the new model


def test_starting_on_another_image_stops_the_first(viewer, session, image, blobs):
    first = session.start_prompts(image, SPEC)
    other = viewer.add_image(blobs.image[::-1], rgb=True, name="other")
    second = session.start_prompts(other, SPEC)
    assert session.controller is second
    assert not first.is_active
    assert [layer.name for layer in viewer.layers].count("SAM points") == 1


def test_grid_makes_a_layer_with_a_table(viewer, session, image, blobs, iou):
    session.start_grid(image, SPEC, LOOSE)
    layer = viewer.layers[-1]
    assert layer.name == "blobs objects"
    n_objects = int(layer.data.max())
    table = layer.features
    assert list(table["index"]) == list(range(1, n_objects + 1))
    for column in ("area", "predicted_iou", "stability_score", "box_y0", "box_x1"):
        assert column in table
    for _, row in table.iterrows():
        mask = layer.data == row["index"]
        assert mask.sum() == row["area"] > 0
        y, x = np.nonzero(mask)
        assert (y.min(), x.min(), y.max() + 1, x.max() + 1) == tuple(
            row[["box_y0", "box_x0", "box_y1", "box_x1"]]
        )
    found = [
        max(
            iou(layer.data == i, blobs.labels == label) for i in range(1, n_objects + 1)
        )
        for label in np.unique(blobs.labels)[1:]
    ]
    assert sum(value > 0.5 for value in found) >= 9
    assert layer.metadata["napari-sam-live"]["settings"] == LOOSE


def test_grid_in_a_region(viewer, session, blobs):
    image = viewer.add_image(blobs.image, rgb=True, name="blobs", scale=(2, 0.5))
    height, width = blobs.labels.shape
    corners = np.array([[0, 0], [0, width / 2], [height, width / 2], [height, 0]])
    region = viewer.add_shapes(corners, scale=(2, 0.5))
    session.start_grid(image, SPEC, LOOSE, region)
    layer = viewer.layers[-1]
    assert layer.data.max() >= 3
    for label in range(1, int(layer.data.max()) + 1):
        mask = layer.data == label
        assert 2 * mask[:, : width // 2].sum() >= mask.sum()
    whole = layer.features
    y, x = np.nonzero(layer.data == 1)
    assert y.min() == whole["box_y0"][0]
    assert x.max() + 1 == whole["box_x1"][0]


@pytest.mark.parametrize("kind", ["empty", "line", "outside"])
def test_region_without_inside_is_refused(viewer, session, image, kind):
    region = viewer.add_shapes(ndim=2)
    if kind == "line":
        region.add_lines([[5, 5], [50, 50]])
    if kind == "outside":
        region.add_rectangles([[-90, -90], [-90, -50], [-50, -50], [-50, -90]])
    shown, finished = [], []
    session.report = shown.append  # type: ignore[method-assign]
    session.grid_finished.connect(lambda *result: finished.append(result))
    if kind == "outside":
        session.start_grid(image, SPEC, LOOSE, region)
        assert "does not touch" in str(shown[0])
        assert finished[0][:2] == (None, None)
        assert "does not touch" in finished[0][2]
    else:
        with pytest.raises(SettingsError, match="no rectangle"):
            session.start_grid(image, SPEC, LOOSE, region)
    assert not session.is_grid_running


def test_grid_on_the_current_plane_of_a_stack(viewer, session, blobs):
    gray = blobs.image.mean(axis=2).astype(np.uint8)
    image = viewer.add_image(np.stack([np.zeros_like(gray), gray]))
    viewer.dims.set_current_step(0, 1)
    session.start_grid(image, SPEC, LOOSE)
    layer = viewer.layers[-1]
    assert layer.data.shape == (2, *gray.shape)
    assert layer.data[0].max() == 0
    assert layer.data[1].max() >= 5


@pytest.mark.parametrize("value", [7, np.nan])
def test_image_without_anything_gives_no_objects(viewer, session, value):
    image = viewer.add_image(np.full((60, 80), value, np.float32))
    finished = []
    session.grid_finished.connect(lambda *result: finished.append(result))
    session.start_grid(image, SPEC, {})
    layer, result, _ = finished[0]
    assert layer.data.max() == 0
    assert len(layer.features) == 0
    assert result.records == ()


def test_impossible_setting_is_told(session, image, warnings_shown):
    session.start_grid(image, SPEC, {"pred_iou_thresh": 7.0})
    assert "pred_iou_thresh" in warnings_shown[0]
    assert not session.is_grid_running


def test_click_is_served_while_the_grid_runs(viewer, image, segmenter, centres):
    """In the real thread: the answer comes within half a second, the grid goes on.

    Seconds of this process, so that a busy machine does not count.
    """
    session = ViewerSession(viewer, load=lambda _: segmenter)
    controller = session.start_prompts(image, SPEC)
    _pump_until(session, lambda: not session.is_busy)
    steps, finished, answered = [], [], []
    session.grid_progressed.connect(lambda *step: steps.append(step))
    session.grid_finished.connect(lambda *result: finished.append(result))
    session.start_grid(image, SPEC, {**LOOSE, "points_per_side": 48})
    _pump_until(session, lambda: steps)
    start = time.process_time()

    def note(shown):
        if shown is not None:
            answered.append((time.process_time() - start, len(finished)))

    controller.annotator.answer_changed.connect(note)
    controller.prompts.points.add(centres[0][:2])
    _pump_until(session, lambda: answered)
    seconds, n_finished = answered[0]
    assert n_finished == 0
    assert seconds < 0.5
    session.cancel_grid()
    _pump_until(session, lambda: finished)
    assert finished[0][1].is_partial
    session.close()


def _pump_until(session, condition, timeout=30.0):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end
        session.pump()
        time.sleep(0.01)


def test_foreign_errors_come_with_their_traceback(session, monkeypatch):
    seen = []
    from napari.utils.notifications import notification_manager

    monkeypatch.setattr(
        notification_manager, "receive_error", lambda *error: seen.append(error)
    )
    try:
        msg = "something odd"
        raise RuntimeError(msg)
    except RuntimeError as error:
        session.report(error)
    assert seen[0][0] is RuntimeError
    assert "test_sessions.py" in session.last_error


def test_diagnostics_tell_versions_model_and_error(session, image, warnings_shown):
    session.start_prompts(image, SPEC)
    session.report(PhaseError("Something was missing."))
    text = diagnostics(session, {"qt": "none here"})
    for part in ("napari: ", "torch: ", "qt: none here", "device: cpu", "sha256:"):
        assert part in text
    assert "Something was missing." in text


def test_commands(viewer, segmenter, blobs, centres, warnings_shown, monkeypatch):
    session = ViewerSession(viewer, InlineRunner(), lambda _: segmenter)
    monkeypatch.setattr(
        "napari_sam._bridge.action_commands.session_of", lambda _: session
    )
    accept(viewer)
    assert "press Start" in warnings_shown[-1]
    image = viewer.add_image(blobs.image, rgb=True)
    controller = session.start_prompts(image, SPEC)
    controller.prompts.points.add(centres[0][:2])
    discard(viewer)
    assert len(controller.prompts.points.data) == 0
    controller.prompts.points.add(centres[0][:2])
    accept(viewer)
    assert controller.labels_layer.data.max() == 1
    accept(viewer)
    assert "no mask" in warnings_shown[-1]
    session.close()


def test_loading_a_file_of_the_users(blobs):
    from pathlib import Path

    path = Path(__file__).parents[1] / "data" / "parity" / "mini.safetensors"
    loaded = load_segmenter(ModelSpec("mine", str(path), "cpu"))
    assert loaded.name == "mini"
    assert loaded.describe()["weights"].startswith("sha256:")


def test_missing_weights_are_never_fetched_in_silence():
    """Lesson 22: weights: a local file is enough, hashes count, nothing is fetched
    in silence.
    """
    with pytest.raises(WeightsError, match="panel 'Models'"):
        load_segmenter(ModelSpec("vit_b"))
