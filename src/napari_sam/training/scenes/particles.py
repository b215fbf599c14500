# SPDX-License-Identifier: Apache-2.0
"""Solid grains in heaps: beads, crystals, seeds, lit from a side."""

from __future__ import annotations

import numpy as np

from napari_sam.training.scenes import grounds, layout, outlines
from napari_sam.training.scenes.layout import Spread
from napari_sam.training.scenes.scene import Scene


def draw_particles(rng: np.random.Generator, size: int) -> Scene:
    """Grains that hide each other, with shadows: scanning microscope or photograph."""
    crystals = rng.random() < 0.4
    spread = Spread(
        radius=grounds.log_uniform(rng, 5, size / 6),
        sizes=rng.choice([0.05, 0.2, 0.4]),
        cover=rng.uniform(0.2, 1.6),
        clumped=rng.uniform(0.2, 0.95),
        closeness=rng.uniform(0.65, 0.95),
    )
    longer = rng.uniform(1.0, 2.2)
    where = layout.place(
        rng,
        size,
        lambda r: (
            outlines.Star(outlines.polygon(r, int(r.integers(4, 8))), r.uniform(1, 1.3))
            if crystals
            else outlines.blob(r, 0.03, longer)
        ),
        spread,
    )
    inside = where.labels > 0
    # Spheres, or flat tops with slopes at the sides, measured in radii.
    height = 1 - (1 - np.clip(where.depth, 0, 1)) ** 2
    if crystals:
        height = np.minimum(where.depth, np.float32(rng.uniform(0.15, 0.5)))
    height = np.sqrt(np.clip(height, 0, 1)) * where.radius[where.labels]
    slope_y, slope_x = np.gradient(grounds.blur(height.astype(np.float32), 0.7))
    turn, steep = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.8)
    toward = np.cos(turn) * slope_x + np.sin(turn) * slope_y
    norm = np.sqrt(1 + slope_x**2 + slope_y**2)
    shade = (1 - steep * toward) / norm / np.sqrt(1 + steep**2)
    if rng.random() < 0.35:  # scanning electron microscope: steep sides shine
        shade = 0.3 + 0.7 * (1 - 1 / norm)
    tone = where.each(rng, 0.65, 1.0) * (0.25 + 0.75 * np.clip(shade, 0, 1))
    tone = tone * (1 + rng.uniform(0, 0.12) * grounds.fractal(rng, size, 10))
    level = rng.uniform(0.02, 0.35) if rng.random() < 0.7 else rng.uniform(0.9, 1.0)
    ground = level + 0.04 * grounds.fractal(rng, size, size / 4)
    shadow = grounds.blur(inside.astype(np.float32), rng.uniform(2, 6))
    ground = ground * (1 - np.float32(rng.uniform(0, 0.7)) * shadow)
    grey = np.where(inside, tone, ground)
    grey[layout.seams(where.labels)] *= np.float32(rng.uniform(0.4, 0.9))
    grey = grounds.blur(grey.astype(np.float32), rng.uniform(0.3, 1.2))
    grey = grounds.noisy(rng, grey, rng.uniform(0, 0.04))
    pixels = grey if rng.random() < 0.5 else grounds.ramp(rng, grey)
    return Scene(pixels, (where.labels,))
