# SPDX-License-Identifier: Apache-2.0
"""Label-free microscopy: phase contrast, differential interference, phase maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam.training.scenes import grounds, layout, outlines
from napari_sam.training.scenes.layout import Layout, Spread
from napari_sam.training.scenes.scene import Scene

if TYPE_CHECKING:
    from napari_sam.training.scenes.grounds import Floats


def draw_phase_contrast(rng: np.random.Generator, size: int) -> Scene:
    """Dark bodies with a bright halo outside; round ones may shine inside."""
    where = _cells(rng, size)
    mask = (where.labels > 0).astype(np.float32)
    thickness = _thickness(rng, where)
    halo = np.clip(grounds.blur(mask, rng.uniform(3, 7)) - mask, 0, None)
    body = mask * (0.5 + thickness)
    grey: Floats = 0.5 - np.float32(rng.uniform(0.1, 0.3)) * body
    grey += np.float32(rng.uniform(0.5, 1.1)) * halo
    shining = (where.each(rng, 0, 1) > rng.uniform(0.6, 1.2)) & (where.depth > 0.25)
    grey += np.float32(0.45) * shining * where.depth
    grain = grounds.fractal(rng, size, 8)
    grey += mask * grain * np.float32(rng.uniform(0.02, 0.08))
    grey[layout.rims(where.labels)] += np.float32(rng.uniform(0, 0.25))
    light = grounds.illumination(rng, size, rng.uniform(0, 0.3))
    grey = (grey + 0.015 * grounds.fractal(rng, size, size / 3)) * light
    grey = grounds.blur(grey.astype(np.float32), rng.uniform(0.5, 1.3))
    return Scene(grounds.noisy(rng, grey, rng.uniform(0.005, 0.04)), (where.labels,))


def draw_relief(rng: np.random.Generator, size: int) -> Scene:
    """Differential interference contrast: light from one side over the thickness."""
    where = _cells(rng, size)
    thickness = _thickness(rng, where) * np.float32(rng.uniform(4, 10))
    scale = np.clip(where.radius[where.labels] / 14, 0.5, 3)
    lumps = grounds.fractal(rng, size, 6) * (where.labels > 0)
    height = thickness * scale + np.float32(rng.uniform(0.1, 0.6)) * lumps
    nuclei = where.disc(rng, (0.35, 0.5)) > 0
    if rng.random() < 0.5:
        height -= np.float32(rng.uniform(0.4, 1.2)) * nuclei
    soft = float(np.clip(np.median(where.radius[1:]) / 8, 0.8, 1.8))
    height = grounds.blur(height.astype(np.float32), rng.uniform(0.6, soft))
    turn = rng.uniform(0, 2 * np.pi)
    slope_y, slope_x = np.gradient(height)
    slope = np.cos(turn) * slope_x + np.sin(turn) * slope_y
    grey = 0.5 + np.tanh(slope * rng.uniform(0.6, 1.6)) * rng.uniform(0.2, 0.45)
    grey = grey * grounds.illumination(rng, size, rng.uniform(0, 0.3))
    noise = rng.uniform(0.005, 0.04)
    return Scene(grounds.noisy(rng, grey.astype(np.float32), noise), (where.labels,))


def draw_phase_map(rng: np.random.Generator, size: int) -> Scene:
    """Quantitative phase: smooth domes with irregular outlines, low light between."""
    where = _cells(rng, size)
    dome = _thickness(rng, where) * where.each(rng, 0.6, 1.2)
    lumps = grounds.fractal(rng, size, rng.uniform(6, 20))
    dome = dome * (1 + np.float32(rng.uniform(0.05, 0.25)) * lumps)
    if rng.random() < 0.5:
        bump = np.clip(where.disc(rng, (0.3, 0.5), 0.25), 0, 1)
        dome += np.float32(rng.uniform(0.1, 0.5)) * bump
    clouds = rng.uniform(0.005, 0.03) * grounds.fractal(rng, size, size / 3)
    grey: Floats = rng.uniform(0.05, 0.25) + clouds + rng.uniform(0.3, 0.75) * dome
    grey = grounds.blur(grey.astype(np.float32), rng.uniform(0.6, 1.6))
    return Scene(grounds.noisy(rng, grey, rng.uniform(0.003, 0.02)), (where.labels,))


def draw_bright_field(rng: np.random.Generator, size: int) -> Scene:
    """Unstained cells: as bright as the ground, seen by their edge and grains."""
    where = _cells(rng, size)
    mask = (where.labels > 0).astype(np.float32)
    rim = layout.rims(where.labels).astype(np.float32)
    near, far = rng.uniform(0.7, 1.5), rng.uniform(2, 4)
    edge = grounds.blur(mask, near) - grounds.blur(mask, far)
    grey = np.float32(rng.uniform(0.45, 0.75)) + 0 * mask
    grey += np.float32(rng.uniform(0.5, 1.2) * rng.choice([-1, 1])) * edge
    grey -= np.float32(rng.uniform(0.1, 0.5)) * grounds.blur(rim, near)
    grey += mask * np.float32(rng.uniform(-0.06, 0.06))
    grains = grounds.smooth(rng, size, rng.uniform(2, 5)) - 1.5
    dark = mask * np.clip(grains, 0, None)
    grey += np.float32(rng.uniform(-0.3, 0.15)) * dark
    if rng.random() < 0.4:
        nuclei = np.clip(where.disc(rng, (0.3, 0.5)) * 3, 0, 1)
        grey += np.float32(rng.uniform(-0.12, 0.12)) * nuclei
    light = grounds.illumination(rng, size, rng.uniform(0, 0.4))
    grey = grounds.blur((grey * light).astype(np.float32), rng.uniform(0.3, 0.9))
    grey = grounds.noisy(rng, grey, rng.uniform(0.003, 0.03))
    pixels = grey if rng.random() < 0.7 else grounds.ramp(rng, grey)
    return Scene(pixels, (where.labels,))


def _cells(rng: np.random.Generator, size: int) -> Layout:
    """Adherent or floating cells, single, in clumps, or nearly confluent."""
    confluent = rng.random() < 0.35
    shape = rng.choice(["round", "oval", "amoeba", "spindle"])
    spread = Spread(
        radius=grounds.log_uniform(rng, 7, 60),
        sizes=rng.uniform(0.1, 0.35),
        cover=rng.uniform(0.8, 1.4) if confluent else rng.uniform(0.05, 0.5),
        clumped=0.8 if confluent else rng.uniform(0, 0.6),
        closeness=rng.uniform(0.75, 0.95),
        aligned=rng.choice([0.0, 0.8]),
    )

    def outline(r: np.random.Generator) -> outlines.Outline:
        if shape == "round":
            return outlines.blob(r, 0.02, 1.1)
        if shape == "oval":
            return outlines.blob(r, 0.08, 1.8)
        if shape == "amoeba":
            return outlines.amoeba(r)
        reach = outlines.wobbly(r, 0.1)
        return outlines.Star(reach, float(r.uniform(1.3, 1.9)))

    return layout.place(rng, size, outline, spread)


def _thickness(rng: np.random.Generator, where: Layout) -> Floats:
    """Height of domes, 0 at the rim, 1 in the middle; flat or peaked."""
    power = np.float32(grounds.log_uniform(rng, 0.25, 0.8))
    return np.clip(where.depth, 0, 1) ** power
