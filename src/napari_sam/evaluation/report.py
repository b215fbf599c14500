# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found, for the whole set, by group, by image and by object."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.evaluation.comparison import FORMAT, VERSION, compare
from napari_sam.evaluation.groups import UNKNOWN
from napari_sam.evaluation.report_text import format_report
from napari_sam.evaluation.scores import CORRECTION_LABELS, PROMPT_LABELS, ImageScores
from napari_sam.evaluation.summary import image_values, summarize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari_sam.evaluation.settings import EvaluationSettings
    from napari_sam.modeling.sam import Sam

Row = dict[str, int | float | str | None]


@dataclass(frozen=True, eq=False)
class Report:
    """Scores of a set of images under one protocol.

    Attributes
    ----------
    images : tuple of ImageScores
        Finished ones.
    settings : EvaluationSettings
        What was measured.
    model : dict
        Its name, digest and device.
    is_complete : bool
        Whether all images were measured.
    earlier : mapping or None
        A report of another model on the same images, to compare with.
    """

    images: tuple[ImageScores, ...]
    settings: EvaluationSettings
    model: dict[str, str]
    is_complete: bool = True
    earlier: Mapping[str, Any] | None = None

    @classmethod
    def of_model(
        cls,
        model: Sam,
        images: tuple[ImageScores, ...],
        settings: EvaluationSettings,
        *,
        is_complete: bool = True,
        earlier: Mapping[str, Any] | None = None,
    ) -> Report:
        """Put together what was measured with a model."""
        facts = {
            "name": model.name,
            "digest": model.digest,
            "device": str(model.device),
        }
        return cls(images, settings, facts, is_complete, earlier)

    @cached_property
    def whole(self) -> dict[str, Any]:
        """Summary of all images."""
        return summarize(self.images, self.settings)

    @cached_property
    def groups(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Summaries by column of the index and value."""
        columns = dict.fromkeys(c for image in self.images for c in image.groups)
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for column in columns:
            members: dict[str, list[ImageScores]] = {}
            for image in self.images:
                members.setdefault(image.groups.get(column, UNKNOWN), []).append(image)
            found[column] = {
                value: summarize(members[value], self.settings)
                for value in sorted(members, key=_in_order)
            }
        return found

    def value(self, name: str) -> float | None:
        """Return one score of the whole set; None if it was not measured."""
        score = self.whole["scores"].get(name)
        return None if score is None else score["value"]

    @cached_property
    def comparison(self) -> dict[str, Any] | None:
        """Gains over the earlier report; None without one."""
        if self.earlier is None:
            return None
        return compare(self.earlier, self._without_comparison, self.settings)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values; see ``docs/reference/evaluation.md``."""
        gains = {} if self.comparison is None else {"comparison": self.comparison}
        return self._without_comparison | gains

    @cached_property
    def _without_comparison(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "is_complete": self.is_complete,
            "model": self.model,
            "settings": self.settings.to_dict(),
            "seconds": round(sum(image.seconds for image in self.images), 2),
            "whole": self.whole,
            "groups": self.groups,
            "images": [_image(image) for image in self.images],
        }

    def image_rows(self) -> list[Row]:
        """Return one row of numbers per image; IoUs are means over its objects."""
        return [_image_row(image) for image in self.images]

    def object_rows(self) -> Iterator[Row]:
        """Yield one row per object, image by image."""
        for image in self.images:
            for i, facts in enumerate(image.objects):
                row: Row = {
                    "image": image.name,
                    **image.groups,
                    "label": facts.label,
                    "area_px": facts.area,
                }
                row |= zip(("y0", "x0", "y1", "x1"), facts.box_yx, strict=True)
                for name in PROMPT_LABELS:
                    if name in image.ious:
                        row[name] = round(float(image.ious[name][i]), 5)
                for name in CORRECTION_LABELS:
                    series = image.ious.get(name)
                    for j, iou in enumerate(() if series is None else series[i]):
                        row[f"{name}_{j}"] = round(float(iou), 5)
                yield row

    def format(self) -> str:
        """Return a readable summary of several lines."""
        return format_report(self.whole, self.groups, self.comparison, self.settings)


def _image(image: ImageScores) -> dict[str, Any]:
    objects: dict[str, list[Any]] = {
        "label": [facts.label for facts in image.objects],
        "area_px": [facts.area for facts in image.objects],
        "centre_y": [
            (facts.box_yx[0] + facts.box_yx[2] - 1) / 2 for facts in image.objects
        ],
        "centre_x": [
            (facts.box_yx[1] + facts.box_yx[3] - 1) / 2 for facts in image.objects
        ],
    }
    objects |= {name: np.round(v, 5).tolist() for name, v in image.ious.items()}
    return {
        "name": image.name,
        "groups": dict(image.groups),
        "shape": list(image.shape),
        "seconds": round(image.seconds, 3),
        "scores": image_values(image),
        "counts": {method: _counts(image, method) for method in image.instances},
        "objects": objects,
    }


def _image_row(image: ImageScores) -> Row:
    row: Row = {"name": image.name, **image.groups, "objects": len(image.objects)}
    row |= image_values(image)
    for method in image.instances:
        row |= {f"{method}_{k}": v for k, v in _counts(image, method).items()}
    row["seconds"] = round(image.seconds, 3)
    return row


def _counts(image: ImageScores, method: str) -> dict[str, int]:
    counts = image.instances[method].counts
    return {
        "true_positives": counts.true_positives,
        "false_positives": counts.false_positives,
        "false_negatives": counts.false_negatives,
    }


def _in_order(value: str) -> tuple[float, str]:
    """Sort key: numbers and ranges by their first number, then words."""
    try:
        return float(value.partition(" to ")[0]), ""
    except ValueError:
        return float("inf"), value
