# SPDX-License-Identifier: Apache-2.0
"""Recipes: the paper's numbers, refusal of nonsense, the way through a file."""

import dataclasses
import json

import pytest

from napari_sam.errors import SettingsError
from napari_sam.training.presets import PRESETS, get_preset, recipe_from
from napari_sam.training.recipe import Frames, Loop, Optimiser, PromptRounds, Recipe


def test_the_papers_numbers_for_vit_h() -> None:
    paper = get_preset("paper-vit-h")
    assert (paper.loss.focal, paper.loss.dice, paper.loss.iou) == (20, 1, 1)
    rounds = paper.prompts
    assert 1 + rounds.point_rounds + rounds.idle_inside + rounds.idle_last == 11
    assert (rounds.box_share, rounds.box_noise, rounds.box_noise_limit_px) == (
        *(0.5, 0.1),
        20,
    )
    assert paper.optimiser == Optimiser(
        lr=8e-4,
        beta_1=0.9,
        beta_2=0.999,
        layer_decay=0.8,
        weight_decay=0.1,
        warmup_steps=250,
        milestones=(60_000, 86_666),
        milestone_factor=0.1,
        drop_path=0.4,
        decoder_dropout=0.1,
    )
    assert (paper.loop.total_steps, paper.loop.images_per_step) == (90_000, 256)


@pytest.mark.parametrize("name", PRESETS)
def test_every_recipe_survives_a_file(name: str) -> None:
    recipe = get_preset(name)
    assert recipe_from(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_settings_change_only_what_they_name() -> None:
    settings = {"preset": "paper-vit-b", "loop": {"seed": 7}, "loss": {"balanced": 1}}
    recipe = recipe_from(settings)
    paper = get_preset("paper-vit-b")
    assert recipe.loop == dataclasses.replace(paper.loop, seed=7)
    assert recipe.loss.balanced == 1.0
    assert recipe.prompts == paper.prompts


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"preset": "mine"}, "Choose one of: paper-vit-h"),
        ({"lop": {}}, "Unknown section: 'lop'. Known are: frames, loop"),
        ({"loop": {"sed": 1}}, "Unknown field of 'loop': 'sed'"),
        ({"loop": 3}, "holds fields"),
        ({"loop": {"seed": 1.5}}, "seed is a whole number, not 1.5"),
        ({"loop": {"precision": "float64"}}, "one of 'float32', 'bfloat16', 'float16'"),
        ({"frames": {"flips": 1}}, "flips is one of True, False"),
        ({"optimiser": {"lr": float("nan")}}, "lr is from"),
        ({"optimiser": {"lr": True}}, "lr is a number"),
        ({"optimiser": {"milestones": [5, 5]}}, "rising step numbers"),
        ({"frames": {"scale_jitter": [2, 1]}}, "the smaller first"),
        ({"frames": {"scale_jitter": 2}}, "two numbers"),
    ],
)
def test_what_is_not_allowed_is_said(settings: dict, text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        recipe_from(settings)


def test_sections_are_checked_however_they_are_made() -> None:
    with pytest.raises(SettingsError, match="box_share is from 0 to 1"):
        PromptRounds(box_share=2)
    assert Frames(scale_jitter=[1, 2]).scale_jitter == (1.0, 2.0)
    assert Loop(budget_seconds=60).budget_seconds == 60.0
    assert Recipe().loop.budget_seconds is None
