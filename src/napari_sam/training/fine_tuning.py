# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning of any promptable model: whole, decoder only, or low-rank additions."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from napari_sam.errors import Cancelled, SettingsError
from napari_sam.prediction.embedding_checks import check_model
from napari_sam.training.card import forget_kept, step_kept
from napari_sam.training.feature_cache import weights_digest
from napari_sam.training.loop import BEST_FILE, STATE_FILE, End, TrainingLoop
from napari_sam.training.lora import add_lora, merge_lora
from napari_sam.training.prompt_task import PromptTask
from napari_sam.training.run_log import LOG_FILE
from napari_sam.training.task import SELECTION
from napari_sam.weights.infer import build_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from threading import Event

    from torch import nn

    from napari_sam.modeling.sam import Sam
    from napari_sam.training.dataset import LabelledImage
    from napari_sam.training.recipe import Recipe, Trained
    from napari_sam.training.task import Metrics, TrainingProgress

# What may change when a run goes on; all else has to be as it was.
_FREE_TO_CHANGE = (
    "total_steps",
    "budget_seconds",
    "patience",
    "save_seconds",
    "save_every",
    "log_every",
    "recompute",
    "tensorboard",
)

HARDLY = 0.01  # gain in mean IoU: less may be chance


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What came out of a run.

    Attributes
    ----------
    weights : Path
        The best weights, loadable by `napari_sam.weights.load`.
    log : Path
        Rows of step, part, name, value.
    scores_before, scores : dict
        Mean IoUs on the validation images before the first step and of the best
        weights, and the number of ``objects``; empty without validation images.
    best_step, steps : int
        Step of the best weights, and steps in all.
    seconds : float
        Wall time, over all parts of a resumed run.
    ended : str
        ``"steps"``, ``"budget"``, ``"early"`` or ``"cancelled"``.
    kept_step : int
        Step of the weights of this run that `card.keep_model` kept last; 0 before.
    """

    weights: Path
    log: Path
    scores_before: Metrics
    scores: Metrics
    best_step: int
    steps: int
    seconds: float
    ended: End
    kept_step: int = 0

    @property
    def is_better(self) -> bool:
        """Whether the best weights are worth keeping, and are not kept yet.

        They may be of an earlier part of the run, which was stopped or killed.
        """
        return self.best_step > self.kept_step

    @property
    def is_hardly_better(self) -> bool:
        """Whether the best weights gained so little that it may be chance."""
        if not self.scores_before:
            return False
        before, after = (
            s.get(SELECTION, 0.0) for s in (self.scores_before, self.scores)
        )
        return after - before < HARDLY


def fine_tune(
    model: Sam,
    train_images: Sequence[LabelledImage],
    validation_images: Sequence[LabelledImage],
    recipe: Recipe,
    folder: Path,
    *,
    progress: Callable[[TrainingProgress], None] | None = None,
    cancel: Event | None = None,
    metadata: Mapping[str, str] | None = None,
) -> TrainingResult:
    """Train a model on labelled images; a run that was stopped goes on.

    Parameters
    ----------
    model : Sam
        A loaded model, on the device of choice. Afterwards it holds the best weights,
        in evaluation mode and without gradients.
    train_images, validation_images : sequences of LabelledImage
        Read one at a time. Without images to validate by, the last weights are taken
        for the best. No image may be in both.
    recipe : Recipe
        All numbers; see `napari_sam.training.presets`.
    folder : Path
        Gets weights, log and state. If it holds the state of the same run, that goes
        on; `model` then has to have the weights from which the run began. Hold it
        (`run_folder.locked`) until what comes out is kept, wherever another process
        could train there.
    progress : callable, optional
        Called with a `TrainingProgress` a few times a second, and after each
        evaluation with scores and examples, in this thread.
    cancel : threading.Event, optional
        When set, the run ends after the step, or within an evaluation, which then is
        dropped; best weights and state are kept. It is asked before each step and
        before each view of an evaluation, and may take its time to answer.
    metadata : mapping of str, optional
        Written into the weights file beside our own entries.

    Returns
    -------
    TrainingResult

    Raises
    ------
    LabelsError, ImageError
        If an image or its labels cannot be learnt from.
    SettingsError
        If the recipe has nothing to train in this model, or the folder holds another
        run.
    LossError
        If the loss becomes infinite or NaN.
    OutputError
        If a file cannot be written, such as on a full disk.
    """
    check_model(model)
    identity = {
        "recipe": _fixed_part(recipe),
        "start weights": weights_digest(model),
        "training images": _content(train_images),
        "validation images": _content(validation_images),
    }
    notes = {
        **(metadata or {}),
        "architecture": _architecture(model),
        "parent": model.name,
        "parent_digest": model.digest,
        "recipe": json.dumps(recipe.as_dict()),
    }
    task: PromptTask | None = None
    loop: TrainingLoop | None = None
    end: End | None = None
    try:
        choose_parts(model, recipe.trained, recipe.loop.seed)
        task = PromptTask(
            model,
            train_images,
            validation_images,
            recipe,
            folder,
            check=partial(_check, cancel),
        )
        if not (folder / STATE_FILE).exists():
            forget_kept(folder)
        loop = TrainingLoop(
            task,
            folder,
            recipe.loop,
            recipe.optimiser,
            identity=identity,
            metadata=notes,
            progress=_with_examples(progress, task),
            cancel=cancel,
        )
        kept_step = step_kept(folder)
        end = loop.run()
    finally:
        if task is not None:
            task.close(is_finished=end not in (None, "cancelled"))
        best = folder / BEST_FILE
        _put_back(model, best if loop is not None and best.exists() else None)
    return TrainingResult(
        weights=best,
        log=folder / LOG_FILE,
        scores_before=loop.scores_before,
        scores=loop.best_scores,
        best_step=loop.best_step,
        steps=loop.step,
        seconds=loop.seconds,
        ended=end,
        kept_step=kept_step,
    )


def choose_parts(model: Sam, trained: Trained, seed: int = 0) -> None:
    """Have the parts of a model learn that a recipe names, and no others.

    Parameters
    ----------
    model : Sam
        Gets low-rank additions where they are wanted.
    trained : Trained
        What learns.
    seed : int
        Of the additions' start values.

    Raises
    ------
    SettingsError
        If low-rank additions are wanted where no layer can have one.
    """
    encoder: list[nn.Module] = [model.image_encoder]
    others = [part for part in model.children() if part is not model.image_encoder]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, way, parts in (
            ("encoder", trained.encoder, encoder),
            ("decoder", trained.decoder, others),
        ):
            for part in parts:
                part.requires_grad_(requires_grad=way == "whole")
            if way == "lora":
                _add_lora(name, parts, trained)


def _check(cancel: Event | None) -> None:
    if cancel is not None and cancel.is_set():
        msg = "The training was stopped in an evaluation."
        raise Cancelled(msg)


def _add_lora(name: str, parts: list[nn.Module], trained: Trained) -> None:
    rank, scale = trained.lora_rank, trained.lora_scale
    if not sum(add_lora(part, rank, scale) for part in parts):
        msg = (
            f"The {name} of this model has no layer that low-rank additions of rank "
            f"{rank} would make smaller. Lower trained.lora_rank, or train it whole."
        )
        raise SettingsError(msg)


def _put_back(model: Sam, best: Path | None) -> None:
    """Leave a plain model that no longer learns, with the best weights if any."""
    merge_lora(model)
    if best is not None:
        model.load_state_dict(load_file(best))
        with best.open("rb") as file:
            model.digest = hashlib.file_digest(file, "sha256").hexdigest()
    model.eval().requires_grad_(requires_grad=False)


def _architecture(model: Sam) -> str:
    """Name the architecture as the loader of the result will tell it.

    Raises
    ------
    CheckpointError
        If the loader does not know it.
    """
    weights = model.state_dict()
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    return build_for(shapes, model.name).name


def _fixed_part(recipe: Recipe) -> str:
    """Return the part of a recipe that a resumed run has to share, as text."""
    sections = recipe.as_dict()
    for key in _FREE_TO_CHANGE:
        del sections["loop"][key]
    return json.dumps(sections)


def _content(images: Sequence[LabelledImage]) -> str:
    """Tell a sequence of images by names and, where it knows its own, a digest."""
    known = getattr(images, "names", None)
    names = [image.name for image in images] if known is None else list(known)
    digest = getattr(images, "digest", "")
    return hashlib.sha256(json.dumps([names, digest]).encode()).hexdigest()


def _with_examples(
    progress: Callable[[TrainingProgress], None] | None, task: PromptTask
) -> Callable[[TrainingProgress], None] | None:
    if progress is None:
        return None

    def report(state: TrainingProgress) -> None:
        has_scores = state.scores is not None
        progress(replace(state, examples=task.examples) if has_scores else state)

    return report
