# SPDX-License-Identifier: Apache-2.0
"""Training in a thread: what it tells, and what it leaves."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from skimage import draw

from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam._bridge.training_order import TrainingOrder
from napari_sam._bridge.training_run import TrainingRun
from napari_sam.annotation.job import Priority
from napari_sam.annotation.jobs import ModelThread
from napari_sam.errors import Cancelled, OutputError, PhaseError
from napari_sam.training import run_folder
from napari_sam.training.run_config import config_from
from napari_sam.training.sources import from_arrays
from napari_sam.weights import trained

MINI = Path(__file__).parents[1] / "data" / "parity" / "mini.safetensors"
SPEC = ModelSpec("mini", str(MINI), "cpu")


def pictures():
    found = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        labels = np.zeros((64, 96), np.int32)
        for label in (1, 2, 3):
            labels[draw.disk((32, 32 * label - 16), rng.uniform(8, 13))] = label
        pixels = np.where(labels > 0, 70, 170) + rng.normal(0, 10, labels.shape)
        found.append(from_arrays(pixels.astype(np.uint8), labels, name=f"{seed}"))
    return found


def order(steps=2, open_images=pictures):
    recipe = {
        "preset": "fine-tune-decoder",
        "optimiser": {"lr": 2e-3, "warmup_steps": 0},
        "prompts": {"objects_per_image": 2, "point_rounds": 1},
        "frames": {"variants": 1},
        "loop": {"ema_decay": 0.0, "total_steps": steps, "budget_seconds": 600},
    }
    config = config_from({"model": {"name": "mine"}, "training": recipe})
    return TrainingOrder(open_images, SPEC, config)


@pytest.fixture
def runner():
    runner = ModelThread()
    yield runner
    runner.close()


@pytest.fixture
def told():
    return []


@pytest.fixture
def run(runner, told):
    run = TrainingRun(runner)
    for name in ("asked", "progressed", "finished", "failed"):
        getattr(run, name).connect(lambda value, name=name: told.append((name, value)))
    yield run
    run.close()


def pump(run, until=lambda: False):
    end = time.monotonic() + 60
    while run.is_busy and not until():
        assert time.monotonic() < end
        run.pump()
        time.sleep(0.005)


def test_result_is_kept_and_told(run, told):
    run.start(order())
    with pytest.raises(PhaseError):
        run.start(order())
    pump(run)
    name, outcome = told[-1]
    assert name == "finished"
    assert outcome.name == "mine"
    assert outcome.folder == trained.models_folder() / "mine"
    assert outcome.result.steps == 2
    assert (
        outcome.result.scores["selection"] > outcome.result.scores_before["selection"]
    )
    assert run.folder.parent.name == "runs"


def test_same_data_ask_and_both_answers_work(run, told):
    run.start(order(2))
    pump(run)
    run.start(order(3))
    pump(run)
    name, prepared = told[-1]
    assert (name, prepared.steps) == ("asked", 2)
    run.go_on(prepared, is_anew=False)
    pump(run)
    assert told[-1][1].result.steps == 5
    run.start(order(3))
    pump(run)
    run.go_on(told[-1][1], is_anew=True)
    pump(run)
    assert told[-1][1].result.steps == 3


def test_finished_runs_are_marked_and_old_ones_go(run, told, monkeypatch):
    monkeypatch.setattr(run_folder, "KEPT_RUNS", 1)
    run.start(order())
    pump(run)
    first = run.folder
    assert (first / "finished.txt").read_text() == "steps\n"
    os.utime(first / "finished.txt", (1e9, 1e9))
    told.clear()
    run.start(order(100_000, open_images=lambda: pictures()[:1]))
    pump(run, lambda: any(name == "progressed" for name, _ in told))
    run.stop()
    pump(run)
    stopped = run.folder
    assert told[-1][1].result.ended == "cancelled"
    assert not (stopped / "finished.txt").exists()
    assert first.exists()
    run.start(order(open_images=lambda: pictures()[1:]))
    pump(run)
    assert not first.exists()
    assert (stopped / "state.pt").exists()
    assert (run.folder / "state.pt").exists()
    assert told[-1][1].name in {model.name for model in trained.trained_rows()}


def test_a_folder_in_which_another_trains_is_told(run, told):
    run.start(order())
    pump(run)
    with run_folder.locked(run.folder):
        run.start(order(3))
        pump(run)
        run.go_on(told[-1][1], is_anew=True)
        pump(run)
    name, error = told[-1]
    assert name == "failed"
    assert "is in use" in str(error)
    assert (run.folder / "state.pt").exists()


def test_the_folder_is_held_until_the_result_is_kept(run, told, monkeypatch):
    from napari_sam.training import card

    whole, refused = card.keep_model, []

    def keep(result, **more):
        try:
            run_folder.delete_run(result.weights.parent)
        except OutputError as error:
            refused.append(str(error))
        return whole(result, **more)

    monkeypatch.setattr(card, "keep_model", keep)
    run.start(order())
    pump(run)
    assert told[-1][1].name == "mine"
    assert "is in use" in refused[0]
    with run_folder.locked(run.folder):
        pass


def test_an_end_that_cannot_be_noted_fails_no_training(run, told, monkeypatch, caplog):
    def full(*_):
        msg = "Cannot write: no space left."
        raise OutputError(msg)

    monkeypatch.setattr(run_folder, "mark_finished", full)
    run.start(order())
    pump(run)
    assert told[-1][0] == "finished"
    assert told[-1][1].name == "mine"
    assert "no space left" in caplog.text


def test_damaged_state_begins_anew(run, told):
    run.start(order())
    pump(run)
    (run.folder / "state.pt").write_bytes(b"no state")
    run.start(order())
    pump(run)
    assert told[-1][1].result.steps == 2


def test_other_data_are_another_run(run, told):
    run.start(order())
    pump(run)
    first = run.folder
    run.start(order(open_images=lambda: pictures()[:1]))
    pump(run)
    assert told[-1][0] == "finished"
    assert run.folder != first


def test_stop_before_the_first_step(run, told):
    def slow():
        while not run.is_stopping:
            time.sleep(0.005)
        return pictures()

    run.start(order(open_images=slow))
    run.stop()
    pump(run)
    assert isinstance(told[-1][1], Cancelled)
    assert not run.is_running


def test_prompts_go_first(run, runner, told):
    """While the annotator's model is at work, hardly a step is made."""
    run.start(order(100_000))
    pump(run, lambda: any(name == "progressed" for name, _ in told))
    free = threading.Event()
    runner.submit(lambda _: free.wait(30), priority=Priority.INTERACTIVE)

    def steps_in(seconds):
        end = time.monotonic() + seconds
        pump(run, until=lambda: time.monotonic() > end)
        return max(v.step for name, v in told if name == "progressed")

    before = steps_in(0.3)
    during = steps_in(1.0) - before
    free.set()
    runner.wait()
    assert during <= 5  # of steps that take a few hundredths of a second
    run.stop()
    pump(run)


@pytest.mark.skipif(sys.platform != "linux", reason="niceness of a thread")
def test_thread_has_a_low_priority(run):
    seen = []

    def look():
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return pictures()

    before = os.getpriority(os.PRIO_PROCESS, 0)
    run.start(order(open_images=look))
    pump(run)
    assert seen == [max(before, 5)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_close_while_training_keeps_the_weights(run, told):
    run.start(order(100_000))
    pump(run, lambda: len([1 for name, _ in told if name == "progressed"]) > 2)
    thread = run._thread
    run.close()
    thread.join(30)
    assert not thread.is_alive()
    assert (run.folder / "best.safetensors").exists()
    assert (run.folder / "state.pt").exists()
    with pytest.raises(PhaseError):
        run.start(order())
