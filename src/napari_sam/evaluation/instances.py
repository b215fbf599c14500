# SPDX-License-Identifier: Apache-2.0
"""Scores of a label image that was made without prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.segmentation import find_boundaries

from napari_sam.evaluation.bootstrap import Part
from napari_sam.evaluation.matching import (
    MatchCounts,
    drop_small,
    ious_of_overlap,
    matched_ious,
    overlap_matrix,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_sam.evaluation.settings import EvaluationSettings

    Labels = NDArray[np.integer]

THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
"""IoU thresholds of the mean segmentation accuracy."""


@dataclass(frozen=True, slots=True, eq=False)
class InstanceScores:
    """Scores of one label image; each `Part` can be averaged over images.

    Attributes
    ----------
    counts : MatchCounts
        At the threshold asked for.
    ap, f1 : Part
        At that threshold.
    ap_curve, f1_curve : Part
        At `THRESHOLDS`, one column each; the mean over `ap_curve` is the segmentation
        accuracy.
    over, under : Part
        One value for each true object: 1 if it is over- or under-segmented.
    boundary : Part
        Boundary F of the image.
    """

    counts: MatchCounts
    ap: Part
    f1: Part
    ap_curve: Part
    f1_curve: Part
    over: Part
    under: Part
    boundary: Part


def score_instances(
    truth: Labels, prediction: Labels, settings: EvaluationSettings
) -> InstanceScores:
    """Compare two label images of one plane.

    Parameters
    ----------
    truth, prediction : (H, W) integer arrays
        0 is background.
    settings : EvaluationSettings
        Smallest objects, threshold and tolerance.
    """
    truth, prediction = (
        drop_small(labels, settings.min_area) for labels in (truth, prediction)
    )
    overlap = overlap_matrix(truth, prediction)
    ious = ious_of_overlap(overlap)
    ap, f1 = _parts(ious, (settings.iou_threshold,))
    ap_curve, f1_curve = _parts(ious, THRESHOLDS)
    over, under = over_and_under(overlap)
    found = len(matched_ious(ious, settings.iou_threshold))
    n, m = ious.shape
    boundary = boundary_f(truth, prediction, settings.boundary_tolerance_px)
    return InstanceScores(
        counts=MatchCounts(found, m - found, n - found),
        ap=ap,
        f1=f1,
        ap_curve=ap_curve,
        f1_curve=f1_curve,
        over=Part.of_values(over),
        under=Part.of_values(under),
        boundary=Part.of_values([boundary]),
    )


def over_and_under(
    overlap: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which true objects were cut into pieces, and which were lumped together.

    An object lies in another if more than half of its pixels do. A true object is
    over-segmented if at least two predicted objects lie in it, and under-segmented if
    it lies in a predicted object together with at least one other true object (Hoover
    et al. 1996, with a tolerance of one half).

    Parameters
    ----------
    overlap : (n + 1, m + 1) int array
        Of `overlap_matrix`.

    Returns
    -------
    over, under : (n,) bool arrays
    """
    shared = overlap[1:, 1:]  # (n, m)
    true_areas = overlap.sum(axis=1)[1:, None]
    areas = overlap.sum(axis=0)[None, 1:]
    over: NDArray[np.bool_] = (2 * shared > areas).sum(axis=1) >= 2
    lies_in = 2 * shared > true_areas
    is_lump = lies_in.sum(axis=0) >= 2  # (m,)
    under: NDArray[np.bool_] = (lies_in & is_lump).any(axis=1)
    return over, under


def boundary_f(truth: Labels, prediction: Labels, tolerance_px: float) -> float:
    """Return the boundary F measure of two label images.

    Precision is the part of predicted boundary pixels that have a true one within the
    tolerance, recall that of true ones near a predicted one; F is their harmonic mean
    (Csurka et al. 2013). Boundary pixels are those of an object that touch another
    object or background at a side; the border of the image is none.

    Parameters
    ----------
    truth, prediction : (H, W) integer arrays
        0 is background.
    tolerance_px : float
        Largest distance, Euclidean, between boundaries that agree.
    """
    lines = [
        find_boundaries(labels, connectivity=1, mode="inner")
        for labels in (truth, prediction)
    ]
    if not lines[0].any() and not lines[1].any():
        return 1.0
    if not lines[0].any() or not lines[1].any():
        return 0.0
    recall, precision = (
        float((ndimage.distance_transform_edt(~other)[line] <= tolerance_px).mean())
        for line, other in (lines, lines[::-1])
    )
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def _parts(
    ious: NDArray[np.float64], thresholds: tuple[float, ...]
) -> tuple[Part, Part]:
    """Return AP and F1 as sums over what was paired, missed and invented.

    A pair under a threshold counts as one missed and one invented object. Thresholds
    are all at least 0.5, or there is only one.
    """
    n, m = ious.shape
    pairs = matched_ious(ious, min(thresholds))
    alone = n + m - 2 * len(pairs)
    is_found = pairs[:, None] > np.array(thresholds)  # (k, T)
    hits = np.concatenate([is_found, np.zeros((alone, len(thresholds)))])
    # In AP a found pair is one thing and a failed one is two; in F1 both are two.
    things = np.ones_like(hits)
    things[: len(pairs)] = 2 - is_found
    twice = np.ones_like(hits)
    twice[: len(pairs)] = 2
    return Part(hits, things), Part(2 * hits, twice)
