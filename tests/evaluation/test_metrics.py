# SPDX-License-Identifier: Apache-2.0
import numpy as np

from napari_sam.evaluation.metrics import iou_with_crop


def _square(y0: int, x0: int, size: int, shape: tuple[int, int] = (20, 30)):
    mask = np.zeros(shape, dtype=bool)
    mask[y0 : y0 + size, x0 : x0 + size] = True
    return mask


def test_iou_with_crop_by_hand():
    # two 4 x 4 squares sharing 2 x 4 pixels: 8 / (16 + 16 - 8)
    masks = np.array([_square(2, 0, 4), _square(0, 0, 4), _square(10, 10, 4)])
    found = iou_with_crop(masks, np.ones((4, 4), bool), (0, 0))
    np.testing.assert_allclose(found, [8 / 24, 1, 0])
    nothing = iou_with_crop(np.zeros((1, 3, 3), bool), np.zeros((0, 0), bool), (0, 0))
    assert nothing.tolist() == [1]


def test_iou_with_crop_is_that_of_whole_masks():
    rng = np.random.default_rng(0)
    truth = np.zeros((20, 30), bool)
    truth[5:12, 20:30] = rng.random((7, 10)) > 0.4
    rows, columns = np.nonzero(truth)
    y0, x0, y1, x1 = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    masks = rng.random((4, 20, 30)) > 0.5
    found = iou_with_crop(masks, truth[y0:y1, x0:x1], (y0, x0))
    wanted = [(mask & truth).sum() / (mask | truth).sum() for mask in masks]
    np.testing.assert_allclose(found, wanted)
