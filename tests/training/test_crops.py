# SPDX-License-Identifier: Apache-2.0
"""Crops keep pixels and labels together."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from napari_sam.prediction.intensity import to_rgb
from napari_sam.training import crops as crops_module
from napari_sam.training.config import TrainConfig
from napari_sam.training.crops import FRAME_SIZE, NEW_SCENE, draw_crops, take_crop
from napari_sam.training.dataset import ImageDraw, LabelledImage

CONFIG = TrainConfig(crop_size=128)
PLAIN = TrainConfig(plain_fraction=1.0, enlarged_fraction=0.0)


@pytest.fixture
def unvaried(monkeypatch) -> list[float]:
    """Looks stay as they are; the strengths that were asked for."""
    strengths: list[float] = []

    def keep(unit, _rng, strength=1.0):
        strengths.append(strength)
        return unit

    monkeypatch.setattr(crops_module, "vary_looks", keep)
    return strengths


def turned_back(crop: np.ndarray, shown: np.ndarray) -> float:
    """Least mean difference of a crop (H, W, 3) from a picture turned and mirrored."""
    return min(
        float(np.abs(np.rot90(shown[:, ::flip], turns) - crop).mean())
        for flip in (1, -1)
        for turns in range(4)
    )


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
    crops = itertools.islice(
        draw_crops(ImageDraw([*images, NEW_SCENE]), CONFIG, rng, 128), 30
    )
    for crop in crops:
        assert np.bincount(crop.labels.ravel())[1:].max() >= CONFIG.min_object_px
        assert crop.pixels.min() >= 0
        assert crop.pixels.max() <= 255


def test_a_plain_crop_has_exactly_the_usual_scale(unvaried) -> None:
    """Discs of one size, so that their area in the crop tells the scale."""
    labels = np.zeros((64, 128), np.int32)
    rows, columns = np.indices(labels.shape)
    for label, (y, x) in enumerate([(20, 20), (20, 58), (45, 38)], start=1):
        labels[np.hypot(rows - y, columns - x) <= 8] = label
    image = LabelledImage("discs", "fluorescence", (labels > 0) * np.uint8(200), labels)
    scale = FRAME_SIZE / 128
    rng = np.random.default_rng(0)
    area = (labels == 1).sum() * (scale / 2) ** 2  # in pixels of the mask
    for _ in range(8):
        crop = take_crop(image, PLAIN, rng, FRAME_SIZE)
        assert crop.is_image.sum() == 64 * 128 * scale**2  # all of the image
        found = np.bincount(crop.labels.ravel(), minlength=4)[1:]
        assert found == pytest.approx(area, rel=0.03)
    assert set(unvaried) == {crops_module.PLAIN_STRENGTH}


def _discs(shape: tuple[int, int], diameter: float) -> LabelledImage:
    """Discs on a lattice, all alike."""
    labels = np.zeros(shape, np.int32)
    rows, columns = np.indices(shape)
    centres = [(y, x) for y in range(30, shape[0], 60) for x in range(30, shape[1], 60)]
    for label, (y, x) in enumerate(centres, start=1):
        labels[np.hypot(rows - y, columns - x) <= diameter / 2] = label
    return LabelledImage("discs", "fluorescence", (labels > 0) * np.uint8(200), labels)


@pytest.mark.parametrize(
    ("shape", "diameter", "enlarged"),
    [
        ((256, 256), 30, 1),  # 60 px in the frame: large enough
        ((256, 256), 10, 2),  # 21 px
        ((512, 512), 10, 4),  # 11 px
        ((1024, 1024), 10, 4),  # 11 px in a region at full resolution
    ],
)
def test_tiny_objects_are_shown_as_enlarged_as_when_asked_for(
    shape, diameter, enlarged, unvaried
) -> None:
    image = _discs(shape, diameter)
    config = TrainConfig(plain_fraction=1.0, enlarged_fraction=1.0, region_fraction=1.0)
    scale = enlarged * max(1.0, FRAME_SIZE / max(shape))
    area = (image.labels == 1).sum() * (scale / 2) ** 2
    rng = np.random.default_rng(0)
    for _ in range(4):
        found = np.bincount(take_crop(image, config, rng, 512).labels.ravel())[1:]
        assert found.max() == pytest.approx(area, rel=0.1)


def test_a_share_of_large_images_is_shown_whole(unvaried) -> None:
    image, rng = _discs((1024, 1024), 40), np.random.default_rng(1)
    config = TrainConfig(plain_fraction=1.0, enlarged_fraction=0.0, region_fraction=0.5)
    area = (image.labels == 1).sum() / 4  # mask pixels of a region at full resolution
    shares = {
        round(float(np.bincount(crop.labels.ravel())[1:].max() / area), 1)
        for crop in (take_crop(image, config, rng, 512) for _ in range(16))
    }
    assert shares <= {0.2, 0.3, 1.0}
    assert max(shares) == 1.0
    assert min(shares) < 0.4  # half the scale, a quarter of the pixels


def test_other_crops_have_other_scales(images, unvaried) -> None:
    rng = np.random.default_rng(0)
    config = TrainConfig(plain_fraction=0.0)
    seen = {int(take_crop(images[0], config, rng, 512).is_image.sum()) for _ in "abcd"}
    assert len(seen) > 1
    assert set(unvaried) == {1.0}


@pytest.mark.parametrize("kind", ["grey8", "grey16", "float", "colour", "flat"])
def test_a_plain_crop_is_shown_as_when_annotating(kind, unvaried) -> None:
    """Its contrast is that of the default intensity rule; the image fills the frame."""
    rng = np.random.default_rng(3)
    unit = ndimage.gaussian_filter(rng.random((128, 128)), 6)
    unit = (unit - unit.min()) / np.ptp(unit)
    pixels = {
        "grey8": (20 + 90 * unit).astype(np.uint8),
        "grey16": (300 + 900 * unit).astype(np.uint16),
        "float": (unit * 0.02 - 0.01).astype(np.float32),
        "colour": np.stack([30 + 90 * unit, 200 * unit, 99 * unit], 2).astype(np.uint8),
        "flat": np.full((128, 128), 7, np.uint8),
    }[kind]
    labels = (unit > 0.7).astype(np.int32)
    crop = take_crop(LabelledImage("a", "b", pixels, labels), PLAIN, rng, FRAME_SIZE)
    shown = to_rgb(pixels).astype(np.float32)
    # Means over the 4 x 4 pixels of the frame that one of the image became.
    small = crop.pixels.reshape(3, 128, 4, 128, 4).mean(axis=(2, 4)).transpose(1, 2, 0)
    assert turned_back(small, shown) < 2.0  # of 255
