# SPDX-License-Identifier: Apache-2.0
"""Crops keep pixels and labels together."""

import itertools

import numpy as np

from napari_sam.training.config import TrainConfig
from napari_sam.training.crops import draw_crops, take_crop

CONFIG = TrainConfig(crop_size=128)


def test_pixels_and_labels_stay_aligned(images) -> None:
    rng = np.random.default_rng(1)
    agreements = []
    for _ in range(40):
        crop = take_crop(images[0], CONFIG, rng, 128)
        assert crop.pixels.shape == (3, 128, 128)
        assert crop.labels.shape == (64, 64)
        small = crop.pixels.mean(axis=0).reshape(64, 2, 64, 2).mean(axis=(1, 3))
        inside = crop.is_image[::2, ::2]
        wanted = (crop.labels > 0)[inside]
        if wanted.any() and not wanted.all():
            correlation = np.corrcoef(small[inside], wanted)[0, 1]
            agreements.append(abs(correlation))  # inversion turns the sign
    assert len(agreements) > 20
    assert np.median(agreements) > 0.9


def test_nothing_is_labelled_past_the_image(images) -> None:
    rng = np.random.default_rng(0)
    beyond = 0
    for _ in range(30):
        crop = take_crop(images[0], CONFIG, rng, 512)
        outside = ~crop.is_image[::2, ::2] & ~crop.is_image[1::2, 1::2]
        beyond += outside.sum()
        assert not crop.labels[outside].any()
    assert beyond > 0


def test_every_crop_has_an_object_to_learn_from(images) -> None:
    rng = np.random.default_rng(0)
    crops = itertools.islice(draw_crops(images, CONFIG, rng, 128), 30)
    for crop in crops:
        assert np.bincount(crop.labels.ravel())[1:].max() >= CONFIG.min_object_px
        assert crop.pixels.min() >= 0
        assert crop.pixels.max() <= 255
