# SPDX-License-Identifier: Apache-2.0
"""Parts inside objects inside groups: nucleolus, nucleus, cell, clump."""

from __future__ import annotations

import numpy as np

from napari_sam.training.scenes import grounds, layout, outlines
from napari_sam.training.scenes.layout import Spread
from napari_sam.training.scenes.scene import Scene


def draw_nested(rng: np.random.Generator, size: int) -> Scene:
    """Cells with a nucleus with a nucleolus, in colours or grey."""
    spread = Spread(
        radius=grounds.log_uniform(rng, 13, size / 3.5),
        sizes=0.2,
        cover=rng.uniform(0.2, 0.9),
        clumped=rng.uniform(0, 0.9),
        closeness=rng.uniform(0.75, 1.0),
    )
    rough = rng.random() < 0.3
    where = layout.place(
        rng,
        size,
        lambda r: outlines.amoeba(r) if rough else outlines.blob(r, 0.08, 1.6),
        spread,
    )
    limit = where.depth_px() > 2
    nucleus = (where.disc(rng, (0.35, 0.6), 0.2) > 0) & limit
    inner_size = (0.12, 0.25)
    nucleolus = (where.disc(rng, inner_size, 0.18) > 0) & nucleus
    nucleolus &= (where.radius * inner_size[1] > 3)[where.labels]
    nuclei, nucleoli = where.only(nucleus), where.only(nucleolus)
    levels = _steps(rng)
    grey = np.full((size, size), levels[0], np.float32)
    grey += np.float32(rng.uniform(0, 0.06)) * grounds.fractal(rng, size, size / 3)
    inside = where.labels > 0
    cytoplasm = levels[1] + where.each(rng, -0.06, 0.06)
    cytoplasm += np.float32(rng.uniform(0, 0.08)) * grounds.fractal(rng, size, 12)
    grey = np.where(inside, cytoplasm, grey)
    grey = np.where(nuclei > 0, levels[2] + where.each(rng, -0.04, 0.04), grey)
    grey = np.where(nucleoli > 0, np.float32(levels[3]), grey)
    # Neighbours of one grey need a seam, or nobody could tell them apart.
    grey[layout.rims(where.labels)] += np.float32(
        rng.uniform(0.08, 0.3) * rng.choice([-1, 1])
    )
    if rng.random() < 0.4:
        grey[layout.rims(nuclei)] += np.float32(rng.uniform(-0.2, 0.2))
    grey = grounds.blur(grey.astype(np.float32), rng.uniform(0.4, 1.3))
    grey = grounds.noisy(rng, grey, rng.uniform(0, 0.04))
    pixels = grey if rng.random() < 0.4 else grounds.ramp(rng, grey)
    found = (nucleoli, nuclei, where.labels, layout.groups(where.labels))
    return Scene(pixels, found, usual=2 if rng.random() < 0.5 else 1)


def _steps(rng: np.random.Generator) -> list[float]:
    """Grey of ground, cell, nucleus, nucleolus; each differs from the one around."""
    steps = [rng.uniform(0.05, 0.95)]
    for _ in range(3):
        step = rng.uniform(0.15, 0.4) * rng.choice([-1, 1])
        if not 0 <= steps[-1] + step <= 1:
            step = -step
        steps.append(steps[-1] + step)
    return steps
