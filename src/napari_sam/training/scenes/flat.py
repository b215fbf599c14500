# SPDX-License-Identifier: Apache-2.0
"""Shapes of any kind on any ground: filled, only a rim, with holes, large ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam.training.scenes import grounds, layout, outlines
from napari_sam.training.scenes.layout import Layout, Spread
from napari_sam.training.scenes.scene import Scene

if TYPE_CHECKING:
    from napari_sam.training.scenes.grounds import Floats


def draw_shapes(rng: np.random.Generator, size: int) -> Scene:
    """Any shapes of any colours, from a few pixels to half the picture."""
    spread = Spread(
        radius=grounds.log_uniform(rng, 4.5, size / 4),
        sizes=rng.choice([0.1, 0.3, 0.6]),
        cover=rng.uniform(0.05, 0.6),
        clumped=rng.choice([0.0, 0.5]),
        closeness=rng.uniform(0.6, 1.0),
        apart=rng.random() < 0.2,
        aligned=rng.choice([0.0, 0.9]),
    )
    same = rng.random() < 0.5
    kind = outlines.anything(rng)
    where = layout.place(
        rng, size, lambda r: kind if same else outlines.anything(r), spread
    )
    ground = grounds.colour(rng)
    pixels = _textured(rng, ground, size)
    pixels = _fill(rng, where, ground, pixels)
    pixels = grounds.blur(pixels, rng.choice([0.0, 0.5, 0.8, 1.3]))
    return Scene(grounds.noisy(rng, pixels, rng.uniform(0, 0.04)), (where.labels,))


def _textured(rng: np.random.Generator, ground: Floats, size: int) -> Floats:
    grain = grounds.fractal(rng, size, grounds.log_uniform(rng, 4, size / 2))
    return ground + (grain * np.float32(rng.uniform(0, 0.1)))[..., None]


def _fill(
    rng: np.random.Generator, where: Layout, ground: Floats, pixels: Floats
) -> Floats:
    """Paint the objects: colour, grain, rim, shading towards the middle."""
    count, size = where.count, len(pixels)
    colours = grounds.unlike(rng, ground, rng.uniform(0.12, 0.5)) + rng.choice(
        [0.02, 0.08]
    ) * rng.normal(0, 1, (count + 1, 3))
    if rng.random() < 0.25:  # every object its own colour
        colours[1:] = [grounds.unlike(rng, ground, 0.2) for _ in range(count)]
    filled = colours.astype(np.float32)[where.labels]
    grain = rng.uniform(0, 0.12) * grounds.smooth(rng, size, rng.uniform(1, 6))
    shade = np.float32(rng.choice([0.0, 0.0, 0.25, -0.25])) * where.depth
    filled += (grain.astype(np.float32) + shade)[..., None]
    alpha = (where.labels > 0).astype(np.float32)
    if rng.random() < 0.2:  # only a rim is seen
        alpha *= np.where(where.depth_px() < rng.uniform(2, 4), 1, rng.uniform(0, 0.2))
    out = pixels + (filled - pixels) * alpha[..., None].astype(np.float32)
    if rng.random() < 0.35:
        rim = layout.rims(where.labels)
        out[rim] += np.float32(rng.choice([-0.35, 0.35]))
    return np.asarray(out)


def draw_holes(rng: np.random.Generator, size: int) -> Scene:
    """Rings, washers, cells with vacuoles: what shows through belongs to no object."""
    spread = Spread(
        radius=grounds.log_uniform(rng, 11, size / 4),
        sizes=0.3,
        cover=rng.uniform(0.1, 0.5),
        closeness=rng.uniform(0.7, 1.0),
    )
    wobble = rng.choice([0.03, 0.12])
    where = layout.place(rng, size, lambda r: outlines.blob(r, wobble, 1.5), spread)
    holes = where.disc(rng, (0.25, 0.65), 0.15) > 0
    if rng.random() < 0.3:
        holes |= where.disc(rng, (0.12, 0.3), 0.5) > 0
    holes &= where.depth_px() > 2.5
    solid = where.only(~holes)
    where.depth[solid == 0] = 0  # else the rim of a dropped crumb would be painted
    rings = Layout(solid, where.depth, where.u, where.v, where.radius)
    ground = grounds.colour(rng)
    pixels = _fill(rng, rings, ground, _textured(rng, ground, size))
    pixels = grounds.blur(pixels, rng.uniform(0, 1.2))
    return Scene(grounds.noisy(rng, pixels, rng.uniform(0, 0.04)), (solid,))


def draw_large(rng: np.random.Generator, size: int) -> Scene:
    """One to five large smooth objects on a slope of light, often cut by the border."""
    spread = Spread(
        radius=size * grounds.log_uniform(rng, 0.13, 0.5),
        sizes=0.25,
        cover=rng.uniform(0.3, 0.9),
        closeness=rng.uniform(0.6, 1.0),
        most=5,
    )
    where = layout.place(
        rng, size, lambda r: outlines.blob(r, r.uniform(0.02, 0.2), 1.8), spread
    )
    inside = where.labels > 0
    light = grounds.illumination(rng, size, rng.uniform(0.2, 0.8))
    ground, step = rng.uniform(0.2, 0.7), rng.uniform(0.12, 0.4)
    step *= rng.choice([-1, 1])
    level = where.each(rng, 0.7, 1.2) * np.float32(step)
    dome = np.where(inside, np.sqrt(np.clip(where.depth, 0, 1)), 0)
    grey: Floats = np.float32(ground) + level * (1 - rng.uniform(0, 0.5) * (1 - dome))
    texture = grounds.fractal(rng, size, size / rng.uniform(2, 20))
    other = grounds.fractal(rng, size, size / rng.uniform(2, 20))
    grey += np.where(inside, texture, other) * np.float32(rng.uniform(0, 0.06))
    outer = rng.random() < 0.4
    seams = layout.rims(where.labels) if outer else layout.seams(where.labels)
    grey[seams] += np.float32(rng.uniform(0.12, 0.3) * rng.choice([-1, 1]))
    grey = grounds.blur((grey * light).astype(np.float32), rng.uniform(0.5, 3.0))
    grey = grounds.noisy(rng, grey, rng.uniform(0, 0.05))
    pixels = grey if rng.random() < 0.5 else grounds.ramp(rng, grey)
    return Scene(pixels, (where.labels,))
