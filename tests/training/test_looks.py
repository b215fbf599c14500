# SPDX-License-Identifier: Apache-2.0
"""Looks change values only: range, place and visibility of objects stay."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam.training import looks
from napari_sam.training.looks import CHANGES, vary_looks

EACH = pytest.mark.parametrize(
    "change", [c for c, _ in CHANGES], ids=lambda c: c.__name__
)


def picture(*, is_colour: bool = True) -> np.ndarray:
    """Two discs on a darker ground, (64, 80, 3)."""
    y, x = np.mgrid[:64, :80]
    discs = ((y - 30) ** 2 + (x - 20) ** 2 < 150) | ((y - 40) ** 2 + (x - 60) ** 2 < 90)
    noise = np.random.default_rng(0).normal(0, 0.02, (64, 80))
    grey = np.clip(np.where(discs, 0.75, 0.3) + noise, 0, 1)
    unit = np.repeat(grey[..., None], 3, axis=2)
    if is_colour:
        unit = unit * [1.0, 0.7, 0.85]
    return unit.astype(np.float32)


@EACH
@pytest.mark.parametrize("is_colour", [True, False])
def test_each_change_changes_something_and_stays_finite(change, is_colour) -> None:
    unit = picture(is_colour=is_colour)
    before = unit.copy()
    changed = [change(unit, np.random.default_rng(seed)) for seed in range(5)]
    assert all(c.shape == unit.shape and np.isfinite(c).all() for c in changed)
    assert (unit == before).all()  # its input is left alone
    if is_colour or change.__name__ not in ("_grey", "_permute"):
        assert any(np.abs(c - unit).max() > 0.01 for c in changed)


@EACH
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_empty_pictures_are_no_trouble(change, value: float) -> None:
    unit = np.full((32, 40, 3), value, np.float32)
    for seed in range(5):
        out = np.clip(change(unit, np.random.default_rng(seed)), 0, 1)
        assert out.shape == unit.shape
        assert np.isfinite(out).all()


def test_values_stay_in_range_and_seeds_repeat() -> None:
    unit = picture()
    for seed in range(60):
        one, same = (vary_looks(unit, np.random.default_rng(seed)) for _ in range(2))
        assert one.dtype == np.float32
        assert one.flags.c_contiguous
        assert 0 <= one.min() <= one.max() <= 1
        assert (one == same).all()


def test_strength_0_changes_nothing() -> None:
    unit = picture()
    for seed in range(20):
        assert (vary_looks(unit, np.random.default_rng(seed), 0.0) == unit).all()


def test_objects_stay_visible_where_they_were() -> None:
    unit = picture()
    before = unit.mean(axis=2).ravel()
    likeness = []
    for seed in range(100):
        after = vary_looks(unit, np.random.default_rng(seed)).mean(axis=2).ravel()
        assert after.std() > 0.01
        likeness.append(abs(np.corrcoef(before, after)[0, 1]))
    assert np.median(likeness) > 0.9
    assert np.percentile(likeness, 2) > 0.5


def test_greys_stay_grey_when_stains_change() -> None:
    unit = picture(is_colour=False)
    for seed in range(10):
        out = looks._restain(unit, np.random.default_rng(seed))
        assert np.ptp(out, axis=2).max() < 1e-6


def test_a_stain_alone_keeps_its_colour_when_its_strength_changes() -> None:
    """Density along one stain stays along it (Beer and Lambert)."""
    row = looks.STAINS[0] / np.linalg.norm(looks.STAINS[0])
    amount = np.linspace(0.1, 1.5, 20, dtype=np.float32)[None, :, None]
    unit = np.exp(-amount * row).astype(np.float32)
    out = looks._restain(unit, np.random.default_rng(2))
    density = -np.log(out[0].astype(float))
    factor = np.linalg.norm(density, axis=1)
    assert np.allclose(density / factor[:, None], row, atol=1e-4)
    factor /= amount[0, :, 0]
    assert np.ptp(factor) < 1e-3
    assert 0.65 <= factor[0] <= 1.35
    assert abs(factor[0] - 1) > 0.01


def test_over_exposure_spares_a_bright_ground() -> None:
    unit = picture()
    bright = 1 - unit * np.float32(0.3)  # pale discs on a bright ground
    for seed in range(30):
        out = np.clip(looks._saturate(bright, np.random.default_rng(seed)), 0, 1)
        assert out.std() >= 0.5 * bright.std()
