# SPDX-License-Identifier: Apache-2.0
"""Simulated clicks and boxes fall where they should."""

import numpy as np
import pytest

from napari_sam.training.prompt_sampling import (
    centre_point,
    noisy_box,
    sampled_correction,
    uniform_point,
)

STRIDE = 2


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def square() -> np.ndarray:
    mask = np.zeros((32, 32), bool)
    mask[4:15, 10:21] = True  # pixels 20..41 by 8..29 of the crop
    return mask


def test_uniform_points_stay_inside(square, rng) -> None:
    points = np.array([uniform_point(square, rng, STRIDE) for _ in range(500)])
    assert points.min(axis=0) == pytest.approx([20, 8], abs=0.6)
    assert points.max(axis=0) == pytest.approx([41, 29], abs=0.6)
    for x, y in points:
        assert square[int((y + 0.5) // STRIDE), int((x + 0.5) // STRIDE)]


def test_centre_point_is_farthest_from_the_boundary(square) -> None:
    assert centre_point(square, STRIDE) == (30.5, 18.5)


def test_centre_point_counts_the_border_of_the_crop_as_boundary() -> None:
    x, y = centre_point(np.ones((9, 9), bool), 1)
    assert (x, y) == (4, 4)


def test_box_without_noise_is_tight(square, rng) -> None:
    assert noisy_box(square, rng, STRIDE, jitter=0) == (20, 8, 42, 30)


def test_box_noise_never_passes_the_middle(square, rng) -> None:
    boxes = np.array([noisy_box(square, rng, STRIDE, jitter=5) for _ in range(200)])
    assert (boxes[:, 0] < boxes[:, 2]).all()
    assert (boxes[:, 1] < boxes[:, 3]).all()
    assert np.ptp(boxes[:, 0]) > 10


def test_corrections_fall_on_errors(square, rng) -> None:
    predicted = np.zeros_like(square)
    predicted[4:15, 14:26] = True  # misses 4 columns, takes 5 too many
    labels = set()
    for _ in range(100):
        x, y, label = sampled_correction(predicted, square, rng, STRIDE)
        at = int((y + 0.5) // STRIDE), int((x + 0.5) // STRIDE)
        assert square[at] == bool(label)
        assert predicted[at] != bool(label)
        labels.add(label)
    assert labels == {0, 1}


def test_a_perfect_mask_is_confirmed(square, rng) -> None:
    x, y, label = sampled_correction(square, square, rng, STRIDE)
    assert label == 1
    assert square[int((y + 0.5) // STRIDE), int((x + 0.5) // STRIDE)]
