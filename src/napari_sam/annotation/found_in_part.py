# SPDX-License-Identifier: Apache-2.0
"""Objects that were found in a part of a plane, told in the frame of the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam.annotation.result_table import object_table
from napari_sam.structures.geometry import intersect_boxes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.structures.arrays import HalfOpenBox, LabelImage
    from napari_sam.structures.candidates import MaskRecord


class FoundInPart:
    """The `FoundObjects` of a part; what they cost depends on its size alone.

    Parameters
    ----------
    shape : (H, W)
        Size of the plane.
    part : (y0, x0, y1, x1)
        Half-open box of the part.
    labels : (y1 - y0, x1 - x0) uint32 array
        1 to n in the order of the records.
    records : sequence of n MaskRecord
        In the frame of the part.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        part: HalfOpenBox,
        labels: LabelImage,
        records: Sequence[MaskRecord],
    ) -> None:
        self._shape = shape
        self._part = part
        self._labels = labels
        self._records = records
        self._table = object_table(labels, records)

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self._records)

    def labels_in(self, box: HalfOpenBox) -> LabelImage:
        """Return the labels of a box of the plane, (h, w) uint32."""
        y0, x0, y1, x1 = box
        found: LabelImage = np.zeros((y1 - y0, x1 - x0), dtype=np.uint32)
        common = intersect_boxes(box, self._part)
        if common is not None:
            top, left, bottom, right = common
            y, x = self._part[:2]
            found[top - y0 : bottom - y0, left - x0 : right - x0] = self._labels[
                top - y : bottom - y, left - x : right - x
            ]
        return found

    def box(self, label: int) -> HalfOpenBox:
        """Return the half-open box around the pixels of an object."""
        y, x = self._part[:2]
        y0, x0, y1, x1 = (
            int(self._table[f"box_{side}"][label - 1])
            for side in ("y0", "x0", "y1", "x1")
        )
        return y0 + y, x0 + x, y1 + y, x1 + x

    def area(self, label: int) -> int:
        """Return the number of pixels of an object."""
        return int(self._table["area"][label - 1])

    def scores(self, label: int) -> tuple[float, float]:
        """Return predicted IoU and stability score of an object."""
        record = self._records[label - 1]
        return record.predicted_iou, record.stability_score

    def record(self, label: int) -> MaskRecord:
        """Return all that is known of an object, in the frame of the plane."""
        return self._records[label - 1].moved(*self._part[:2], self._shape)
