# SPDX-License-Identifier: Apache-2.0
"""The loop on a task of two numbers: ends, resumption, files, refusals."""

import csv
import dataclasses
import math
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from napari_sam.errors import (
    Cancelled,
    CheckpointError,
    LossError,
    OutputError,
    SettingsError,
)
from napari_sam.training.checkpoints import load_state, save_state
from napari_sam.training.early_stopping import EarlyStopping
from napari_sam.training.loop import (
    BEST_FILE,
    LAST_FILE,
    STATE_FILE,
    TrainingLoop,
)
from napari_sam.training.moving_average import MovingAverage
from napari_sam.training.recipe import Loop, Optimiser

SHORT = Loop(
    total_steps=12, images_per_step=2, eval_every=4, log_every=3, ema_decay=0.9
)
NUMBERS = Optimiser(lr=0.05, warmup_steps=3, final_decay=0.5, clip_norm=1.0)


class Line(nn.Module):
    """y = a x + b."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(()))
        self.offset = nn.Parameter(torch.zeros(()))


class Fit:
    """Fits a line to noisy points; dropout makes torch's generator count."""

    def __init__(self, scores=None, bad_draw: int = -1) -> None:
        self.model = Line()
        self.scores = scores
        self.bad_draw = bad_draw
        self.seen: list[int] = []

    def parameter_groups(self):
        return [
            {"params": [self.model.slope], "lr_factor": 1.0, "weight_decay": 0.01},
            {"params": [self.model.offset], "lr_factor": 0.5, "weight_decay": 0.0},
        ]

    def loss(self, draw, rng):
        self.seen.append(draw)
        x = torch.from_numpy(rng.normal(size=8)).float()
        noise = torch.randn(8) * 0.1
        error = self.model.slope * x + self.model.offset - (2 * x + 1 + noise)
        loss = error.square().mean()
        if draw == self.bad_draw:
            loss = loss * math.nan
        return loss, {"error": float(error.detach().abs().mean())}

    def where(self, draw):
        return f"point {draw}"

    def evaluate(self):
        if self.scores is None:
            return {}
        if callable(self.scores):
            return {"selection": self.scores()}
        return {"selection": -float((self.model.slope - 2).abs())}

    def weights(self):
        return self.model.state_dict()


def run(task: Fit, folder: Path, loop: Loop = SHORT, until=None, **options):
    training = TrainingLoop(task, folder, loop, NUMBERS, **options)
    return training, training.run(until)


def values(task: Fit) -> list[float]:
    return [p.item() for p in task.model.parameters()]


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path) -> None:
    whole = Fit(scores=True)
    run(whole, tmp_path / "whole")
    parts = tmp_path / "parts"
    for until in (1, 5, 6, None):
        task = Fit(scores=True)  # a new process knows nothing
        torch.manual_seed(until or 0)
        _, end = run(task, parts, until=until)
    assert end == "steps"
    assert values(task) == values(whole)
    one, other = (
        load_state(f / STATE_FILE) for f in (tmp_path / "whole", tmp_path / "parts")
    )
    for key in ("model", "average"):
        for name, value in one[key].items():
            assert torch.equal(value, other[key][name])
    assert one["best"] == other["best"]
    for file in (BEST_FILE, "log.csv"):
        assert (parts / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_a_killed_run_goes_on_from_its_last_save(tmp_path) -> None:
    whole = Fit()
    run(whole, tmp_path / "whole")
    killed = Fit(bad_draw=16)  # dies in step 8, long after the save of step 5
    run(killed, tmp_path / "cut", until=5)
    with pytest.raises(LossError):
        run(killed, tmp_path / "cut")
    again = Fit()
    run(again, tmp_path / "cut")
    assert again.seen[0] == 10
    assert values(again) == values(whole)
    logs = [(tmp_path / f / "log.csv").read_text() for f in ("whole", "cut")]
    assert logs[0] == logs[1]


def test_without_its_state_a_run_begins_anew_with_its_log(tmp_path) -> None:
    run(Fit(), tmp_path / "clean", until=5)
    run(Fit(), tmp_path / "used")
    (tmp_path / "used" / STATE_FILE).unlink()
    training, _ = run(Fit(), tmp_path / "used", until=5)
    assert training.step == 5
    logs = [(tmp_path / f / "log.csv").read_text() for f in ("clean", "used")]
    assert logs[0] == logs[1]


def test_randomness_of_others_is_left_alone(tmp_path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(Fit(), tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_another_seed_gives_another_run(tmp_path) -> None:
    one, other = Fit(), Fit()
    run(one, tmp_path / "a")
    run(other, tmp_path / "b", dataclasses.replace(SHORT, seed=1))
    assert values(one) != values(other)


def test_gradients_of_several_draws_add_up_to_their_mean(tmp_path) -> None:
    task = Fit()
    plain = Optimiser(lr=0.1, warmup_steps=0)
    loop = Loop(total_steps=1, images_per_step=3)
    TrainingLoop(task, tmp_path, loop, plain).run()
    assert task.seen == [0, 1, 2]
    # AdamW's first step is the rate times the sign of the mean gradient
    assert values(task) == pytest.approx([0.1, 0.05], abs=1e-4)


def test_the_best_average_is_kept_not_the_last(tmp_path) -> None:
    scores = iter([0.1, 0.5, 0.4, 0.3])
    task = Fit(scores=lambda: next(scores))
    training, end = run(task, tmp_path)
    assert end == "steps"
    assert (training.best_step, training.best_scores) == (4, {"selection": 0.5})
    assert training.scores_before == {"selection": 0.1}
    best = load_file(tmp_path / BEST_FILE)
    assert float(best["slope"]) != values(task)[0]


def test_the_last_average_is_written_on_request(tmp_path) -> None:
    task = Fit(scores=lambda: -1.0)
    training, _ = run(task, tmp_path, writes_last=True)
    last = load_file(tmp_path / LAST_FILE)
    assert float(last["slope"]) == pytest.approx(
        float(training._average.values["slope"])
    )
    assert float(load_file(tmp_path / BEST_FILE)["slope"]) == 0  # of step 0


def test_patience_ends_a_run_and_more_patience_goes_on(tmp_path) -> None:
    scores = iter([0.5, 0.4, 0.3, 0.2, 0.1])
    task = Fit(scores=lambda: next(scores))
    patient = dataclasses.replace(SHORT, patience=2)
    training, end = run(task, tmp_path, patient)
    assert (end, training.step, training.best_step) == ("early", 8, 0)
    more = dataclasses.replace(SHORT, patience=3, total_steps=20)
    training, end = run(task, tmp_path, more)
    assert (end, training.step) == ("early", 12)


def test_nan_scores_are_never_the_best() -> None:
    stopping = EarlyStopping(patience=2)
    assert [stopping.update(s) for s in (0.1, math.nan, 0.2)] == [True, False, True]
    assert not stopping.is_over
    assert not EarlyStopping(patience=0, waited=99).is_over


def test_a_budget_ends_the_run_and_its_schedule(tmp_path) -> None:
    loop = dataclasses.replace(SHORT, total_steps=10**9, budget_seconds=0.3)
    task = Fit(scores=True)
    training, end = run(task, tmp_path, loop)
    assert end == "budget"
    assert 0 < training.step < 10**9
    assert training.fraction == 1
    training, end = run(Fit(scores=True), tmp_path, loop)
    assert end == "budget"  # spent in the first part


def test_cancel_keeps_best_weights_and_state(tmp_path) -> None:
    cancel = threading.Event()
    reports = []

    def progress(report):
        reports.append(report)
        if report.scores and report.step == 4:
            cancel.set()

    task = Fit(scores=True)
    training, end = run(task, tmp_path, progress=progress, cancel=cancel)
    assert (end, training.step) == ("cancelled", 4)
    assert load_file(tmp_path / BEST_FILE).keys() == {"slope", "offset"}
    assert reports[-1].losses["error"] > 0
    assert reports[-1].total_steps == 12
    training, end = run(Fit(scores=True), tmp_path)
    assert (end, training.step) == ("steps", 12)


def stopping(task: Fit, cancel: threading.Event, at: int) -> Fit:
    """Have the evaluation with that number stopped on the way."""
    whole, seen = task.evaluate, []

    def evaluate():
        seen.append(1)
        if len(seen) == at:
            cancel.set()
        if cancel.is_set():
            msg = "stopped"
            raise Cancelled(msg)
        return whole()

    task.evaluate = evaluate
    return task


@pytest.mark.parametrize(("at", "step"), [(1, 0), (2, 4), (3, 8), (4, 12)])
def test_an_evaluation_that_is_stopped_is_made_when_the_run_goes_on(
    tmp_path, at, step
) -> None:
    run(Fit(scores=True), tmp_path / "whole")
    cut = tmp_path / "cut"
    cancel = threading.Event()
    task = stopping(Fit(scores=True), cancel, at)
    training, end = run(task, cut, cancel=cancel)
    assert (end, training.step) == ("cancelled", step)
    assert (cut / BEST_FILE).exists() == (at > 1)
    assert bool(training.scores_before) == (at > 1)
    training, end = run(Fit(scores=True), cut)
    assert (end, training.step) == ("steps", 12)
    for file in (BEST_FILE, "log.csv"):
        assert (cut / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_and_keeps_the_files(tmp_path, value) -> None:
    task = Fit(scores=True)
    run(task, tmp_path, until=4)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.suffix != ".csv"}
    with torch.no_grad():
        task.model.slope.fill_(value)
    broken = TrainingLoop(task, tmp_path, SHORT, NUMBERS)
    with torch.no_grad():
        task.model.slope.fill_(value)
    with pytest.raises(LossError, match=r"at step 4, on point 8.*best.safetensors"):
        broken.run()
    after = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.suffix != ".csv"}
    assert after == before


def test_a_full_disk_keeps_the_last_state_and_says_so(tmp_path, monkeypatch) -> None:
    task = Fit()
    run(task, tmp_path, until=4)
    before = (tmp_path / STATE_FILE).read_bytes()

    def full(*_args, **_more):
        msg = "PytorchStreamWriter failed writing file data/0: file write failed"
        raise RuntimeError(msg)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match=r"state.pt.*written before is kept.*space"):
        run(Fit(), tmp_path)
    assert (tmp_path / STATE_FILE).read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {STATE_FILE, BEST_FILE, "log.csv"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_without_space_is_reported_as_such(tmp_path, monkeypatch) -> None:
    class Full:
        def __enter__(self):
            return Path("/dev/full")

        def __exit__(self, *_):
            return False

    from napari_sam.training import checkpoints

    monkeypatch.setattr(checkpoints, "written_atomically", lambda _: Full())
    with pytest.raises(OutputError, match="Cannot write"):
        save_state(tmp_path / "state.pt", {"x": torch.zeros(1 << 20)})


def test_another_run_in_the_folder_is_not_gone_on_with(tmp_path) -> None:
    run(Fit(), tmp_path, until=2, identity={"recipe": "a"})
    with pytest.raises(SettingsError, match="a run with another recipe"):
        run(Fit(), tmp_path, identity={"recipe": "b"})
    training, _ = run(Fit(), tmp_path, identity={"recipe": "a"})
    assert training.step == 12


def test_damaged_and_foreign_states_are_refused(tmp_path) -> None:
    (tmp_path / STATE_FILE).write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(CheckpointError, match="Delete it to start anew"):
        TrainingLoop(Fit(), tmp_path, SHORT, NUMBERS)
    save_state(tmp_path / STATE_FILE, {"model": {}, "step": 3})
    with pytest.raises(CheckpointError, match="does not fit this model"):
        TrainingLoop(Fit(), tmp_path, SHORT, NUMBERS)


def test_a_state_of_five_keys_is_enough(tmp_path) -> None:
    run(Fit(), tmp_path, until=5)
    state = load_state(tmp_path / STATE_FILE)
    five = ("model", "average", "optimizer", "step", "best")
    save_state(tmp_path / STATE_FILE, {key: state[key] for key in five})
    task, whole = Fit(), Fit()
    run(task, tmp_path)
    run(whole, tmp_path / "whole")
    assert values(task) == values(whole)


def test_nothing_to_train_is_said(tmp_path) -> None:
    task = Fit()
    task.parameter_groups = list
    with pytest.raises(SettingsError, match="both frozen"):
        TrainingLoop(task, tmp_path, SHORT, NUMBERS)


def test_the_log_has_means_over_steps(tmp_path) -> None:
    run(Fit(scores=True), tmp_path)
    with (tmp_path / "log.csv").open() as file:
        rows = [(int(s), p, k, float(v)) for s, p, k, v in csv.reader(file)]
    assert [r[0] for r in rows if r[2] == "loss"] == [3, 6, 9, 12]
    assert [r[0] for r in rows if r[2] == "selection"] == [0, 4, 8, 12]
    rates = [r[3] for r in rows if r[2] == "rate"]
    assert rates[0] == pytest.approx(np.mean([1, 2, 3]) / 3 * 0.05, abs=1e-4)


def test_tensorboard_events_on_request(tmp_path) -> None:
    pytest.importorskip("tensorboard")
    run(Fit(), tmp_path, dataclasses.replace(SHORT, tensorboard=True))
    assert list(tmp_path.glob("events*"))


def test_the_moving_average_by_hand() -> None:
    model = Line()
    average = MovingAverage(model, decay=0.5)
    with torch.no_grad():
        model.slope.fill_(1.0)
        average.update(step=100)
        model.slope.fill_(2.0)
        average.update(step=101)
    assert float(average.values["slope"]) == pytest.approx(1.25)
    with average.in_place():
        assert model.slope.item() == pytest.approx(1.25)
    assert model.slope.item() == 2.0
    early = MovingAverage(model, decay=0.999)
    with torch.no_grad():
        model.slope.fill_(13.0)
    early.update(step=1)  # decay 1/11 in place of 0.999
    assert float(early.values["slope"]) == pytest.approx(2 / 11 + 13 * 10 / 11)
