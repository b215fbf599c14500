# SPDX-License-Identifier: Apache-2.0
"""Overlap of masks, without ever building a full-size union."""

import numpy as np
from numpy.typing import NDArray


def iou_with_crop(
    masks: NDArray[np.bool_],
    truth_crop: NDArray[np.bool_],
    corner_yx: tuple[int, int],
) -> NDArray[np.float64]:
    """IoU of several full-size masks with one object known by its crop.

    Parameters
    ----------
    masks : (n, H, W) bool array
        Predictions for the object.
    truth_crop : (h, w) bool array
        The object inside its bounding box; it has no pixels elsewhere.
    corner_yx : pair of int
        Row and column of the crop's first pixel in the plane.

    Returns
    -------
    (n,) float array
        One IoU per mask.
    """
    y0, x0 = corner_yx
    h, w = truth_crop.shape
    inside = masks[:, y0 : y0 + h, x0 : x0 + w]  # (n, h, w)
    intersection = np.count_nonzero(inside & truth_crop, axis=(1, 2))
    predicted = np.count_nonzero(masks, axis=(1, 2))
    union = predicted + np.count_nonzero(truth_crop) - intersection
    ious = np.ones(len(masks))
    np.divide(intersection, union, out=ious, where=union > 0)
    return ious
