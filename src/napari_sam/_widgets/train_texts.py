# SPDX-License-Identifier: Apache-2.0
"""What the panel "Train on my masks" says in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam.errors import Cancelled, NapariSamError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam._bridge.training_order import Outcome, Prepared
    from napari_sam.training.task import TrainingProgress

SCORES = {"point": "one click", "box": "a box", "corrected": "a click and a correction"}
FEW_OBJECTS = 20
_ENDS = {
    "steps": "all steps were done",
    "budget": "the time was up",
    "early": "more training no longer helped",
    "cancelled": "you stopped it",
}


def data_text(prepared: Prepared) -> str:
    """Say how much there is to learn from and to check by, and what is amiss."""
    split = prepared.split
    train, check = split.train, split.validation
    text = (
        f"Learns from {_count(train.n_objects, 'object')} in "
        f"{_count(train.n_images, 'image')}; "
    )
    if split.is_independent:
        text += (
            f"{_count(check.n_objects, 'object')} in {_count(check.n_images, 'image')} "
            "that it does not learn from check it."
        )
    else:
        text += f"{_count(check.n_objects, 'object')} in the other half check it."
    return "\n".join([text, *split.warnings])


def earlier_text(prepared: Prepared) -> str:
    """Ask what to do with an earlier run."""
    return (
        "The same masks, model and settings were trained before: "
        f"{_count(prepared.steps, 'step')} in {duration(prepared.seconds)}. Go on from "
        "there, or start anew?"
    )


def progress_text(now: TrainingProgress) -> str:
    """Say how far training is, and how long it may last."""
    text = f"Step {now.step}, {duration(now.seconds)}"
    if now.fraction >= 1:
        return f"{text}; finishing ..."
    if now.step and now.fraction > 0.01:
        left = now.seconds * (1 - now.fraction) / now.fraction
        return f"{text}; at most {duration(left)} left"
    return f"{text} ..."


def outcome_text(outcome: Outcome) -> str:
    """Say in words what came out."""
    result = outcome.result
    before = result.scores_before
    run = (
        f"{_count(result.steps, 'step')} in {duration(result.seconds)}; "
        f"{_ENDS[result.ended]}."
    )
    if outcome.name:
        text = "Hardly better. " if result.is_hardly_better else ""
        text += (
            f"{_changes(before, result.scores)}\nKept as {outcome.name!r}, from step "
            f"{result.best_step}: {run}"
        )
    elif result.kept_step:
        text = (
            "It did not get better than the model that an earlier part of this run "
            f"kept, from step {result.kept_step}: that one stays.\n{run}"
        )
    else:
        last = outcome.last_scores
        is_checked = result.steps > 0 and last != before
        found = f" {_changes(before, last)}" if is_checked else ""
        text = (
            f"It did not get better, so nothing was kept, and {outcome.spec.name!r} "
            f"stays the model.{found}\n{run}"
        )
        if result.ended != "cancelled":
            text += " More masks, of several images, help more than more time."
    n_objects = int(before.get("objects", 0))
    if 0 < n_objects < FEW_OBJECTS:
        text += (
            f"\nOnly {_count(n_objects, 'object')} checked it: small differences are "
            "chance."
        )
    return text


def error_text(error: Exception) -> str:
    """Say why there is no result."""
    if isinstance(error, Cancelled):
        return "Stopped before the first step; nothing was trained."
    text = str(error) or type(error).__name__
    if isinstance(error, NapariSamError):
        return f"Not trained. {text}"
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return (
            "Not trained: there is not enough memory. Let only the mask decoder learn, "
            "start from a smaller model, or choose the device cpu."
        )
    return f"Not trained: {text}"


def duration(seconds: float) -> str:
    """Write a time as people say it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes >= 10 else f"{minutes:.1f} min"


def _changes(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """Say how mean IoUs changed, on how many objects."""
    parts = []
    for key, name in SCORES.items():
        if key not in before or key not in after:
            continue
        first, last = round(before[key], 2), round(after[key], 2)
        verb = "rose" if last > first else "fell" if last < first else "stayed"
        change = (
            f"from {first:.2f} to {last:.2f}" if last != first else f"at {last:.2f}"
        )
        parts.append(f"with {name} it {verb} {change}")
    n_objects = int(after.get("objects", before.get("objects", 0)))
    return (
        f"Mean IoU of {_count(n_objects, 'object')} that it did not learn from: "
        f"{', '.join(parts)}."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
