# SPDX-License-Identifier: Apache-2.0
"""What a training is told, what it came to, and the folder that it can go on from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam.errors import CheckpointError
from napari_sam.weights.locations import user_data_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_sam._bridge.model_segmenter import ModelSpec
    from napari_sam.modeling.sam import Sam
    from napari_sam.training.card import Parent
    from napari_sam.training.fine_tuning import TrainingResult
    from napari_sam.training.run_config import RunConfig
    from napari_sam.training.sources import TrainingImage
    from napari_sam.training.splitting import Split
    from napari_sam.training.task import Metrics

logger = logging.getLogger(__name__)

PRESETS = {
    "decoder": "fine-tune-decoder",
    "lora": "fine-tune-lora",
    "whole": "fine-tune",
}
"""What is trained, and the recipe for it."""

# May differ between a run and what goes on with it.
_HOW_LONG = ("total_steps", "budget_seconds", "patience")


@dataclass(frozen=True, slots=True, eq=False)
class TrainingOrder:
    """What to train with, and how.

    Attributes
    ----------
    open_images : callable
        Returns the ``list[TrainingImage]``; called in the thread, for folders may be
        large.
    spec : ModelSpec
        What to start from.
    config : RunConfig
        Recipe, smallest object, name of the result.
    """

    open_images: Callable[[], list[TrainingImage]]
    spec: ModelSpec
    config: RunConfig


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Images looked at, model loaded: all that precedes the first step.

    Attributes
    ----------
    order : TrainingOrder
    split : Split
    model : Sam
    parent : Parent
    folder : Path
        Of the run; the same for the same data, model and recipe.
    steps, seconds, waited : int, float, int
        Of an earlier run in that folder; 0 without one.
    """

    order: TrainingOrder
    split: Split
    model: Sam
    parent: Parent
    folder: Path
    steps: int = 0
    seconds: float = 0.0
    waited: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a training came to.

    Attributes
    ----------
    name : str
        Of the model in the list; empty if nothing was better than the start.
    result : TrainingResult
    last_scores : dict
        Of the last evaluation, which need not be the best.
    spec : ModelSpec
        What it started from.
    folder : Path
        Of the kept model, or of the run.
    """

    name: str
    result: TrainingResult
    last_scores: Metrics
    spec: ModelSpec
    folder: Path


def folder_of_run(order: TrainingOrder, split: Split, model: Sam) -> Path:
    """Return a folder named after all that has to be the same to go on with a run."""
    recipe = order.config.recipe.as_dict()
    for name in _HOW_LONG:
        del recipe["loop"][name]
    parts = [
        model.digest,
        recipe,
        [split.train.names, split.train.digest],
        [split.validation.names, split.validation.digest],
    ]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return user_data_folder() / "runs" / f"{model.name}-{digest[:12]}"


def earlier_run(folder: Path) -> tuple[int, float, int]:
    """Return steps, seconds and evaluations without gain of an earlier run."""
    from napari_sam.training.checkpoints import load_state
    from napari_sam.training.loop import STATE_FILE

    path = folder / STATE_FILE
    if not path.exists():
        return 0, 0.0, 0
    try:
        state = load_state(path)
    except CheckpointError:
        logger.warning("%s is damaged; training begins anew.", path)
        return 0, 0.0, 0
    seconds, waited = float(state.get("seconds", 0)), int(state.get("waited", 0))
    return int(state.get("step", 0)), seconds, waited


def granted_again(config: RunConfig, prepared: Prepared) -> RunConfig:
    """Grant the full time again to a run that goes on."""
    loop = config.recipe.loop
    budget, patience = loop.budget_seconds, loop.patience
    loop = dataclasses.replace(
        loop,
        total_steps=loop.total_steps + prepared.steps,
        budget_seconds=None if budget is None else budget + prepared.seconds,
        patience=patience + prepared.waited if patience else 0,
    )
    recipe = dataclasses.replace(config.recipe, loop=loop)
    return dataclasses.replace(config, recipe=recipe)
