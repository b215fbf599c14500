# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from napari_sam.evaluation.metrics import iou_with_crop, mask_iou, pooled_mean


def _square(y0: int, x0: int, size: int, shape: tuple[int, int] = (20, 30)):
    mask = np.zeros(shape, dtype=bool)
    mask[y0 : y0 + size, x0 : x0 + size] = True
    return mask


def test_mask_iou_by_hand():
    # two 4 x 4 squares sharing 2 x 4 pixels: 8 / (16 + 16 - 8)
    assert mask_iou(_square(0, 0, 4), _square(2, 0, 4)) == pytest.approx(8 / 24)
    assert mask_iou(_square(0, 0, 4), _square(0, 0, 4)) == 1
    assert mask_iou(_square(0, 0, 4), _square(10, 10, 4)) == 0
    assert mask_iou(np.zeros((3, 3), bool), np.zeros((3, 3), bool)) == 1


def test_mask_iou_refuses_other_shape():
    with pytest.raises(ValueError, match="cannot be compared"):
        mask_iou(np.zeros((3, 3), bool), np.zeros((3, 4), bool))


def test_iou_with_crop_equals_mask_iou():
    rng = np.random.default_rng(0)
    truth = np.zeros((20, 30), bool)
    truth[5:12, 20:30] = rng.random((7, 10)) > 0.4
    rows, columns = np.nonzero(truth)
    y0, x0, y1, x1 = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    masks = rng.random((4, 20, 30)) > 0.5
    found = iou_with_crop(masks, truth[y0:y1, x0:x1], (y0, x0))
    np.testing.assert_allclose(found, [mask_iou(m, truth) for m in masks])


def test_pooled_mean_weighs_objects_not_images():
    parts = [np.array([1.0]), np.array([0.0, 0.0, 0.0]), np.empty(0)]
    assert pooled_mean(parts) == 0.25
    assert np.isnan(pooled_mean([]))
    assert np.isnan(pooled_mean([np.empty(0)]))
