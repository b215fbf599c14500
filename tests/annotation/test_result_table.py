# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from napari_sam.annotation.result_table import label_boxes, object_table
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.rle import encode


def test_table_measures_the_labels_not_the_records():
    labels = np.zeros((10, 12), np.uint32)
    labels[1:4, 2:7] = 1
    labels[5:9, 8:12] = 2
    mask = np.ones(labels.shape, bool)  # larger than what is left in the labels
    records = [
        MaskRecord(encode(mask), (0, 0, 10, 12), 120, iou, 0.8, (0, 0), (0, 0, 10, 12))
        for iou in (0.9, 0.7)
    ]
    table = object_table(labels, records)
    np.testing.assert_array_equal(table["index"], [1, 2])
    np.testing.assert_array_equal(table["area"], [15, 16])
    np.testing.assert_array_equal(table["predicted_iou"], [0.9, 0.7])
    boxes = np.stack([table[f"box_{side}"] for side in ("y0", "x0", "y1", "x1")], 1)
    np.testing.assert_array_equal(boxes, [[1, 2, 4, 7], [5, 8, 9, 12]])


def test_no_objects():
    table = object_table(np.zeros((4, 4), np.uint32), [])
    assert {len(column) for column in table.values()} == {0}


def test_id_without_pixels_has_an_empty_box():
    labels = np.zeros((4, 4), np.uint32)
    labels[2, 3] = 2
    np.testing.assert_array_equal(label_boxes(labels, 2), [[0] * 4, [2, 3, 3, 4]])
