# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning that is stopped goes on, and knows what was kept of it."""

import dataclasses
import json
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from napari_sam.errors import SettingsError
from napari_sam.training.fine_tuning import TrainingResult, fine_tune
from napari_sam.training.loop import STATE_FILE
from napari_sam.training.presets import recipe_from
from napari_sam.training.recipe import Recipe
from napari_sam.weights import trained

FAST = {
    "trained": {"lora_rank": 4},
    "prompts": {"objects_per_image": 2, "point_rounds": 1},
    "loop": {"total_steps": 3, "eval_every": 2, "log_every": 1},
    "frames": {"variants": 2},
}


def recipe(preset: str = "fine-tune", **loop) -> Recipe:
    return recipe_from({**FAST, "loop": {**FAST["loop"], **loop}}, preset)


def copied(state) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in state.items()}


@pytest.mark.parametrize("preset", ["fine-tune", "fine-tune-decoder", "fine-tune-lora"])
def test_resumed_equals_uninterrupted_bit_for_bit(
    tiny, scene, tmp_path, preset
) -> None:
    start = copied(tiny.state_dict())
    chosen = recipe(preset)
    chosen = dataclasses.replace(
        chosen,
        optimiser=dataclasses.replace(
            chosen.optimiser, drop_path=0.3, decoder_dropout=0.1
        ),
    )
    whole = fine_tune(tiny, [scene], [scene], chosen, tmp_path / "whole")

    tiny.load_state_dict(start)
    cancel = threading.Event()

    def stop(report) -> None:
        if report.step == 2:
            cancel.set()

    first = fine_tune(
        tiny, [scene], [scene], chosen, tmp_path / "cut", progress=stop, cancel=cancel
    )
    assert (first.ended, first.steps) == ("cancelled", 2)
    tiny.load_state_dict(start)
    torch.manual_seed(99)
    second = fine_tune(tiny, [scene], [scene], chosen, tmp_path / "cut")
    assert (second.ended, second.steps) == ("steps", 3)
    ours, theirs = load_file(second.weights), load_file(whole.weights)
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]), key
    assert second.log.read_bytes() == whole.log.read_bytes()
    assert second.scores_before == whole.scores_before


class Asked(threading.Event):
    """Counts how often it is asked, and is set from some question on."""

    def __init__(self, sets_at: int = 10**9) -> None:
        super().__init__()
        self.questions, self.sets_at = 0, sets_at

    def is_set(self) -> bool:
        self.questions += 1
        return self.questions >= self.sets_at


def test_a_stop_holds_within_an_evaluation(tiny, scene, tmp_path) -> None:
    scenes = [dataclasses.replace(scene, name=str(i)) for i in range(4)]
    result = fine_tune(tiny, [scene], scenes, recipe(), tmp_path, cancel=Asked(3))
    assert (result.ended, result.steps, result.scores_before) == ("cancelled", 0, {})
    assert not result.is_better
    assert not result.weights.exists()
    assert not tiny.training
    assert (tmp_path / STATE_FILE).exists()
    asked = Asked()
    result = fine_tune(tiny, [scene], scenes, recipe(), tmp_path, cancel=asked)
    assert (result.ended, result.steps) == ("steps", 3)
    # before each of 3 steps and the end, and each of 4 views in 3 evaluations
    assert asked.questions == 3 + 1 + 3 * 4


def test_weights_are_worth_keeping_unless_they_are_kept() -> None:
    def is_better(best_step: int, kept_step: int) -> bool:
        path = Path("x")
        return TrainingResult(
            path, path, {}, {}, best_step, 90, 1.0, "steps", kept_step
        ).is_better

    assert is_better(best_step=5, kept_step=0)
    assert not is_better(best_step=0, kept_step=0)
    assert not is_better(best_step=40, kept_step=40)
    assert is_better(best_step=41, kept_step=40)


def test_a_run_that_goes_on_knows_what_was_kept_of_it(tiny, scene, tmp_path) -> None:
    start = copied(tiny.state_dict())
    first = fine_tune(tiny, [scene], [], recipe(), tmp_path)
    assert (first.kept_step, first.best_step, first.is_better) == (0, 3, True)
    tiny.load_state_dict(start)
    # Nobody kept it, for instance because the program was killed: it still counts.
    second = fine_tune(tiny, [scene], [], recipe(), tmp_path)
    assert (second.kept_step, second.best_step, second.is_better) == (0, 3, True)
    row = trained.add(lambda path: path.write_bytes(b"x"), {}, "", name="kept")
    card = {"run": {"best_step": 3}, "weights": {"sha256": row.hash[7:]}}
    (tmp_path / "card.json").write_text(json.dumps(card))
    tiny.load_state_dict(start)
    third = fine_tune(tiny, [scene], [], recipe(), tmp_path)
    assert (third.kept_step, third.is_better) == (3, False)
    tiny.load_state_dict(start)
    fourth = fine_tune(tiny, [scene], [], recipe(total_steps=5), tmp_path)
    assert (fourth.best_step, fourth.is_better) == (5, True)
    # Begun anew in the same folder: what the earlier run kept is not of this one.
    (tmp_path / STATE_FILE).unlink()
    tiny.load_state_dict(start)
    fifth = fine_tune(tiny, [scene], [], recipe(total_steps=2), tmp_path)
    assert (fifth.kept_step, fifth.is_better) == (0, True)
    tiny.load_state_dict(start)
    sixth = fine_tune(tiny, [scene], [], recipe(), tmp_path)
    assert (sixth.kept_step, sixth.is_better) == (0, True)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"selection": 0.7}, {"selection": 0.7001}, True),
        ({"selection": 0.7}, {"selection": 0.72}, False),
        ({}, {}, False),
    ],
)
def test_a_gain_within_chance_is_told_apart(before, after, expected) -> None:
    path = Path("x")
    result = TrainingResult(path, path, before, after, 5, 9, 1.0, "steps")
    assert result.is_hardly_better is expected


def test_another_recipe_start_or_data_does_not_go_on(tiny, scene, tmp_path) -> None:
    start = copied(tiny.state_dict())
    fine_tune(tiny, [scene], [], recipe(), tmp_path)
    with pytest.raises(SettingsError, match="another start weights"):
        fine_tune(tiny, [scene], [], recipe(), tmp_path)
    tiny.load_state_dict(start)
    with pytest.raises(SettingsError, match="another recipe"):
        fine_tune(tiny, [scene], [], recipe(seed=1), tmp_path)
    renamed = dataclasses.replace(scene, name="other")
    with pytest.raises(SettingsError, match="another training images"):
        fine_tune(tiny, [renamed], [], recipe(), tmp_path)
    longer = fine_tune(tiny, [scene], [], recipe(total_steps=4), tmp_path)
    assert longer.steps == 4
    assert (tmp_path / STATE_FILE).exists()
