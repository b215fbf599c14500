# SPDX-License-Identifier: Apache-2.0
"""Scores of a set of images, or of a group of them, with intervals, as plain values.

The dictionaries are parts of the report of `napari-sam evaluate --json`, which
``docs/reference/evaluation.md`` describes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.evaluation.bootstrap import Bootstrap, Part, Score
from napari_sam.evaluation.instances import THRESHOLDS
from napari_sam.evaluation.scores import (
    CORRECTION_LABELS,
    LOW_IS_GOOD,
    METHOD_LABELS,
    OF_OBJECTS,
    PROMPT_LABELS,
    PROPOSAL_LABELS,
    ImageScores,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_sam.evaluation.settings import EvaluationSettings

    Ious = NDArray[np.float64]

CLICK_GOALS = (0.80, 0.85, 0.90)
_NOISE = 1e-9  # two ways of adding up the same numbers
_DIGITS = 5


def summarize(
    images: Sequence[ImageScores], settings: EvaluationSettings
) -> dict[str, Any]:
    """Return counts, scores, series of corrections and curves of some images."""
    draw = Bootstrap(
        settings.resamples, settings.level, settings.seed, settings.resampled
    )
    return {
        "images": len(images),
        "objects": sum(len(image.objects) for image in images),
        "scores": _prompt_scores(images, draw)
        | _method_scores(images, settings, draw)
        | _proposal_scores(images, draw),
        "corrections": _corrections(images, draw),
        "automatic": _curves(images, settings, draw),
    }


def image_values(image: ImageScores) -> dict[str, float | None]:
    """Return each score of one image alone, by name; None without objects."""
    found: dict[str, float | None] = {}
    for name in PROMPT_LABELS:
        if name in image.ious:
            found[name] = rounded(float(image.ious[name].mean()))
    for name in CORRECTION_LABELS:
        if name in image.ious:
            found[name] = rounded(float(image.ious[name][:, -1].mean()))
    for method in image.instances:
        for name, part in image.method_parts(method).items():
            has_value = len(part.top) > 0 or name not in OF_OBJECTS
            found[f"{method}_{name}"] = rounded(part.value) if has_value else None
    for name, part in image.proposal_parts().items():
        found[name] = rounded(part.value) if len(part.top) else None
    return found


def rounded(value: float) -> float | None:
    """Return five decimals, None for what is no number."""
    return None if math.isnan(value) else round(value, _DIGITS)


def _prompt_scores(images: Sequence[ImageScores], draw: Bootstrap) -> dict[str, Any]:
    found = {}
    for name, label in PROMPT_LABELS.items():
        parts = [Part.of_values(i.ious[name]) for i in images if name in i.ious]
        if parts:
            found[name] = plain_score(draw.of_objects(parts), label)
    return found


def _method_scores(
    images: Sequence[ImageScores], settings: EvaluationSettings, draw: Bootstrap
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for method in settings.methods:
        measured = [i.method_parts(method) for i in images if method in i.instances]
        for name, text in METHOD_LABELS.items():
            parts = [parts[name] for parts in measured]
            if not parts:
                continue
            label = text.format(
                threshold=settings.iou_threshold,
                tolerance=settings.boundary_tolerance_px,
            )
            is_of_objects = name in OF_OBJECTS
            score = draw.of_objects(parts) if is_of_objects else draw.of_images(parts)
            is_good = name not in LOW_IS_GOOD
            found[f"{method}_{name}"] = plain_score(
                score, f"automatic ({method}), {label}", is_higher_better=is_good
            )
    return found


def _proposal_scores(images: Sequence[ImageScores], draw: Bootstrap) -> dict[str, Any]:
    measured = [i.proposal_parts() for i in images if i.recall is not None]
    if not measured:
        return {}
    return {
        name: plain_score(draw.of_objects([parts[name] for parts in measured]), label)
        for name, label in PROPOSAL_LABELS.items()
    }


def _corrections(images: Sequence[ImageScores], draw: Bootstrap) -> dict[str, Any]:
    found = {}
    for name, label in CORRECTION_LABELS.items():
        series = [image.ious[name] for image in images if name in image.ious]
        if series:
            found[name] = _series(series, name, label, draw)
    return found


def _series(
    series: Sequence[Ious], name: str, label: str, draw: Bootstrap
) -> dict[str, Any]:
    """Describe (n, k + 1) IoUs of each image after 0 to k corrections."""
    means = [
        _mean(draw, [ious[:, j] for ious in series]) for j in range(_width(series))
    ]
    steps: list[Ious] = [ious[:, 1:] - ious[:, :-1] for ious in series]
    gains = [_mean(draw, [step[:, j] for step in steps]) for j in range(_width(steps))]
    fell = [
        _mean(draw, [step[:, j] < -_NOISE for step in steps])
        for j in range(_width(steps))
    ]
    falls_at = [j + 1 for j, gain in enumerate(gains) if gain.value < -_NOISE]
    first_click = int("point" in name)
    return {
        "label": label,
        "first_click": first_click,
        "mean_iou": [
            plain_score(score, f"mean IoU after {j} corrections")
            for j, score in enumerate(means)
        ],
        "gain": [
            plain_score(score, f"change of IoU by correction {j}")
            for j, score in enumerate(gains, 1)
        ],
        "fell_share": [
            plain_score(
                score, f"objects that lost by correction {j}", is_higher_better=False
            )
            for j, score in enumerate(fell, 1)
        ],
        "never_falls": not falls_at,
        "falls_at": falls_at,
        "clicks": {
            f"{goal:.2f}": _clicks(series, goal, first_click, draw)
            for goal in CLICK_GOALS
        },
    }


def _clicks(
    series: Sequence[Ious], goal: float, first_click: int, draw: Bootstrap
) -> dict[str, Any]:
    """Count the clicks until an IoU is reached; the cap where it never is."""
    cap = _width(series) - 1 + first_click
    clicks, never = [], []
    for ious in series:
        is_reached = ious >= goal
        is_never = ~is_reached.any(axis=1)
        first = is_reached.argmax(axis=1) + first_click
        clicks.append(np.where(is_never, cap, first))
        never.append(is_never)
    return {
        "mean": plain_score(
            _mean(draw, clicks), f"clicks to IoU {goal:.2f}", is_higher_better=False
        ),
        "never_share": plain_score(
            _mean(draw, never), f"never at IoU {goal:.2f}", is_higher_better=False
        ),
        "cap": cap,
    }


def _curves(
    images: Sequence[ImageScores], settings: EvaluationSettings, draw: Bootstrap
) -> dict[str, Any]:
    """Describe AP and F1 over thresholds of every method."""
    found: dict[str, Any] = {}
    for method in settings.methods:
        measured = [i.instances[method] for i in images if method in i.instances]
        if not measured:
            continue
        curves: dict[str, list[Any]] = {"ap": [], "f1": []}
        for column, threshold in enumerate(THRESHOLDS):
            for name, curve in curves.items():
                parts = [getattr(one, f"{name}_curve") for one in measured]
                score = draw.of_images([part.at(column) for part in parts])
                curve.append(plain_score(score, f"{name.upper()} at IoU {threshold:g}"))
        found[method] = {"thresholds": list(THRESHOLDS), **curves}
    return found


def _mean(draw: Bootstrap, values: Sequence[ArrayLike]) -> Score:
    return draw.of_objects([Part.of_values(one) for one in values])


def _width(series: Sequence[NDArray[Any]]) -> int:
    return int(series[0].shape[1])


def plain_score(
    score: Score, label: str, *, is_higher_better: bool = True
) -> dict[str, Any]:
    """Return a score as values that JSON knows."""
    return {
        "label": label,
        "value": rounded(score.value),
        "low": rounded(score.low),
        "high": rounded(score.high),
        "n": score.n,
        "of": score.of,
        "resampled": score.resampled,
        "is_higher_better": is_higher_better,
    }
