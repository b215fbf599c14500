# SPDX-License-Identifier: Apache-2.0
"""Depth of outlines against hand-computed places."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam.training.scenes.outlines import Rod, Star, anything, polygon, wobbly


def at(outline, u: float, v: float) -> float:
    return float(outline.depth(np.array([u], "f4"), np.array([v], "f4"))[0])


def test_depth_of_a_rod() -> None:
    rod = Rod(aspect=4)  # half length 1, half width 0.25
    assert at(rod, 0, 0) == at(rod, 0.75, 0) == 1
    assert at(rod, 1, 0) == pytest.approx(0, abs=1e-6)
    assert at(rod, 0, 0.25) == pytest.approx(0, abs=1e-6)
    assert at(rod, 0, 0.5) == pytest.approx(-1, abs=1e-6)


def test_depth_of_a_stretched_circle() -> None:
    star = Star(np.ones(128, np.float32), stretch=2.0)
    assert at(star, 2, 0) == pytest.approx(0, abs=1e-6)
    assert at(star, 0, 0.5) == pytest.approx(0, abs=1e-6)
    assert at(star, 1, 0) == pytest.approx(0.5)
    assert star.extent == 2


def test_a_polygon_without_shake_reaches_between_its_sides_and_corners() -> None:
    reach = polygon(np.random.default_rng(0), 4)
    assert 0.7 < reach.min() <= 1
    assert reach.max() <= 2


def test_no_wobble_gives_a_circle() -> None:
    assert (wobbly(np.random.default_rng(0), 0.0) == 1).all()


def test_nothing_lies_beyond_the_extent() -> None:
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 200)
    for _ in range(40):
        outline = anything(rng)
        far = outline.extent * 1.01
        u, v = (far * f(angles).astype(np.float32) for f in (np.cos, np.sin))
        assert outline.depth(u, v).max() < 0
