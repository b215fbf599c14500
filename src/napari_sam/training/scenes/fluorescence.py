# SPDX-License-Identifier: Apache-2.0
"""Fluorescence: light on dark, dim beside saturated, blurred, uneven, noisy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam.training.scenes import grounds, layout, outlines
from napari_sam.training.scenes.layout import Layout, Spread
from napari_sam.training.scenes.scene import Scene

if TYPE_CHECKING:
    from napari_sam.training.scenes.grounds import Bools, Floats


def draw_fluorescence(rng: np.random.Generator, size: int) -> Scene:
    """Nuclei or spots of very different brightness and size, some crowded."""
    crowded = rng.random() < 0.5
    spread = Spread(
        radius=grounds.log_uniform(rng, 4.2, 45),
        sizes=rng.choice([0.1, 0.25, 0.5]),
        cover=rng.uniform(0.4, 1.1) if crowded else rng.uniform(0.02, 0.3),
        clumped=rng.uniform(0.6, 0.95) if crowded else rng.uniform(0, 0.5),
        closeness=rng.uniform(0.7, 0.95),
    )
    wobble = rng.uniform(0.02, 0.1)
    where = layout.place(rng, size, lambda r: outlines.blob(r, wobble, 1.8), spread)
    light = _bodies(rng, where, spread.radius)
    light += _clutter(rng, size, spread.radius, where.labels > 0)
    light *= grounds.illumination(rng, size, rng.uniform(0, 0.9))
    sharp = min(2.5, spread.radius / 6)
    light = grounds.blur(light, rng.uniform(0.4, max(0.5, sharp)))
    if rng.random() < 0.4:  # light scattered far
        light += np.float32(rng.uniform(0.1, 0.5)) * grounds.blur(light, 12)
    light += np.float32(rng.uniform(0.005, 0.1))
    return Scene(_camera(rng, light), (where.labels,))


def _bodies(rng: np.random.Generator, where: Layout, radius: float) -> Floats:
    """Brightness of the objects: log-normal, textured, rounded or flat."""
    size = len(where.labels)
    glow = np.exp(rng.normal(0, rng.uniform(0.1, 0.7), where.count + 1))
    glow[0] = 0
    glow = np.clip(glow, 0.25, 4).astype(np.float32) * (np.arange(len(glow)) > 0)
    light = glow[where.labels].astype(np.float32) * np.float32(0.5)
    rounded = np.float32(rng.uniform(0, 0.6))
    light *= 1 - rounded * (1 - np.clip(where.depth * 1.5, 0, 1))
    grain = grounds.fractal(rng, size, max(3, radius / 2), 1.5)
    light *= np.clip(1 + np.float32(rng.uniform(0, 0.35)) * grain, 0.3, 2)
    # A faint seam where nuclei touch; without it they would be one.
    light[layout.rims(where.labels)] *= np.float32(rng.uniform(0.4, 0.9))
    if rng.random() < 0.2:
        light *= 1 - np.float32(0.7) * (where.disc(rng, (0.15, 0.3), 0.3) > 0)
    return light


def _clutter(
    rng: np.random.Generator, size: int, radius: float, taken: Bools
) -> Floats:
    """Nothing to label: far out of focus light and bright specks."""
    light = np.zeros((size, size), np.float32)
    if rng.random() < 0.4:
        n = int(rng.integers(1, 12))
        at = rng.integers(0, size, (2, n))
        light[at[0], at[1]] = rng.uniform(0.3, 1, n)
        sigma = max(8.0, 1.5 * radius)
        light = grounds.blur(light, sigma)
        light *= np.float32(rng.uniform(0.05, 0.2) / (light.max() + 1e-6))
    if rng.random() < 0.3:
        n = int(rng.integers(1, 10))
        at = rng.integers(0, size - 1, (2, n))
        free = ~taken[at[0], at[1]]
        light[at[0][free], at[1][free]] += np.float32(rng.uniform(0.5, 3))
    if rng.random() < 0.3:
        light += np.float32(0.03) * np.abs(grounds.fractal(rng, size, size / 3))
    return light


def _camera(rng: np.random.Generator, light: Floats) -> Floats:
    """Shot noise of few or many photons, saturation, and a stain's colour."""
    gain = grounds.log_uniform(rng, 0.25, 1.8)
    photons = grounds.log_uniform(rng, 20, 2000)
    light = light * np.float32(gain)
    noise = grounds.white(rng, len(light))
    light = light + noise * np.sqrt(np.clip(light, 0, None) / np.float32(photons))
    light = np.clip(light + np.float32(rng.uniform(0, 0.02)) * noise, 0, 1)
    if rng.random() < 0.75:
        return light
    tint = rng.random(3).astype(np.float32) ** 2
    tint[int(rng.integers(3))] = 1
    return light[..., None] * tint
