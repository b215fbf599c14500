# SPDX-License-Identifier: Apache-2.0
"""What was measured on one image, and the names of all scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.evaluation.average_recall import LARGE_PX, SMALL_PX
from napari_sam.evaluation.bootstrap import Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_sam.evaluation.instances import InstanceScores
    from napari_sam.evaluation.prompts import TrueObject
    from napari_sam.structures.arrays import HalfOpenBox

PROMPT_LABELS = {
    "point_iou": "centre point, highest predicted IoU of three",
    "point_oracle_iou": "centre point, best of the three (oracle)",
    "random_point_iou": "random point, highest predicted IoU of three",
    "random_point_oracle_iou": "random point, best of the three (oracle)",
    "box_iou": "tight box, output 0",
    "jittered_box_iou": "jittered box, output 0",
    "refined_box_iou": "tight box, asked again with its logits",
}
"""Scores of single prompts, means of IoUs over objects."""

CORRECTION_LABELS = {
    "after_point": "after the centre point",
    "after_point_without_logits": "after the centre point, logits not fed back",
    "after_random_point": "after a random point",
    "after_random_point_without_logits": "after a random point, logits not fed back",
    "after_box": "after the tight box",
    "after_box_without_logits": "after the tight box, logits not fed back",
}
"""Series of corrections, IoUs over objects and clicks."""

METHOD_LABELS = {
    "ap": "AP at IoU {threshold:g}",
    "segmentation_accuracy": "mean segmentation accuracy",
    "f1": "F1 at IoU {threshold:g}",
    "over_segmentation": "over-segmented objects",
    "under_segmentation": "under-segmented objects",
    "boundary_f": "boundary F within {tolerance:g} px",
}
"""Scores of an automatic method."""

LOW_IS_GOOD = ("over_segmentation", "under_segmentation")
OF_OBJECTS = LOW_IS_GOOD
"""Scores of an automatic method that are means over objects; others are over images."""

PROPOSAL_LABELS = {
    "proposals_ar": "AR@1000 of proposals",
    "proposals_ar_small": "AR@1000, objects under 32 x 32 px",
    "proposals_ar_medium": "AR@1000, objects between",
    "proposals_ar_large": "AR@1000, objects from 96 x 96 px",
}


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What is kept of a true object: its number, pixels and tight box."""

    label: int
    area: int
    box_yx: HalfOpenBox

    @classmethod
    def of(cls, found: TrueObject) -> ObjectFacts:
        """Take them from an object."""
        return cls(found.label, found.area, found.box_yx)


@dataclass(frozen=True, slots=True, eq=False)
class ImageScores:
    """Scores of one image; what was not asked for is missing.

    Attributes
    ----------
    name : str
    shape : (H, W)
    objects : tuple of n ObjectFacts
        Those that count.
    groups : mapping
        Value by column of the index.
    ious : mapping of (n,) or (n, k + 1) float arrays
        By the names of `PROMPT_LABELS` and `CORRECTION_LABELS`; empty without objects.
    instances : mapping of InstanceScores
        By automatic method.
    recall : (n, T) bool array or None
        Which objects were proposed, at T thresholds.
    seconds : float
        Time that all of it took.
    """

    name: str
    shape: tuple[int, int]
    objects: tuple[ObjectFacts, ...]
    groups: Mapping[str, str] = field(default_factory=dict)
    ious: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    instances: Mapping[str, InstanceScores] = field(default_factory=dict)
    recall: NDArray[np.bool_] | None = None
    seconds: float = 0.0

    def method_parts(self, method: str) -> dict[str, Part]:
        """Return the parts of an automatic method by the names of `METHOD_LABELS`."""
        found = self.instances[method]
        return {
            "ap": found.ap,
            "segmentation_accuracy": found.ap_curve,
            "f1": found.f1,
            "over_segmentation": found.over,
            "under_segmentation": found.under,
            "boundary_f": found.boundary,
        }

    def proposal_parts(self) -> dict[str, Part]:
        """Return the recall of all objects and by their area; empty if not measured."""
        if self.recall is None:
            return {}
        areas = np.array([found.area for found in self.objects])
        classes = (
            np.ones(len(areas), dtype=np.bool_),
            areas < SMALL_PX,
            (areas >= SMALL_PX) & (areas < LARGE_PX),
            areas >= LARGE_PX,
        )
        return {
            name: Part.of_values(self.recall[chosen])
            for name, chosen in zip(PROPOSAL_LABELS, classes, strict=True)
        }
