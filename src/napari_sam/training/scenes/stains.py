# SPDX-License-Identifier: Apache-2.0
"""Stained tissue and smears: colours by absorbed light, as in a microscope."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam.training.scenes import grounds, layout, outlines
from napari_sam.training.scenes.layout import Spread
from napari_sam.training.scenes.scene import Scene

if TYPE_CHECKING:
    from napari_sam.training.scenes.grounds import Floats

# Absorbance of red, green and blue; Ruifrok and Johnston 2001, table 1.
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29], np.float32)
EOSIN = np.array([0.07, 0.99, 0.11], np.float32)
DAB = np.array([0.27, 0.57, 0.78], np.float32)


def draw_tissue(rng: np.random.Generator, size: int) -> Scene:
    """Pink fibrous ground with purple nuclei of varied depth, some touching."""
    spread = Spread(
        radius=grounds.log_uniform(rng, 4.5, 34),
        sizes=rng.uniform(0.15, 0.35),
        cover=rng.uniform(0.08, 0.7),
        clumped=rng.uniform(0.1, 0.8),
        closeness=rng.uniform(0.75, 1.05),
        aligned=rng.choice([0.0, 0.0, 0.8]),
    )
    longer = rng.uniform(1.2, 2.5)
    where = layout.place(rng, size, lambda r: outlines.blob(r, 0.06, longer), spread)
    pink = _ground(rng, size)
    nuclei = where.labels > 0
    depth = where.each(rng, rng.uniform(0.35, 0.7), rng.uniform(0.8, 1.4))
    grain = grounds.fractal(rng, size, max(3, spread.radius / 2), 1.5)
    depth = depth * (1 + np.float32(rng.uniform(0.05, 0.3)) * grain)
    if rng.random() < 0.5:  # pale nuclei with a dark rim and a nucleolus
        depth *= np.where(where.depth_px() < 1.8, np.float32(1.3), np.float32(0.8))
        depth += 0.4 * (where.disc(rng, (0.12, 0.22), 0.3) > 0)
    purple = np.where(nuclei, depth, 0.0).astype(np.float32)
    purple += np.float32(rng.uniform(0, 0.15)) * np.clip(
        grounds.fractal(rng, size, 30), 0, None
    )
    stain = EOSIN if rng.random() < 0.75 else DAB
    pink *= np.where(nuclei, np.float32(0.6), np.float32(1))
    pixels = _transmit(rng, [(purple, HAEMATOXYLIN), (pink, stain)])
    pixels = grounds.blur(pixels, rng.uniform(0.3, 1.3))
    return Scene(grounds.noisy(rng, pixels, rng.uniform(0, 0.03)), (where.labels,))


def _ground(rng: np.random.Generator, size: int) -> Floats:
    """Depth of the counterstain: clouds, fibres, empty spaces."""
    pink = np.float32(rng.uniform(0.15, 0.5)) + np.float32(
        rng.uniform(0.02, 0.1)
    ) * grounds.fractal(rng, size, rng.uniform(20, 150))
    if rng.random() < 0.6:
        strands = grounds.fibres(rng, size, rng.uniform(1.5, 6))
        pink += np.float32(rng.uniform(0.05, 0.35)) * strands
    if rng.random() < 0.4:
        empty = grounds.smooth(rng, size, rng.uniform(30, 120)) > rng.uniform(0.8, 1.6)
        pink = np.where(empty, np.float32(0.03), pink)
    return np.asarray(np.clip(pink, 0.0, None), np.float32)


def _transmit(rng: np.random.Generator, stains: list[tuple[Floats, Floats]]) -> Floats:
    """Light (S, S, 3) that passes the stains; their colours vary from lab to lab."""
    colours = np.stack([stain for _, stain in stains])
    colours = np.clip(colours + rng.normal(0, 0.08, colours.shape), 0.01, None)
    depths = np.stack([depth for depth, _ in stains], axis=2).astype(np.float32)
    lamp = rng.uniform(0.85, 1.0) + rng.normal(0, 0.02, 3)
    light = np.exp(depths @ -colours.astype(np.float32))
    return np.asarray(light * lamp.astype(np.float32))


def draw_smear(rng: np.random.Generator, size: int) -> Scene:
    """Bright field: pale discs, and larger cells with dark, often lobed nuclei."""
    spread = Spread(
        radius=grounds.log_uniform(rng, 8, 70),
        sizes=rng.uniform(0.08, 0.25),
        cover=rng.uniform(0.1, 0.7),
        clumped=rng.uniform(0, 0.7),
        closeness=rng.uniform(0.85, 1.05),
    )
    where = layout.place(rng, size, lambda r: outlines.blob(r, 0.05, 1.3), spread)
    inside = where.labels > 0
    share = rng.choice([0.15, 0.5, 1.0])
    nucleated = where.each(rng, 0, 1, 2.0) < share
    lobes = where.disc(rng, (0.35, 0.6), 0.25) > 0
    for _ in range(int(rng.integers(0, 3))):
        lobes |= where.disc(rng, (0.25, 0.4), 0.35) > 0
    nuclei = where.only(lobes & nucleated & (where.depth_px() > 1.5))
    body = where.each(rng, 0.15, 0.4)
    if rng.random() < 0.5:  # red cells are thin in the middle
        thin = np.clip(where.depth - 0.35, 0, 1) * np.float32(1.2)
        body *= np.where(nucleated, np.float32(1), 1 - thin)
    body = np.where(inside, body, np.float32(0.02))
    body += np.float32(0.01) * grounds.fractal(rng, size, size / 3)
    grain = grounds.fractal(rng, size, max(3, spread.radius / 3), 1.5)
    dark = where.each(rng, 0.6, 1.3) * (1 + 0.2 * grain) * (nuclei > 0)
    body[layout.rims(where.labels)] += np.float32(rng.uniform(0.05, 0.2))
    # Any pair of stains: their colours go from pink and blue to brown.
    tint = (EOSIN + rng.uniform(0, 0.6) * (HAEMATOXYLIN + DAB)).astype(np.float32)
    stains = [(body.astype(np.float32), tint), (dark.astype(np.float32), HAEMATOXYLIN)]
    pixels = _transmit(rng, stains)
    pixels = grounds.blur(pixels, rng.uniform(0.3, 1.2))
    pixels = grounds.noisy(rng, pixels, rng.uniform(0, 0.03))
    if rng.random() < 0.3:
        pixels = pixels.mean(axis=2)
    usual = 1 if share < 1 or rng.random() < 0.4 else 0
    return Scene(pixels, (nuclei, where.labels), usual)
