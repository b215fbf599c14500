# SPDX-License-Identifier: Apache-2.0
"""Electron microscopy: cells that fill space between dark walls, myelinated axons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree
from skimage import measure

from napari_sam.training.scenes import grounds, layout, outlines
from napari_sam.training.scenes.layout import Spread
from napari_sam.training.scenes.scene import Scene

if TYPE_CHECKING:
    from napari_sam.training.scenes.grounds import Floats, Ints


def draw_membranes(rng: np.random.Generator, size: int) -> Scene:
    """Cells side by side; walls dark, or bright as in stained plant tissue."""
    spacing = grounds.log_uniform(rng, 14, size / 3)
    cells, gap = _tessellate(rng, size, spacing)
    wall = rng.uniform(1.5, max(2.0, min(6, spacing / 8)))
    uneven = 1 + np.float32(0.25) * grounds.smooth(rng, size, spacing)
    labels = np.where(gap > wall * np.clip(uneven, 0.5, 1.6) / 2, cells, 0)
    labels = _without_crumbs(measure.label(labels, connectivity=1).astype(np.int32))
    tone = rng.uniform(-0.12, 0.12, labels.max() + 1).astype(np.float32)[labels]
    grain = grounds.fractal(rng, size, rng.uniform(4, 16), 1.5)
    grey = 0.65 + tone + np.float32(rng.uniform(0.02, 0.09)) * grain
    if rng.random() < 0.5:  # organelles and vesicles inside, unlabelled
        organelles = grounds.fractal(rng, size, spacing / 3, spacing / 8)
        grey -= np.float32(rng.uniform(0.1, 0.3)) * (organelles > 1.3)
    depth = np.clip(1 - gap / np.float32(wall), 0, 1)
    grey = np.where(labels > 0, grey, np.float32(rng.uniform(0.05, 0.35)))
    grey = grey - np.float32(rng.uniform(0, 0.15)) * depth
    grey = grounds.blur(grey.astype(np.float32), rng.uniform(0.5, 1.2))
    grey = grounds.noisy(rng, grey, rng.uniform(0.01, 0.1))
    if rng.random() < 0.35:  # membrane stain: bright walls, dark cells
        grey = 0.9 - grey
    pixels = grey if rng.random() < 0.85 else grounds.ramp(rng, grey)
    return Scene(pixels, (labels,))


def _tessellate(
    rng: np.random.Generator, size: int, spacing: float
) -> tuple[Ints, Floats]:
    """Return the number of the cell (S, S), and distance to its wall in pixels.

    Worked out on every second pixel, which thick walls hide.
    """
    n = int(np.ceil(size / spacing)) + 3
    seeds = (np.indices((n, n)).reshape(2, -1).T - 1.0) * spacing
    seeds += rng.uniform(-0.5, 0.5, seeds.shape) * spacing * rng.uniform(0.5, 1.0)
    seeds = seeds[rng.random(len(seeds)) < rng.uniform(0.7, 1.0)]
    half = (size + 1) // 2
    at = np.indices((half, half), np.float32) * 2
    wobble = np.float32(rng.uniform(0, 0.12) * spacing)
    grain = max(6.0, spacing / 2.5) / 2
    for axis in (0, 1):
        at[axis] += wobble * grounds.smooth(rng, half, grain)
    distance, cell = cKDTree(seeds).query(at.reshape(2, -1).T, k=2)
    apart = np.linalg.norm(seeds[cell[:, 0]] - seeds[cell[:, 1]], axis=1)
    gap = (distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2 * apart)
    gap = grounds.resize(gap.reshape(half, half).astype(np.float32), 2 * half)
    number = (cell[:, 0] + 1).astype(np.int32).reshape(half, half)
    number = number.repeat(2, axis=0).repeat(2, axis=1)
    return number[:size, :size], gap[:size, :size]


def _without_crumbs(labels: Ints) -> Ints:
    counts = np.bincount(labels.ravel())
    return np.where((counts >= layout.MIN_PX)[labels], labels, 0).astype(np.int32)


def draw_axons(rng: np.random.Generator, size: int) -> Scene:
    """Bright axons in dark thick rings of myelin, packed; sometimes inverted."""
    spread = Spread(
        radius=grounds.log_uniform(rng, 6.5, 50),
        sizes=rng.uniform(0.2, 0.5),
        cover=rng.uniform(0.5, 1.3),
        clumped=rng.uniform(0.4, 0.95),
        closeness=rng.uniform(0.85, 1.0),
        most=130,
    )
    wobble = rng.uniform(0.03, 0.12)
    where = layout.place(rng, size, lambda r: outlines.blob(r, wobble, 1.6), spread)
    ring = where.each(rng, 0.15, rng.uniform(0.25, 0.5), 1.0)
    ring = np.maximum(ring, 1.8 / where.radius[where.labels])
    axons = where.only(where.depth > ring)
    fibres = where.labels
    matrix = rng.uniform(0.35, 0.75)
    light = grounds.fractal(rng, size, rng.uniform(8, 60))
    grey = matrix + np.float32(rng.uniform(0.02, 0.12)) * light
    myelin = np.float32(rng.uniform(0.02, 0.2)) + where.each(rng, 0, 0.08)
    grey = np.where(fibres > 0, myelin, grey)
    tone = where.each(rng, -0.08, 0.08) + np.float32(rng.uniform(0.55, 0.85))
    grain = grounds.fractal(rng, size, rng.uniform(4, 12), 1.5)
    tone = tone + np.float32(rng.uniform(0.01, 0.08)) * grain
    grey = np.where(axons > 0, tone, grey)
    bare = (grounds.smooth(rng, size, rng.uniform(8, 20)) > 1.7) & (fibres == 0)
    grey = np.where(bare, np.float32(rng.uniform(0.1, 0.9)), grey)
    grey = grounds.blur(grey.astype(np.float32), rng.uniform(0.5, 1.4))
    grey = grounds.noisy(rng, grey, rng.uniform(0.005, 0.07))
    return Scene(1 - grey if rng.random() < 0.25 else grey, (axons, fibres))
