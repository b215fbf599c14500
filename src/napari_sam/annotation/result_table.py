# SPDX-License-Identifier: Apache-2.0
"""The table of the objects that an automatic run found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_sam.structures.arrays import LabelImage
    from napari_sam.structures.candidates import MaskRecord


def object_table(
    labels: LabelImage, records: Sequence[MaskRecord]
) -> dict[str, npt.NDArray[Any]]:
    """Measure the objects of a label image.

    Parameters
    ----------
    labels : (H, W) integer array
        Ids 1..n in the order of `records`; 0 is background.
    records : sequence of MaskRecord
        One record per id.

    Returns
    -------
    dict of str to (n,) array
        ``index`` (the id), ``area`` in pixels, ``predicted_iou``, ``stability_score``,
        and the half-open pixel box ``box_y0``, ``box_x0``, ``box_y1``, ``box_x1``. Area
        and box are those of the pixels in `labels`, which can be fewer than the
        record's where objects overlapped.
    """
    n_objects = len(records)
    area = np.bincount(labels.ravel(), minlength=n_objects + 1)[1:]
    boxes = label_boxes(labels, n_objects)
    return {
        "index": np.arange(1, n_objects + 1),
        "area": area.astype(np.int64),
        "predicted_iou": np.array([r.predicted_iou for r in records], dtype=float),
        "stability_score": np.array([r.stability_score for r in records], dtype=float),
        "box_y0": boxes[:, 0],
        "box_x0": boxes[:, 1],
        "box_y1": boxes[:, 2],
        "box_x1": boxes[:, 3],
    }


def label_boxes(labels: LabelImage, n_objects: int) -> npt.NDArray[np.int64]:
    """Bounding boxes of the ids 1..n_objects.

    Returns
    -------
    (n_objects, 4) int array
        Half-open (y0, x0, y1, x1); zeros for an id without pixels.
    """
    y, x = np.nonzero(labels)
    ids = labels[y, x].astype(np.int64)
    upper = np.full((n_objects + 1, 2), np.iinfo(np.int64).max)
    lower = np.zeros((n_objects + 1, 2), dtype=np.int64)
    for axis, positions in enumerate((y, x)):
        np.minimum.at(upper[:, axis], ids, positions)
        np.maximum.at(lower[:, axis], ids, positions + 1)
    upper[lower.max(axis=1) == 0] = 0
    return np.concatenate([upper, lower], axis=1)[1:]
