# SPDX-License-Identifier: Apache-2.0
"""Average recall of mask proposals (Kirillov et al. 2023, section 7.3).

A grid of 64 x 64 points on the whole image, without crops and without filters by
predicted IoU or stability; duplicates are removed at a box IoU of 0.9. Of more than
1000 masks those with the highest mean of predicted IoU and stability are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.evaluation.instances import THRESHOLDS
from napari_sam.prediction.automatic_mask_generator import AutomaticMaskGenerator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_sam.evaluation.prompts import TrueObject
    from napari_sam.prediction.predictor import SamPredictor
    from napari_sam.structures.arrays import Plane
    from napari_sam.structures.candidates import MaskRecord

MAX_PROPOSALS = 1000
SMALL_PX, LARGE_PX = 32**2, 96**2
"""Bounds of COCO's area classes: small below, large from there on."""

_SETTINGS: dict[str, Any] = {
    "method": "grid",
    "points_per_side": 64,
    "point_grids": None,
    "pred_iou_thresh": 0.0,
    "stability_score_thresh": 0.0,
    "mask_threshold": 0.0,
    "box_nms_thresh": 0.9,
    "crop_n_layers": 0,
    "min_mask_region_area": 0,
}


def proposed_masks(predictor: SamPredictor, image: Plane) -> list[MaskRecord]:
    """Return at most 1000 masks of an image, the most promising first."""
    generator = AutomaticMaskGenerator(predictor, **_SETTINGS)
    records = [record for record in generator.generate(image) if record.area]
    return sorted(records, key=_promise, reverse=True)[:MAX_PROPOSALS]


def recalled(
    objects: Sequence[TrueObject], records: Sequence[MaskRecord]
) -> NDArray[np.bool_]:
    """Tell which objects were proposed, at each of `THRESHOLDS`.

    Proposals are assigned as in COCO: the better ones choose first, each the object of
    highest IoU that is still free.

    Parameters
    ----------
    objects : sequence of n TrueObject
        Objects of the image.
    records : sequence of MaskRecord
        Best first.

    Returns
    -------
    (n, T) bool array
    """
    ious = proposal_ious(objects, records)
    found = np.zeros((len(objects), len(THRESHOLDS)), dtype=np.bool_)
    for column, threshold in enumerate(THRESHOLDS):
        free = np.where(ious >= threshold, ious, 0.0)
        for row in free.T:
            best = int(np.argmax(row)) if row.size else 0
            if row.size and row[best] > 0:
                found[best, column] = True
                free[best] = 0.0
    return found


def proposal_ious(
    objects: Sequence[TrueObject], records: Sequence[MaskRecord]
) -> NDArray[np.float64]:
    """Return the IoU of every object with every proposal, (n, m).

    Proposals may overlap.
    """
    ious = np.zeros((len(objects), len(records)))
    boxes = np.array([found.box_yx for found in objects]).reshape(-1, 4)
    for j, record in enumerate(records):
        y0, x0, y1, x1 = record.bbox
        meets = (
            (boxes[:, 0] < y1)
            & (boxes[:, 2] > y0)
            & (boxes[:, 1] < x1)
            & (boxes[:, 3] > x0)
        )
        for i in np.flatnonzero(meets).tolist():
            found = objects[i]
            inside = record.rle.decode_window(found.box_yx)
            shared = int(np.count_nonzero(inside & found.crop))
            ious[i, j] = shared / (record.area + found.area - shared)
    return ious


def _promise(record: MaskRecord) -> float:
    stability = record.stability_score
    return record.predicted_iou + (0.0 if np.isnan(stability) else stability)
