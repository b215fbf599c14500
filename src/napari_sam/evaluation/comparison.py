# SPDX-License-Identifier: Apache-2.0
"""How much better a model is than another on the same objects.

The scores of the same object, or of the same image, are subtracted, and the differences
are resampled: that is a far sharper question than whether two intervals overlap.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import SettingsError
from napari_sam.evaluation.bootstrap import Bootstrap, Part, Score
from napari_sam.evaluation.scores import CORRECTION_LABELS, LOW_IS_GOOD, PROMPT_LABELS
from napari_sam.evaluation.summary import plain_score

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_sam.evaluation.settings import EvaluationSettings

    Image = Mapping[str, Any]
    Pairs = list[tuple[Image, Image]]

FORMAT = "napari-sam evaluation"
VERSION = 1

_DECISIVE = (
    "min_area_px",
    "iou_threshold",
    "seed",
    "corrections",
    "jitter",
    "boundary_tolerance_px",
)
"""Settings that change scores of the same name."""

_NOTHING_SHARED = "The two reports have no image in common. Compare the same images."


def read_report(path: Path) -> dict[str, Any]:
    """Read a report that `napari-sam evaluate --json` wrote.

    Raises
    ------
    SettingsError
        If the file is none.
    """
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"Cannot read {path} as a report: {error}."
        raise SettingsError(msg) from error
    is_report = isinstance(found, dict) and found.get("format") == FORMAT
    if not is_report or found.get("version") != VERSION:
        msg = f"{path} is no report of version {VERSION} that `evaluate --json` wrote."
        raise SettingsError(msg)
    return dict(found)


def check_comparable(
    before: Mapping[str, Any], settings: EvaluationSettings, files: Iterable[str]
) -> None:
    """Refuse before the work what `compare` would refuse after it.

    Parameters
    ----------
    before : mapping
        The earlier report.
    settings : EvaluationSettings
        How the other model is about to be measured.
    files : iterable of str
        Names of the images that are about to be read; the planes of a stack are called
        ``name[z=0]`` in reports.

    Raises
    ------
    SettingsError
        If the two have no image in common, or are measured differently.
    """
    _check_alike(before, settings.to_dict())
    measured = {image["name"] for image in before["images"]}
    measured |= {name.rpartition("[")[0] for name in measured}
    if measured.isdisjoint(files):
        raise SettingsError(_NOTHING_SHARED)


def has_shared_images(before: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Tell whether an earlier report has one of these images, or planes of stacks."""
    return not {image["name"] for image in before["images"]}.isdisjoint(names)


def compare(
    before: Mapping[str, Any], after: Mapping[str, Any], settings: EvaluationSettings
) -> dict[str, Any]:
    """Return the gain in every score that two reports share.

    Parameters
    ----------
    before, after : mapping
        Reports of the same images; those that only one of them has are left out, and
        so are objects.
    settings : EvaluationSettings
        How to resample.

    Returns
    -------
    dict
        ``model`` of the earlier report, number of ``images`` of both, and ``scores``:
        mean differences by name with intervals. Of corrections it is the last click.

    Raises
    ------
    SettingsError
        If the reports have no image in common, or were measured differently.
    """
    _check_alike(before, after["settings"])
    earlier = {image["name"]: image for image in before["images"]}
    pairs: Pairs = [
        (earlier[image["name"]], image)
        for image in after["images"]
        if image["name"] in earlier
    ]
    if not pairs:
        raise SettingsError(_NOTHING_SHARED)
    draw = Bootstrap(
        settings.resamples, settings.level, settings.seed, settings.resampled
    )
    scores = {}
    for name, label in _labels(after["whole"]).items():
        score = _gain(name, pairs, draw)
        if score is not None:
            is_higher_better = not name.endswith(LOW_IS_GOOD)
            scores[name] = plain_score(score, label, is_higher_better=is_higher_better)
    return {"model": before["model"], "images": len(pairs), "scores": scores}


def _labels(whole: Mapping[str, Any]) -> dict[str, str]:
    """Return what scores are called, by name."""
    found = {name: score["label"] for name, score in whole["scores"].items()}
    for name, series in whole["corrections"].items():
        found[name] = f"{series['label']}, {len(series['gain'])} corrections"
    return found


def _check_alike(before: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse to compare what was measured in another way."""
    for name in _DECISIVE:
        values = before["settings"].get(name), settings.get(name)
        if values[0] != values[1]:
            msg = (
                f"The two evaluations differ in {name}: {values[0]} and {values[1]}. "
                "Measure both models in the same way."
            )
            raise SettingsError(msg)


def _gain(name: str, pairs: Pairs, draw: Bootstrap) -> Score | None:
    """Return the mean difference of one score, None if the two do not share it."""
    if name in PROMPT_LABELS or name in CORRECTION_LABELS:
        parts = [Part.of_values(gains) for gains in _object_gains(name, pairs)]
        return draw.of_objects(parts) if parts else None
    parts = []
    for before, after in pairs:
        values = before["scores"].get(name), after["scores"].get(name)
        if None not in values:
            parts.append(Part.of_values([values[1] - values[0]]))
    return draw.of_images(parts) if parts else None


def _object_gains(name: str, pairs: Pairs) -> Iterator[NDArray[np.float64]]:
    """Yield the differences of the objects of each image that both have."""
    for before, after in pairs:
        earlier = _last_ious(before["objects"], name)
        later = _last_ious(after["objects"], name)
        shared = [label for label in later if label in earlier]
        if shared:
            yield np.array([later[label] - earlier[label] for label in shared])


def _last_ious(objects: Mapping[str, list[Any]], name: str) -> dict[int, float]:
    """Return one IoU for each object; of a series the last one."""
    return {
        label: value[-1] if isinstance(value, list) else value
        for label, value in zip(objects["label"], objects.get(name, ()), strict=False)
    }
