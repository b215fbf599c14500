# SPDX-License-Identifier: Apache-2.0
"""Masks out of strips must be those of the whole enlarged plane."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_sam.prediction import logit_windows
from napari_sam.prediction.logit_windows import (
    LogitWindow,
    LogitWindows,
    sample_boxes,
)
from napari_sam.prediction.transforms import (
    FrameTransform,
    resized_shape,
    upscale_logits,
)
from napari_sam.prediction.window_masks import Thresholds, WindowMasks

SHAPES = [(512, 512), (400, 600), (97, 1231), (333, 255), (1, 700), (700, 1)]
THRESHOLDS = Thresholds(-1.0, 0.0, 1.0)


def smooth_logits(seed, side=64, n_masks=4):
    noise = np.random.default_rng(seed).normal(size=(n_masks, side, side))
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3)) * 30
    return torch.from_numpy(smooth.astype(np.float32))


def windows_of(shape, frame=256):
    transform = FrameTransform(shape, resized_shape(shape, frame), frame)
    return LogitWindows((64, 64), transform, torch.device("cpu")), transform


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("strip_px", [1 << 16, 1000])
def test_masks_and_stability_are_those_of_the_whole_plane(shape, strip_px, monkeypatch):
    monkeypatch.setattr(logit_windows, "_STRIP_PX", strip_px)
    windows, transform = windows_of(shape)
    logits = smooth_logits(sum(shape))
    plain = upscale_logits(logits, transform).numpy()
    maker = WindowMasks()
    for low_res, box, whole in zip(
        logits, sample_boxes(logits, THRESHOLDS.low), plain, strict=True
    ):
        counts = [(whole > t).sum() for t in (THRESHOLDS.high, THRESHOLDS.low)]
        window = windows.window(low_res, box)
        if window is None:
            assert counts == [0, 0]
            continue
        mask, stability = maker.measure(window, THRESHOLDS)
        found = np.zeros(shape, dtype=bool)
        h, w = window.shape
        found[window.y0 : window.y0 + h, window.x0 : window.x0 + w] = mask
        # Only what rounding decides may differ.
        differs = found != (whole > THRESHOLDS.middle)
        assert (np.abs(whole[differs]) < 1e-4).all()
        assert differs.sum() <= 1
        if counts[1]:
            assert stability == pytest.approx(counts[0] / counts[1], abs=2 / counts[1])
        np.testing.assert_array_equal(
            maker.mask(window, THRESHOLDS.middle)[:h, :w],
            found[window.y0 : window.y0 + h, window.x0 : window.x0 + w],
        )


def test_strips_are_the_window():
    windows, _ = windows_of((700, 900))
    logits = smooth_logits(3)
    window = windows.window(logits[0], sample_boxes(logits, 0.0)[0])
    strips = [(start, strip.clone()) for start, strip in window.strips()]
    assert len(strips) > 3
    assert [start for start, _ in strips] == np.cumsum(
        [0, *(len(strip) for _, strip in strips[:-1])]
    ).tolist()
    joined = torch.cat([strip for _, strip in strips])
    torch.testing.assert_close(joined, window.values, rtol=1e-5, atol=1e-4)


def test_nothing_is_not_stable():
    maker = WindowMasks()
    for values in (torch.zeros(0, 0), torch.full((3, 4), -9.0)):
        mask, stability = maker.measure(LogitWindow(values, 0, 0), THRESHOLDS)
        assert not mask.any()
        assert np.isnan(stability)


def test_a_mask_is_overwritten_by_the_next_one():
    maker = WindowMasks()
    first = maker.mask(LogitWindow(torch.ones(5, 6), 0, 0), 0.0)
    assert first.shape == (5, 6)
    assert first.all()
    assert not maker.mask(LogitWindow(-torch.ones(5, 6), 0, 0), 0.0).any()
    assert not first.any()
