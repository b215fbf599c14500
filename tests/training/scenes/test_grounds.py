# SPDX-License-Identifier: Apache-2.0
"""Noise has the deviation it says, blur keeps light, colours differ as asked."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_sam.training.scenes import grounds


@pytest.mark.parametrize("make", [grounds.smooth, grounds.fractal])
@pytest.mark.parametrize("grain", [5.0, 40.0])
def test_noise_has_mean_0_and_deviation_1(make, grain: float) -> None:
    field = make(np.random.default_rng(0), 200, grain)
    assert field.shape == (200, 200)
    assert field.dtype == np.float32
    assert abs(field.mean()) < 0.05
    assert field.std() == pytest.approx(1, abs=0.05)


def test_coarse_noise_changes_less_from_pixel_to_pixel() -> None:
    rng = np.random.default_rng(0)
    steps = [
        np.abs(np.diff(grounds.smooth(rng, 200, grain))).mean() for grain in (3, 10, 40)
    ]
    assert steps[0] > 2 * steps[1] > 4 * steps[2]


@pytest.mark.parametrize("sigma", [1.0, 6.0, 20.0])
def test_blur_is_near_the_exact_gaussian(sigma: float) -> None:
    spot = np.zeros((160, 160), np.float32)
    spot[70:90, 70:90] = 1
    exact = ndimage.gaussian_filter(spot, sigma)
    blurred = grounds.blur(spot, sigma)
    assert np.abs(blurred - exact).max() < 0.03
    assert blurred.sum() == pytest.approx(400, rel=0.02)


def test_blur_keeps_channels_apart() -> None:
    image = np.zeros((32, 32, 3), np.float32)
    image[..., 1] = 1
    blurred = grounds.blur(image, 2.0)
    assert not blurred[..., [0, 2]].any()
    assert np.allclose(blurred[..., 1], 1, atol=1e-5)


def test_unlike_colours_differ_by_the_contrast() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        ground = grounds.colour(rng)
        other = grounds.unlike(rng, ground, 0.3)
        assert np.abs(other - ground).max() >= 0.3


def test_large_pictures_get_noise_too() -> None:
    noise = grounds.white(np.random.default_rng(0), 1100)
    assert noise.shape == (1100, 1100)
    assert noise.std() == pytest.approx(1, abs=0.01)
