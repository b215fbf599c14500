# SPDX-License-Identifier: Apache-2.0
"""Every family of drawn scenes: exact truth, the same by seed, any size."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage

from napari_sam.errors import SettingsError
from napari_sam.training.scenes import FAMILIES, draw_scene
from napari_sam.training.scenes.layout import MIN_PX, rims

if TYPE_CHECKING:
    from napari_sam.training.dataset import LabelledImage

SIZE = 160


@cache
def scenes(family: str) -> list[LabelledImage]:
    return [draw_scene(np.random.default_rng(s), SIZE, family) for s in range(8)]


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_and_labels_fit_each_other(family: str) -> None:
    for image in scenes(family):
        assert image.pixels.dtype == np.uint8
        assert image.labels.dtype == np.int32
        assert image.pixels.shape[:2] == image.labels.shape == (SIZE, SIZE)
        assert image.pixels.ndim == 2 or image.pixels.shape[2] == 3
        assert image.kind == "drawn"
        counts = np.bincount(image.labels.ravel())[1:]
        assert counts.any()
        assert counts[counts > 0].min() >= MIN_PX
        assert np.ptp(image.pixels) > 10


@pytest.mark.parametrize("family", FAMILIES)
def test_borders_of_labels_are_edges_of_the_picture(family: str) -> None:
    """Shifted labels fit worse, so the truth lies where the picture changes."""
    gained = []
    for image in scenes(family):
        grey = image.pixels.astype(float)
        grey = grey.mean(axis=2) if grey.ndim == 3 else grey
        steep = ndimage.gaussian_gradient_magnitude(grey, 1.0)
        if family == "relief":  # shows slopes, steepest at the borders
            steep = np.abs(grey - np.median(grey))
        border = rims(image.labels)
        border[[0, -1]] = border[:, [0, -1]] = False
        there = steep[border].mean()
        moved = [
            steep[np.roll(border, shift, axis)].mean()
            for shift in (-5, 5)
            for axis in (0, 1)
        ]
        gained.append(there / np.mean(moved))
    assert np.mean(np.array(gained) > 1) > (0.4 if family == "textures" else 0.7)
    assert np.median(gained) > (0.9 if family == "textures" else 1.1)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_seed_gives_one_scene(family: str) -> None:
    one, same, other = (
        draw_scene(np.random.default_rng(seed), 64, family) for seed in (3, 3, 4)
    )
    assert (one.pixels == same.pixels).all()
    assert (one.labels == same.labels).all()
    assert one.pixels.shape != other.pixels.shape or (one.pixels != other.pixels).any()


def test_levels_nest_and_each_is_shown_at_times() -> None:
    shown = set()
    for seed in range(12):
        image = draw_scene(np.random.default_rng(seed), SIZE, "nested")
        nucleoli, nuclei, cells, groups = image.levels
        for inner, outer in ((nucleoli, nuclei), (nuclei, cells)):
            inside = inner > 0
            assert (outer[inside] == inner[inside]).all()
        assert ((cells > 0) == (groups > 0)).all()
        assert cells.max() >= groups.max() > 0
        shown |= {i for i, level in enumerate(image.levels) if level is image.labels}
    assert {1, 2} <= shown


def test_sizes_run_from_small_to_the_whole_picture() -> None:
    widths, counts = [], []
    for seed, family in enumerate(["shapes", "large", "fluorescence"] * 4):
        labels = draw_scene(np.random.default_rng(seed), 384, family).labels
        found = [w for w in ndimage.find_objects(labels) if w is not None]
        counts.append(len(found))
        widths += [max(s.stop - s.start for s in window) for window in found]
    assert min(widths) <= 10
    assert max(widths) >= 300
    assert min(counts) <= 2
    assert max(counts) >= 100


def test_an_axon_is_brighter_or_darker_than_all_of_its_ring() -> None:
    for seed in range(6):
        image = draw_scene(np.random.default_rng(seed), SIZE, "axons")
        axons, fibres = image.levels
        ring = (fibres > 0) & (axons == 0)
        grey = image.pixels.astype(float)
        contrast = grey[axons > 0].mean() - grey[ring].mean()
        assert abs(contrast) > 40


def test_too_small_a_picture_is_refused() -> None:
    with pytest.raises(SettingsError, match="31"):
        draw_scene(np.random.default_rng(0), 31)


def test_unknown_family_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        draw_scene(np.random.default_rng(0), 96, "elephants")
