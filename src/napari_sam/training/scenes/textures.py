# SPDX-License-Identifier: Apache-2.0
"""Objects that differ from their ground by texture only, not by mean or spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam.training.scenes import grounds, layout, outlines
from napari_sam.training.scenes.layout import Spread
from napari_sam.training.scenes.scene import Scene

if TYPE_CHECKING:
    from napari_sam.training.scenes.grounds import Floats


def draw_texture_scene(rng: np.random.Generator, size: int) -> Scene:
    """Patches of other textures; the grain stays well below the objects' size."""
    radius = grounds.log_uniform(rng, 16, size / 3)
    spread = Spread(
        radius=radius,
        sizes=0.25,
        cover=rng.uniform(0.15, 0.6),
        closeness=rng.uniform(0.75, 1.0),
        apart=rng.random() < 0.7,  # nobody sees a seam between equal textures
        most=25,
    )
    where = layout.place(rng, size, outlines.anything, spread)
    grain = grounds.log_uniform(rng, 1.5, radius / 10)
    ground, kind = _texture(rng, size, grain, -1)
    coarse = grain * rng.choice([1.0, 2.5])
    texture, kind = _texture(rng, size, coarse, kind)
    other, _ = _texture(rng, size, coarse, kind)
    # Half the objects have the one texture, half the other, in some scenes.
    two = rng.random() < 0.3
    second = where.each(rng, 0, 1) > (0.5 if two else 2)
    grey = np.where(second, other, texture)
    grey = np.where(where.labels > 0, grey, ground) * np.float32(rng.uniform(0.1, 0.2))
    grey += np.float32(rng.uniform(0.35, 0.65))
    grey += where.each(rng, -1, 1) * np.float32(rng.choice([0.0, 0.0, 0.06]))
    grey *= grounds.illumination(rng, size, rng.uniform(0, 0.3))
    grey = grounds.blur(grey.astype(np.float32), rng.choice([0.0, 0.5]))
    grey = grounds.noisy(rng, grey, rng.uniform(0, 0.02))
    pixels = grey if rng.random() < 0.5 else grounds.ramp(rng, grey)
    return Scene(pixels, (where.labels,))


def _texture(
    rng: np.random.Generator, size: int, grain: float, unlike: int
) -> tuple[Floats, int]:
    """Draw a texture of mean 0 and deviation 1, of another kind than ``unlike``."""
    kind = int(rng.choice([k for k in range(5) if k != unlike]))
    if kind == 0:
        field = grounds.smooth(rng, size, grain)
    elif kind == 1:
        field = grounds.stripes(rng, size, 3 * grain)
    elif kind == 2:
        field = grounds.dots(rng, size, 4 * grain)
    elif kind == 3:
        field = grounds.fibres(rng, size, 0.4 * grain)
    else:
        field = np.zeros((size, size), np.float32)
    field = field - field.mean()
    return field / np.float32(field.std() + 1e-2), kind
