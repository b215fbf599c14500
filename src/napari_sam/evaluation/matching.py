# SPDX-License-Identifier: Apache-2.0
"""Which predicted object is which true one, and the score that follows.

``AP@t = TP / (TP + FP + FN)`` for one image, as in the 2018 Data Science Bowl and
Schmidt et al. 2018 (StarDist): a true positive is a pair of one predicted and one
true object whose IoU is greater than ``t``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True, slots=True)
class MatchCounts:
    """Objects found, invented and missed in one image at one IoU threshold."""

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def average_precision(self) -> float:
        """``TP / (TP + FP + FN)``; 1.0 where nothing was there and nothing found."""
        total = self.true_positives + self.false_positives + self.false_negatives
        return self.true_positives / total if total else 1.0

    @property
    def f1(self) -> float:
        """``2 TP / (2 TP + FP + FN)``; 1.0 where nothing was there or found."""
        hits = 2 * self.true_positives
        total = hits + self.false_positives + self.false_negatives
        return hits / total if total else 1.0


def drop_small(labels: NDArray[np.integer], min_area: int) -> NDArray[np.int64]:
    """Labels renumbered 1..N in their order, objects under ``min_area`` px gone.

    Parameters
    ----------
    labels : (H, W) integer array
        0 is background.
    min_area : int
        Smallest number of pixels that stays.
    """
    ids, inverse, areas = np.unique(labels, return_inverse=True, return_counts=True)
    kept = (ids != 0) & (areas >= min_area)
    renumbered = np.where(kept, np.cumsum(kept), 0)
    return renumbered[inverse].reshape(labels.shape)


def overlap_matrix(
    truth: NDArray[np.integer], prediction: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Pixels that every true and every predicted object share, background included.

    Parameters
    ----------
    truth, prediction : (H, W) integer arrays
        Objects numbered 1..n and 1..m without gaps (see ``drop_small``).

    Returns
    -------
    (n + 1, m + 1) int array
        Row and column 0 are background.
    """
    if truth.shape != prediction.shape:
        msg = (
            f"Labels of shapes {truth.shape} and {prediction.shape} cannot be matched. "
            "Both must belong to the same plane."
        )
        raise ValueError(msg)
    n, m = int(truth.max(initial=0)), int(prediction.max(initial=0))
    pairs = truth.astype(np.int64).ravel() * (m + 1) + prediction.ravel()
    return np.bincount(pairs, minlength=(n + 1) * (m + 1)).reshape(n + 1, m + 1)


def iou_matrix(
    truth: NDArray[np.integer], prediction: NDArray[np.integer]
) -> NDArray[np.float64]:
    """IoU of every true with every predicted object.

    Parameters
    ----------
    truth, prediction : (H, W) integer arrays
        Objects numbered 1..n and 1..m without gaps (see ``drop_small``).

    Returns
    -------
    (n, m) float array
    """
    return ious_of_overlap(overlap_matrix(truth, prediction))


def ious_of_overlap(overlap: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU of every true with every predicted object, from `overlap_matrix`."""
    area_truth = overlap.sum(axis=1)[1:, None]  # (n, 1)
    area_prediction = overlap.sum(axis=0)[None, 1:]  # (1, m)
    intersection = overlap[1:, 1:]
    union = area_truth + area_prediction - intersection
    ious: NDArray[np.float64] = intersection / np.maximum(union, 1)
    return ious


def match_objects(
    truth: NDArray[np.integer],
    prediction: NDArray[np.integer],
    *,
    iou_threshold: float = 0.5,
    min_area: int = 0,
) -> MatchCounts:
    """Count true positives, false positives and false negatives of one image.

    The pairing is that of `matched_ious`.

    Parameters
    ----------
    truth, prediction : (H, W) integer arrays
        Label images, 0 is background.
    iou_threshold : float
        A pair counts where its IoU is greater than this.
    min_area : int
        Objects with fewer pixels are dropped from both images first.
    """
    ious = iou_matrix(drop_small(truth, min_area), drop_small(prediction, min_area))
    n, m = ious.shape
    hits = len(matched_ious(ious, iou_threshold))
    return MatchCounts(hits, m - hits, n - hits)


def matched_ious(
    ious: NDArray[np.float64], iou_threshold: float
) -> NDArray[np.float64]:
    """IoUs of the true positives: of the pairing with most pairs above a threshold.

    From 0.5 upwards it is unique: two objects of one label image cannot both cover more
    than half of a third. Below, the pairing with the largest sum of IoUs is taken among
    those with most pairs.

    Parameters
    ----------
    ious : (n, m) float array
        Of true with predicted objects of label images.
    iou_threshold : float
        A pair counts where its IoU is greater than this.

    Returns
    -------
    (k,) float array
    """
    good = ious > iou_threshold
    if iou_threshold >= 0.5:
        hits: NDArray[np.float64] = ious[good]
        return hits
    # One more pair is worth more than any gain in IoU.
    worth = np.where(good, min(ious.shape) + 1.0 + ious, 0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    found: NDArray[np.float64] = ious[rows, columns]
    are_good: NDArray[np.bool_] = good[rows, columns]
    return found[are_good]
