# SPDX-License-Identifier: Apache-2.0
"""Windows must hold what the plain form makes of the whole plane."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_sam.prediction import logit_windows
from napari_sam.prediction.logit_windows import LogitWindows, sample_boxes
from napari_sam.prediction.transforms import (
    FrameTransform,
    resized_shape,
    upscale_logits,
)

SHAPES = [(208, 256), (400, 600), (1, 700), (700, 1), (1, 1), (97, 1231), (640, 640)]


def smooth_logits(seed, side=64, n_masks=6):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n_masks, side, side))
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3)) * 30
    shift = np.linspace(-2, 6, n_masks)[:, None, None]
    return torch.from_numpy((smooth - shift).astype(np.float32))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threshold", [0.0, -1.0])
def test_windows_hold_everything_above_the_threshold(shape, threshold):
    transform = FrameTransform(shape, resized_shape(shape, 256), 256)
    logits = smooth_logits(sum(shape))
    plain = upscale_logits(logits, transform)
    windows = LogitWindows((64, 64), transform, torch.device("cpu"))
    boxes = sample_boxes(logits, threshold)
    for low_res, box, whole in zip(logits, boxes, plain, strict=True):
        found = windows.window(low_res, box)
        outside = torch.ones_like(whole, dtype=torch.bool)
        if found is not None:
            h, w = found.values.shape
            place = (
                slice(found.y0, found.y0 + h),
                slice(found.x0, found.x0 + w),
            )
            torch.testing.assert_close(found.values, whole[place], atol=1e-4, rtol=0)
            outside[place] = False
        assert not (whole[outside] > threshold).any()


def test_a_window_is_not_much_larger_than_its_object():
    transform = FrameTransform((1000, 1000), (256, 256), 256)
    logits = torch.full((64, 64), -5.0)
    logits[20:23, 40:44] = 5.0
    (box,) = sample_boxes(logits[None], 0.0)
    assert box == (20, 40, 23, 44)
    found = LogitWindows((64, 64), transform, torch.device("cpu")).window(logits, box)
    h, w = found.values.shape
    assert 3 * 16 < h < 6 * 16
    assert 4 * 16 < w < 7 * 16


def test_what_lies_in_the_padding_only_has_no_window():
    transform = FrameTransform((100, 200), (128, 256), 256)
    logits = torch.full((64, 64), -5.0)
    logits[40:, :] = 5.0
    (box,) = sample_boxes(logits[None], 0.0)
    windows = LogitWindows((64, 64), transform, torch.device("cpu"))
    assert windows.window(logits, box) is None
    assert windows.window(logits, None) is None


def test_boxes_of_empty_masks_are_none():
    assert sample_boxes(torch.zeros(2, 4, 4), 0.0) == [None, None]
    assert sample_boxes(torch.zeros(0, 4, 4), 0.0) == []


@pytest.mark.parametrize("shape", [(9000, 40), (40, 9000), (9000, 8999)])
def test_a_plane_too_long_for_a_kept_matrix_gets_the_same_window(shape, monkeypatch):
    transform = FrameTransform(shape, resized_shape(shape, 256), 256)
    logits = torch.full((64, 64), -6.0)
    rows, columns = (min(62, n * 64 // 256 - 4) for n in transform.input_size)
    logits[max(rows - 3, 0) : rows, max(columns - 2, 0) : columns] = 7.0
    (box,) = sample_boxes(logits[None], 0.0)
    cpu = torch.device("cpu")
    kept = LogitWindows((64, 64), transform, cpu).window(logits, box)
    monkeypatch.setattr(logit_windows, "_MAX_KEPT", 0)
    made = LogitWindows((64, 64), transform, cpu).window(logits, box)
    assert (made.y0, made.x0) == (kept.y0, kept.x0)
    torch.testing.assert_close(made.values, kept.values, atol=1e-5, rtol=0)


def test_an_enormous_plane_costs_what_the_object_costs():
    shape = (200_000, 200_000)
    transform = FrameTransform(shape, (1024, 1024), 1024)
    windows = LogitWindows((256, 256), transform, torch.device("cpu"))
    logits = torch.full((256, 256), -6.0)
    logits[100:103, 7:9] = 5.0
    found = windows.window(logits, (100, 7, 103, 9))
    size = 200_000 / 256
    assert found.values.shape[0] < 6 * size
    middle = found.values[round(101.5 * size) - found.y0, round(8 * size) - found.x0]
    assert middle == pytest.approx(5.0)
    logits[:] = 5.0
    assert windows.window(logits, (0, 0, 256, 256)) is None
