# SPDX-License-Identifier: Apache-2.0
"""``napari-sam train`` from pictures on disk to a model in the list."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import napari_sam
from napari_sam.weights import trained
from napari_sam.weights.catalogue import list_models

MINI = Path(__file__).parents[1] / "data" / "parity" / "mini.safetensors"


def draw(folder, n, seed=0):
    """Write pairs of pictures with dark squares, new to the tiny model, and labels."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for i in range(n):
        rng = np.random.default_rng(seed + i)
        labels = np.zeros((48, 64), np.uint16)
        for number in range(1, 5):
            y, x = 4 + 22 * (number // 3), 5 + 30 * (number % 2)
            y0, x0 = y + rng.integers(0, 6), x + rng.integers(0, 6)
            labels[y0 : y0 + 12, x0 : x0 + 14] = number
        pixels = np.where(labels > 0, 70, 170) + rng.normal(0, 8, labels.shape)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"p{i}.png")
        Image.fromarray(labels).save(folder / "labels" / f"p{i}.png")


PAIRS = "images = 'images'\nlabels = 'labels'"


def write(folder, steps=2, more="", every=2, data=PAIRS, lr=1e-3):
    path = folder / "squares.toml"
    path.write_text(
        f"""
        [data]
        {data}
        [model]
        checkpoint = {str(MINI)!r}
        name = "squares"
        [training.prompts]
        point_rounds = 1
        objects_per_image = 2
        [training.optimiser]
        lr = {lr}
        warmup_steps = 0
        [training.loop]
        ema_decay = 0.0
        total_steps = {steps}
        eval_every = {every}
        patience = 0
        log_every = 1
        {more}
        """,
        encoding="utf-8",
    )
    return path


@pytest.fixture
def config(tmp_path):
    draw(tmp_path, 3)
    return write(tmp_path)


def logged_steps(folder):
    with (folder / "log.csv").open(newline="") as file:
        return [int(row[0]) for row in csv.reader(file) if row[0].isdigit()]


def test_example_is_a_configuration(run, tmp_path):
    from napari_sam.training.run_config import example_config

    outcome = run("train", "--example")
    assert outcome.code == 0
    assert outcome.out == example_config()


def test_from_pictures_to_a_model_in_the_list(run, config, tmp_path):
    outcome = run("train", config, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    assert "training: 8 objects; images: 2" in outcome.out
    assert "validation: 4 objects; images: 1" in outcome.out
    assert re.search(r"centre point +0\.\d{3} +0\.\d{3}", outcome.out)
    assert "Mean IoU of 4 validation objects" in outcome.out
    folder = tmp_path / "squares_run"
    assert max(logged_steps(folder)) == 2

    assert "squares" in run("models").out
    assert "trained here" in run("models", "info", "squares").out
    sam = napari_sam.load_model("squares", device="cpu")
    start = napari_sam.load_model(checkpoint=MINI, device="cpu")
    key = "mask_decoder.iou_token.weight"
    assert not (sam.state_dict()[key] == start.state_dict()[key]).all()

    card = json.loads((folder / "card.json").read_text("utf-8"))
    assert card["parent"] == {
        "name": "mini",
        "digest": start.digest,
        "licence": None,
        "citation": "",
    }
    assert card["scores"]["before"]["objects"] == 4
    assert card["data"]["objects"] == 8
    assert card["run"]["steps"] == 2
    assert card["run"]["ended"] == "steps"
    assert card["config"]["model"]["checkpoint"] == "mini.safetensors"
    assert len(card["data"]["digest"]) == 64
    text = (folder / "card.md").read_text("utf-8")
    assert card["data"]["digest"] in text
    assert start.digest in text
    assert "| centre point | 0." in text

    n_rows = logged_steps(folder).count(1)

    # A second start does not write over the first; more steps go on with it.
    outcome = run("train", config)
    assert (outcome.code, "holds a run already" in outcome.err) == (2, True)
    write(tmp_path, steps=3)
    outcome = run("train", config, "--resume", "--device=cpu")
    assert outcome.code == 0, outcome.err
    assert logged_steps(folder).count(1) == n_rows, "a step was done twice"
    assert max(logged_steps(folder)) == 3
    kept = {"squares", "squares_2"} & set(list_models())
    # Either step 3 was better and has a name of its own, or the first model stays.
    assert ("'squares_2' is one of yours" in outcome.out) == (len(kept) == 2)
    assert ("stays the best" in outcome.out) == (len(kept) == 1)
    # Nothing is left to do, whatever name the run has now.
    assert run("train", config, "--resume", "--device=cpu").code == 0
    other = run("train", config, "--out", tmp_path / "other")
    assert "There is a model 'squares' already" in other.err


def test_card_travels_in_the_weights(run, config, tmp_path):
    from napari_sam.training.card import card_of

    assert card_of(MINI) is None
    assert run("train", config, "--device=cpu", "--name=my-squares").code == 0
    copy = tmp_path / "sent.safetensors"
    path = run("models", "path", "my-squares").out.strip()
    copy.write_bytes(Path(path).read_bytes())
    card = card_of(copy)
    assert card["name"] == "my-squares"
    assert card["seed"] == 0
    assert napari_sam.load_model(checkpoint=copy, device="cpu").name == "sent"


def test_ctrl_c_keeps_the_run_and_says_how_to_go_on(run, config, tmp_path, monkeypatch):
    from napari_sam.training import fine_tuning

    write(tmp_path, steps=50)
    whole = fine_tuning.fine_tune
    before = signal.getsignal(signal.SIGINT)

    def interrupted(*words, progress, **more):
        def show(now):
            progress(now)
            if now.step >= 1 and not more["cancel"].is_set():
                signal.raise_signal(signal.SIGINT)

        return whole(*words, progress=show, **more)

    monkeypatch.setattr(fine_tuning, "fine_tune", interrupted)
    folder = tmp_path / "over there"
    options = ("--budget=9m", "--name=mine", "--device=cpu")
    outcome = run("train", config, "--out", folder, *options)
    assert outcome.code == 130
    assert "Stopping after this step" in outcome.err
    (again,) = re.findall("Go on with: (.*)", outcome.err)
    words = ["napari-sam", "train", str(config), "--resume", f"--out={folder}"]
    assert shlex.split(again) == [*words, *options]
    assert not {"squares", "mine"} & set(list_models())
    assert signal.getsignal(signal.SIGINT) is before
    assert (folder / "state.pt").exists()
    best = folder / "best.safetensors"
    assert str(best) in outcome.err
    assert napari_sam.load_model(checkpoint=best, device="cpu").image_size == 256


def test_what_a_stopped_part_found_is_kept_when_nothing_better_follows(
    run, config, tmp_path, monkeypatch
):
    from napari_sam.training import fine_tuning

    write(tmp_path, steps=50)
    whole = fine_tuning.fine_tune

    def interrupted(*words, progress, **more):
        def show(now):
            progress(now)
            if now.step == 2 and now.scores:
                more["cancel"].set()

        return whole(*words, progress=show, **more)

    with monkeypatch.context() as patched:
        patched.setattr(fine_tuning, "fine_tune", interrupted)
        assert run("train", config, "--device=cpu").code == 130
    assert "squares" not in list_models()
    write(tmp_path, steps=2)  # the end is reached: nothing is left to do
    outcome = run("train", config, "--resume", "--device=cpu")
    assert outcome.code == 0, outcome.err
    assert "The model 'squares' is one of yours now" in outcome.out
    card = json.loads((tmp_path / "squares_run" / "card.json").read_text("utf-8"))
    assert card["run"]["best_step"] == 2
    scores = card["scores"]
    assert scores["after"]["selection"] > scores["before"]["selection"]

    outcome = run("train", config, "--resume", "--device=cpu", "--name=again")
    assert outcome.code == 0, outcome.err
    assert "the model kept at step 2 stays the best" in outcome.out
    assert "again" not in list_models()


def test_weights_that_did_not_get_better_are_not_kept(run, config, tmp_path):
    write(tmp_path, lr=1e-9)
    outcome = run("train", config, "--device=cpu")
    assert outcome.code == 0, outcome.err
    assert "did not get better, so nothing was kept" in outcome.out
    assert "'mini' stays the model" in outcome.out
    assert "squares" not in list_models()
    assert not (tmp_path / "squares_run" / "card.json").exists()


def test_a_model_that_was_deleted_is_kept_again(run, config, tmp_path):
    assert run("train", config, "--device=cpu").code == 0
    trained.remove("squares")
    outcome = run("train", config, "--resume", "--device=cpu")
    assert outcome.code == 0, outcome.err
    assert "squares" in list_models()


def test_a_gain_within_chance_is_kept_and_told(run, config, monkeypatch):
    monkeypatch.setattr("napari_sam.training.fine_tuning.HARDLY", 2.0)
    outcome = run("train", config, "--device=cpu")
    assert "Hardly better." in outcome.out
    assert "squares" in list_models()


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_a_folder_in_which_another_trains_is_told_first(run, config, tmp_path, more):
    from napari_sam.training.run_folder import locked

    with locked(tmp_path / "squares_run"):
        outcome = run("train", config, *more)
    assert outcome.code == 2
    assert "is in use" in outcome.err


def test_the_folder_is_held_until_the_model_is_kept(run, config, tmp_path, monkeypatch):
    from napari_sam.errors import OutputError
    from napari_sam.training import card, run_folder

    whole = card.keep_model

    def keep(result, **more):
        with (
            pytest.raises(OutputError, match="in use"),
            run_folder.locked(result.weights.parent),
        ):
            pass
        return whole(result, **more)

    monkeypatch.setattr(card, "keep_model", keep)
    assert run("train", config, "--device=cpu").code == 0
    assert "squares" in list_models()
    with run_folder.locked(tmp_path / "squares_run"):
        pass


def test_ctrl_c_while_the_images_are_looked_at(run, config, monkeypatch):
    from napari_sam.training import samples

    def interrupted(*words, progress, **more):
        signal.raise_signal(signal.SIGINT)
        return whole(*words, progress=progress, **more)

    whole = samples.find_samples
    monkeypatch.setattr(samples, "find_samples", interrupted)
    outcome = run("train", config)
    assert outcome.code == 130
    assert "nothing was trained" in outcome.err


def test_one_image_is_trained_with_a_warning(run, tmp_path):
    draw(tmp_path, 1)
    outcome = run("train", write(tmp_path), "--device=cpu")
    assert outcome.code == 0, outcome.err
    assert "There is only one image" in outcome.err
    text = (tmp_path / "squares_run" / "card.md").read_text("utf-8")
    assert "There is only one image" in text


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--resume"], "no run to go on with"),
        (["--budget", "soon"], "'soon' is no time"),
        (["--budget", "0m"], "is no time"),
        (["--name", "vit_b"], "already"),
        (["--name", "a/b"], "cannot be the name"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_options_that_make_no_sense(run, config, words, text):
    outcome = run("train", config, *words)
    assert outcome.code == 2
    assert text in outcome.err


def test_configuration_that_makes_no_sense(run, config, tmp_path):
    assert "--example" in run("train").err
    outcome = run("train", tmp_path / "no.toml")
    assert outcome.code == 2
    assert "no.toml" in outcome.err
    write(tmp_path, data="images = 'images'\nlabel = 'labels'")
    outcome = run("train", config)
    assert outcome.code == 2
    assert "Unknown key 'label' in [data]" in outcome.err


def test_data_that_make_no_sense(run, config, tmp_path):
    def replaced(labels):
        Image.fromarray(labels).save(tmp_path / "labels" / "p1.png")
        outcome = run("train", config)
        assert outcome.code == 2
        return outcome.err

    assert "do not fit" in replaced(np.zeros((5, 5), np.uint16))
    assert "3 channels" in replaced(np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "labels" / "p1.png").write_bytes(b"no picture")
    assert "p1.png" in run("train", config).err
    for i in range(3):
        empty = Image.fromarray(np.zeros((48, 64), np.uint8))
        empty.save(tmp_path / "labels" / f"p{i}.png")
    assert "at least 25 pixels" in run("train", config).err
    for path in (tmp_path / "labels").iterdir():
        path.unlink()
    assert "No image in" in run("train", config).err
    assert not (tmp_path / "squares_run" / "state.pt").exists()


def test_a_place_that_cannot_be_written(run, config, tmp_path):
    (tmp_path / "file").write_text("in the way")
    outcome = run("train", config, "--out", tmp_path / "file" / "run")
    assert outcome.code == 2
    assert "Cannot write" in outcome.err


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_run_goes_on(config, tmp_path):
    """SIGKILL in the middle of the training; the second start ends it."""
    write(tmp_path, steps=20, more="save_seconds = 0", every=20)
    program = "from napari_sam._cli.main import main; main()"
    words = [sys.executable, "-c", program, "train", str(config), "--device", "cpu"]
    folder = tmp_path / "squares_run"
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ
    )
    end = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < end:
        if (folder / "log.csv").exists() and max(logged_steps(folder), default=0) >= 3:
            break
        time.sleep(0.02)
    assert process.poll() is None, process.stdout.read().decode()
    process.kill()
    process.wait(30)
    process.stdout.close()
    reached = max(logged_steps(folder))
    assert reached < 20
    assert "squares" not in list_models()
    done = subprocess.run(
        [*words, "--resume"], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert max(logged_steps(folder)) == 20
    card = json.loads((folder / "card.json").read_text("utf-8"))
    assert card["run"]["steps"] == 20
    assert napari_sam.load_model("squares", device="cpu").name == "squares"
