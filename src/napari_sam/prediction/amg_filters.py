# SPDX-License-Identifier: Apache-2.0
"""Which masks of the automatic mode stay: greedy suppression, crop edges.

Boxes here are (n, 4) ``y0, x0, y1, x1`` of *inclusive* pixel indices, because the
reference computes areas and distances on those.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_sam.structures.arrays import FloatArray, HalfOpenBox
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.geometry import intersect_boxes

# Masks ending this close to the edge of a crop were probably cut by it.
CROP_EDGE_PX = 20.0


def inclusive_boxes(records: Sequence[MaskRecord]) -> FloatArray:
    """Return the boxes of records as inclusive indices, (n, 4) float32."""
    boxes = np.array([record.bbox for record in records], dtype=np.float32)
    boxes = boxes.reshape(-1, 4)
    boxes[:, 2:] = np.maximum(boxes[:, 2:] - 1, boxes[:, :2])
    return boxes


def suppress(
    boxes: FloatArray, scores: npt.ArrayLike, iou_threshold: float
) -> npt.NDArray[np.int64]:
    """Keep the best of boxes that overlap too much (greedy non-maximum suppression).

    Parameters
    ----------
    boxes : (n, 4) float32 array
        Inclusive ``y0, x0, y1, x1``; the area is side times side without the last row
        and column. Boxes without area have no IoU with each other and all stay.
    scores : (n,) array-like
        Higher is better; among equals the earlier one.
    iou_threshold : float
        Boxes go if their IoU with a kept one is greater.

    Returns
    -------
    (k,) int64 array
        Indices of kept boxes, best first.
    """
    order = np.argsort(-np.asarray(scores, dtype=np.float32), kind="stable")
    y0, x0, y1, x1 = boxes[order].T
    areas = (y1 - y0) * (x1 - x0)
    is_left = np.ones(len(order), dtype=np.bool_)
    kept = []
    for i in range(len(order)):
        if not is_left[i]:
            continue
        kept.append(i)
        rest = i + 1 + np.flatnonzero(is_left[i + 1 :])
        height = np.minimum(y1[i], y1[rest]) - np.maximum(y0[i], y0[rest])
        width = np.minimum(x1[i], x1[rest]) - np.maximum(x0[i], x0[rest])
        shared = np.maximum(height, 0) * np.maximum(width, 0)
        with np.errstate(invalid="ignore"):
            iou = shared / (areas[i] + areas[rest] - shared)
        is_left[rest[iou.astype(np.float64) > iou_threshold]] = False
    return order[kept]


def suppress_masks(
    records: Sequence[MaskRecord], scores: npt.ArrayLike, iou_threshold: float
) -> npt.NDArray[np.int64]:
    """Keep the best of masks that overlap too much, as `suppress` does with boxes.

    Parameters
    ----------
    records : sequence of MaskRecord
        Of one picture.
    scores : (n,) array-like
        Higher is better; among equals the earlier one.
    iou_threshold : float
        Masks go if their IoU with a kept one is greater.

    Returns
    -------
    (k,) int64 array
        Indices of kept masks, best first.
    """
    order = np.argsort(-np.asarray(scores, dtype=np.float32), kind="stable")
    boxes = np.array([record.bbox for record in records], np.int64).reshape(-1, 4)
    kept: list[int] = []
    for i in order.tolist():
        others = np.array(kept, dtype=np.int64)
        meets = (boxes[others, :2] < boxes[i, 2:]) & (boxes[i, :2] < boxes[others, 2:])
        near = others[meets.all(axis=1)].tolist()
        if all(mask_iou(records[i], records[j]) <= iou_threshold for j in near):
            kept.append(i)
    return np.array(kept, dtype=np.int64)


def is_cut_by_crop(
    bbox: HalfOpenBox, crop_box: HalfOpenBox, shape: tuple[int, int]
) -> bool:
    """Tell whether a mask ends at the edge of its crop but not of the image.

    Parameters
    ----------
    bbox : (y0, x0, y1, x1)
        Half-open box of the mask in the image.
    crop_box : (y0, x0, y1, x1)
        Half-open box of the crop in the image.
    shape : (H, W)
        Size of the image.

    Returns
    -------
    bool
    """
    y0, x0, y1, x1 = bbox
    inclusive = np.array([y0, x0, max(y1 - 1, y0), max(x1 - 1, x0)])
    near_crop = np.abs(inclusive - np.array(crop_box)) <= CROP_EDGE_PX
    near_image = np.abs(inclusive - np.array([0, 0, *shape])) <= CROP_EDGE_PX
    return bool((near_crop & ~near_image).any())


def mask_iou(first: MaskRecord, second: MaskRecord) -> float:
    """Return the intersection over union of two masks of one plane; 0 if empty."""
    box = intersect_boxes(first.bbox, second.bbox)
    if box is None:
        return 0.0
    shared = first.rle.decode_window(box) & second.rle.decode_window(box)
    n_shared = int(np.count_nonzero(shared))
    return n_shared / max(first.area + second.area - n_shared, 1)
