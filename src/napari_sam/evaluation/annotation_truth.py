# SPDX-License-Identifier: Apache-2.0
"""The objects that an image should end up with, and how far its labels are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from napari_sam.evaluation.matching import drop_small, iou_matrix
from napari_sam.evaluation.prompts import true_objects
from napari_sam.structures.mask_window import MaskWindow


@dataclass(frozen=True, eq=False)
class Match:
    """Which object of some labels is which true one.

    Attributes
    ----------
    ids : (n,) int array
        The object made for each true one; 0 is none.
    ious : (n,) float array
        Their overlap; 0 without an object.
    all_ids : tuple of int
        Every object that counts.
    surplus : tuple of int
        Objects that are no true object.
    """

    ids: NDArray[np.int64]
    ious: NDArray[np.float64]
    all_ids: tuple[int, ...]
    surplus: tuple[int, ...]


class Truth:
    """The true objects of one image.

    Parameters
    ----------
    labels : (H, W) integer array
        0 is background.
    min_area : int
        Smaller objects need not be annotated; who annotates them does no harm.

    Attributes
    ----------
    targets : tuple of MaskWindow
        Objects that count, the largest first.
    """

    def __init__(self, labels: NDArray[np.integer], min_area: int = 0) -> None:
        self._labels = drop_small(labels, 1)  # 1..N in label order
        self._min_area = min_area
        masks = [
            MaskWindow(*found.corner_yx, found.crop)
            for found in true_objects(self._labels)
        ]
        areas = np.array([mask.area for mask in masks], dtype=np.int64)
        order = np.argsort(-areas, kind="stable")
        self._rows = order[areas[order] >= min_area]
        self.targets = tuple(masks[row] for row in self._rows)

    def match(self, labels: NDArray[np.integer], usable_iou: float) -> Match:
        """Pair objects with true ones so that the sum of their IoUs is largest.

        Parameters
        ----------
        labels : (H, W) integer array
            What was made. Objects below the smallest area do not count.
        usable_iou : float
            Pairs below this are none.

        Returns
        -------
        Match
            In the order of `targets`.
        """
        found, areas = np.unique(labels, return_counts=True)
        all_ids = found[(found != 0) & (areas >= self._min_area)].astype(np.int64)
        ious = iou_matrix(self._labels, drop_small(labels, self._min_area))
        counted = ious[self._rows]
        rows, columns = linear_sum_assignment(counted, maximize=True)
        is_pair = (counted[rows, columns] >= usable_iou) & (counted[rows, columns] > 0)
        rows, columns = rows[is_pair], columns[is_pair]
        ids = np.zeros(len(self.targets), dtype=np.int64)
        best = np.zeros(len(self.targets))
        ids[rows] = all_ids[columns]
        best[rows] = counted[rows, columns]
        is_small = np.ones(len(ious), dtype=np.bool_)
        is_small[self._rows] = False
        is_surplus = np.ones(len(all_ids), dtype=np.bool_)
        is_surplus[columns] = False
        is_surplus &= ~(ious[is_small] >= usable_iou).any(axis=0)
        return Match(
            ids, best, tuple(all_ids.tolist()), tuple(all_ids[is_surplus].tolist())
        )
