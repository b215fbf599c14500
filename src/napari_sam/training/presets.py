# SPDX-License-Identifier: Apache-2.0
"""Recipes under a name, and recipes from configuration files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from napari_sam.errors import SettingsError
from napari_sam.training.recipe import (
    Frames,
    Loop,
    LossWeights,
    Optimiser,
    PromptRounds,
    Recipe,
    Trained,
)

DEFAULT_PRESET = "fine-tune"

# Kirillov et al. 2023, appendix A. The program saw each image on a GPU of its own.
PAPER_VIT_H = Recipe(
    optimiser=Optimiser(
        lr=8e-4, layer_decay=0.8, drop_path=0.4, milestones=(60_000, 86_666)
    ),
    loop=Loop(total_steps=90_000, images_per_step=256),
)
# The milestones of the smaller models are not stated: these are the same shares.
PAPER_VIT_L = Recipe(
    optimiser=Optimiser(
        lr=4e-4, layer_decay=0.8, drop_path=0.4, milestones=(120_000, 173_332)
    ),
    loop=Loop(total_steps=180_000, images_per_step=128),
)
PAPER_VIT_B = Recipe(
    optimiser=Optimiser(
        lr=8e-4, layer_decay=0.6, drop_path=0.6, milestones=(120_000, 173_332)
    ),
    loop=Loop(total_steps=180_000, images_per_step=128),
)

# What micro-sam 1.8 does by default, as far as these settings go: its rate falls when
# the score stalls, here it stays; its second decoder is not trained.
MICRO_SAM = Recipe(
    prompts=PromptRounds(
        point_rounds=7,
        idle_inside=0,
        idle_last=0,
        box_noise=0.0,
        box_outward=0.025,
        point_pairs=True,
        logits_share=0.5,
        objects_per_image=25,
    ),
    loss=LossWeights(focal=0.0, dice=1.0, iou=1.0),
    optimiser=Optimiser(lr=1e-5, weight_decay=0.01, warmup_steps=0, decoder_dropout=0),
    loop=Loop(
        total_steps=10_000, images_per_step=1, eval_every=100, patience=10, log_every=10
    ),
)

# Ours, for a few annotated images and minutes; docs/explanation/training.md has the
# reasons.
FINE_TUNE = Recipe(
    prompts=PromptRounds(
        point_rounds=2,
        idle_inside=0,
        idle_last=0,
        tight_box_share=0.4,
        centre_share=0.5,
        objects_per_image=8,
    ),
    loss=LossWeights(balanced=0.3, iou_all=True),
    optimiser=Optimiser(
        lr=1e-4,
        layer_decay=0.9,
        weight_decay=0.05,
        warmup_steps=20,
        final_decay=0.5,
        clip_norm=1.0,
        decoder_dropout=0.0,
    ),
    frames=Frames(
        scale_jitter=(0.75, 1.5),
        usual_share=0.3,
        enlarged_share=0.5,
        flips=True,
        looks=0.5,
    ),
    loop=Loop(
        total_steps=2000,
        images_per_step=1,
        eval_every=100,
        patience=8,
        ema_decay=0.98,
    ),
)
FINE_TUNE_DECODER = dataclasses.replace(FINE_TUNE, trained=Trained(encoder="frozen"))
FINE_TUNE_LORA = dataclasses.replace(
    FINE_TUNE,
    trained=Trained(encoder="lora"),
    optimiser=dataclasses.replace(FINE_TUNE.optimiser, layer_decay=1.0),
)

PRESETS: Mapping[str, Recipe] = MappingProxyType(
    {
        "paper-vit-h": PAPER_VIT_H,
        "paper-vit-l": PAPER_VIT_L,
        "paper-vit-b": PAPER_VIT_B,
        "micro-sam": MICRO_SAM,
        "fine-tune": FINE_TUNE,
        "fine-tune-decoder": FINE_TUNE_DECODER,
        "fine-tune-lora": FINE_TUNE_LORA,
    }
)


def get_preset(name: str) -> Recipe:
    """Return the recipe of this name.

    Raises
    ------
    SettingsError
        If there is none.
    """
    if name not in PRESETS:
        msg = f"Unknown recipe {name!r}. Choose one of: {', '.join(PRESETS)}."
        raise SettingsError(msg)
    return PRESETS[name]


def recipe_from(
    settings: Mapping[str, Any], base: Recipe | str = DEFAULT_PRESET
) -> Recipe:
    """Change a recipe by nested settings, as TOML or JSON files give them.

    Parameters
    ----------
    settings : mapping
        Sections of :class:`Recipe` with fields to change, such as
        ``{"loop": {"seed": 3}}``; ``"preset"`` names another base.
    base : Recipe or str
        What to change.

    Raises
    ------
    SettingsError
        If a section, a field or the preset is unknown or a value is not allowed.
    """
    sections = dict(settings)
    chosen = sections.pop("preset", base)
    recipe = chosen if isinstance(chosen, Recipe) else get_preset(str(chosen))
    known = {each.name for each in dataclasses.fields(Recipe)}
    changed = {}
    for name, fields in sections.items():
        _check_known(name, known, "section")
        if not isinstance(fields, Mapping):
            msg = f"The section {name!r} holds fields with values, not {fields!r}."
            raise SettingsError(msg)
        section = getattr(recipe, name)
        allowed = {each.name for each in dataclasses.fields(section)}
        for key in fields:
            _check_known(key, allowed, f"field of {name!r}")
        changed[name] = dataclasses.replace(section, **fields)
    return dataclasses.replace(recipe, **changed)


def _check_known(name: str, known: set[str], what: str) -> None:
    if name not in known:
        msg = f"Unknown {what}: {name!r}. Known are: {', '.join(sorted(known))}."
        raise SettingsError(msg)
