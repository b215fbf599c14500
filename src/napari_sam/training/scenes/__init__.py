# SPDX-License-Identifier: Apache-2.0
"""Drawn pictures of many kinds with exact truth.

They keep a model trained on a few microscopy sets from believing that every object is
a nucleus. One file for each family; ``FAMILIES`` says how often each is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import SettingsError
from napari_sam.training.dataset import LabelledImage
from napari_sam.training.scenes import (
    contrasts,
    flat,
    fluorescence,
    lines,
    membranes,
    nested,
    particles,
    photos,
    stains,
    textures,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam.training.scenes.grounds import Ints
    from napari_sam.training.scenes.scene import Scene

FAMILIES: dict[str, tuple[Callable[[np.random.Generator, int], Scene], float]] = {
    "shapes": (flat.draw_shapes, 0.12),
    "holes": (flat.draw_holes, 0.05),
    "large": (flat.draw_large, 0.08),
    "textures": (textures.draw_texture_scene, 0.06),
    "filaments": (lines.draw_filaments, 0.05),
    "rods": (lines.draw_rods, 0.08),
    "nested": (nested.draw_nested, 0.09),
    "phase contrast": (contrasts.draw_phase_contrast, 0.07),
    "bright field": (contrasts.draw_bright_field, 0.05),
    "relief": (contrasts.draw_relief, 0.05),
    "phase map": (contrasts.draw_phase_map, 0.07),
    "membranes": (membranes.draw_membranes, 0.07),
    "axons": (membranes.draw_axons, 0.05),
    "tissue": (stains.draw_tissue, 0.07),
    "smear": (stains.draw_smear, 0.06),
    "fluorescence": (fluorescence.draw_fluorescence, 0.07),
    "particles": (particles.draw_particles, 0.06),
    "collage": (photos.draw_collage, 0.05),
    "cuttings": (photos.draw_cuttings, 0.06),
}
USUAL_LEVEL_SHARE = 0.7
MIN_SIZE = 32


@dataclass(frozen=True, slots=True, eq=False)
class DrawnImage(LabelledImage):
    """A drawn image; ``levels`` are its labels (S, S) from parts to groups."""

    levels: tuple[Ints, ...] = ()


def draw_scene(
    rng: np.random.Generator, size: int = 384, family: str | None = None
) -> DrawnImage:
    """Draw one picture (size, size) or (size, size, 3) uint8 with its labels.

    ``family`` is a key of ``FAMILIES``; without it one is chosen by their weights. The
    labels are one level of the scene: mostly the one that people would label.

    Raises
    ------
    SettingsError
        If ``size`` is below ``MIN_SIZE``, where objects would have no room.
    """
    if size < MIN_SIZE:
        msg = f"Scenes are drawn from {MIN_SIZE} pixels on; {size} were asked for."
        raise SettingsError(msg)
    while True:
        name = family or _choose(rng)
        scene = FAMILIES[name][0](rng, size)
        filled = [i for i, labels in enumerate(scene.levels) if labels.any()]
        if filled:
            break
    level = scene.usual
    if level not in filled or rng.random() > USUAL_LEVEL_SHARE:
        level = int(rng.choice(filled))
    pixels = (np.clip(scene.pixels, 0, 1) * 255 + 0.5).astype(np.uint8)
    return DrawnImage("drawn", "drawn", pixels, scene.levels[level], scene.levels)


def _choose(rng: np.random.Generator) -> str:
    weights = np.array([weight for _, weight in FAMILIES.values()])
    return list(FAMILIES)[int(rng.choice(len(weights), p=weights / weights.sum()))]
