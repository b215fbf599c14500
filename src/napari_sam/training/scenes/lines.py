# SPDX-License-Identifier: Apache-2.0
"""Filaments, tubes, bars; rods as bacteria, single and in dense colonies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from napari_sam.training.scenes import grounds, layout, outlines
from napari_sam.training.scenes.layout import MIN_PX, Spread
from napari_sam.training.scenes.scene import Scene

if TYPE_CHECKING:
    from napari_sam.training.scenes.grounds import Bools, Floats, Ints


def draw_filaments(rng: np.random.Generator, size: int) -> Scene:
    """Long bent lines or tubes that cross; a crossed one may be seen in two pieces."""
    width = grounds.log_uniform(rng, 3, min(40, size / 8))
    count = int(rng.integers(2, 4 + int(min(14, 120 / width))))
    labels, depth = _crossing_lines(rng, size, count, width)
    labels, kept = _without_hidden(labels)
    depth = np.where(kept, depth, 0).astype(np.float32)
    amounts = rng.uniform(0.5, 1.0, count + 1).astype(np.float32)
    amounts[0] = 0
    amount = amounts[labels]
    walls = rng.random() < 0.25  # tubes: bright walls, or a bright core
    profile = np.where(walls, 1.15 - depth, 0.45 + 0.55 * depth)
    grey = amount * profile.astype(np.float32) * np.float32(rng.uniform(0.3, 0.65))
    grey *= 1 + np.float32(rng.uniform(0, 0.2)) * grounds.smooth(rng, size, 3)
    if rng.random() < 0.5:
        grey[layout.rims(labels)] -= np.float32(rng.uniform(0.1, 0.3))
    clouds = grounds.fractal(rng, size, size / 4)
    grey += np.float32(rng.uniform(0.05, 0.35)) + np.float32(0.03) * clouds
    grey = grounds.blur(grey, rng.uniform(0, 1.0))
    grey = grounds.noisy(rng, grey, rng.uniform(0, 0.06))
    if rng.random() < 0.4:
        grey = 1 - grey
    return Scene(grey if rng.random() < 0.5 else grounds.ramp(rng, grey), (labels,))


def _crossing_lines(
    rng: np.random.Generator, size: int, count: int, width: float
) -> tuple[Ints, Floats]:
    """Labels, and depth in steps: 1 in the core, down to 0.25 at the wall."""
    labels, depth = Image.new("I", (size, size)), Image.new("F", (size, size))
    on_labels, on_depth = ImageDraw.Draw(labels), ImageDraw.Draw(depth)
    curl = rng.uniform(0.01, 0.25) * min(1.0, 8 / width)  # no tighter than it is wide
    straight = rng.random() < 0.3
    for label in range(1, count + 1):
        points = _walk(rng, size, 0.0 if straight else curl)
        own = width * float(np.exp(rng.normal(0, 0.15)))
        on_labels.line(points, fill=label, width=max(3, round(own)), joint="curve")
        for share in (1.0, 0.75, 0.5, 0.25):
            thick = max(1 if share < 1 else 3, round(own * share))
            on_depth.line(points, fill=1.25 - share, width=thick, joint="curve")
    return np.array(labels, np.int32), np.array(depth, np.float32)


def _walk(
    rng: np.random.Generator, size: int, curl: float
) -> list[tuple[float, float]]:
    """Draw a bent path through the picture, steps of 6 pixels."""
    steps = int(rng.uniform(0.15, 1.2) * size / 6) + 2
    bends = np.cumsum(rng.normal(0, curl, steps)) * 0.3 + rng.normal(0, curl, steps) / 4
    angles = rng.uniform(0, 2 * np.pi) + np.cumsum(bends)
    path = np.cumsum(6 * np.stack([np.cos(angles), np.sin(angles)], 1), axis=0)
    path += rng.uniform(0.1, 0.9, 2) * size - path[len(path) // 2]
    return [(float(x), float(y)) for x, y in path]


def _without_hidden(labels: Ints) -> tuple[Ints, Bools]:
    """Drop lines of which next to nothing is seen."""
    counts = np.bincount(labels.ravel())
    kept = (counts >= MIN_PX)[labels]
    return np.where(kept, labels, 0).astype(np.int32), kept & (labels > 0)


def draw_rods(rng: np.random.Generator, size: int) -> Scene:
    """Rod-like bacteria: scattered or a dense colony; bright, dark or with halos."""
    dense = rng.random() < 0.5
    radius = grounds.log_uniform(rng, 6, 40)
    aspect = rng.uniform(2, 5)
    spread = Spread(
        radius=radius,
        sizes=0.2,
        cover=rng.uniform(1.2, 2.5) if dense else rng.uniform(0.05, 0.5),
        clumped=0.97 if dense else 0.3,
        closeness=rng.uniform(1.0, 1.15) / aspect if dense else 0.5,
        seen=0.9 if dense else 0.7,
        aligned=rng.uniform(0.85, 0.98) if dense else 0.0,
        elongated=aspect if dense else 1.0,
        most=110,
    )
    bend = rng.choice([0.03, 0.15])
    where = layout.place(
        rng,
        size,
        lambda r: outlines.Rod(aspect * r.uniform(0.85, 1.3), r.normal(0, bend)),
        spread,
    )
    body = where.each(rng, 0.7, 1.1)
    body *= 1 - np.float32(rng.uniform(0.1, 0.6)) * (1 - where.depth)
    body[layout.rims(where.labels)] *= np.float32(rng.uniform(0, 0.7))
    grey = body.astype(np.float32) * np.float32(rng.uniform(0.3, 0.6))
    style = rng.integers(3)
    if style == 0:  # phase contrast: dark body, bright halo around the colony
        mask = (where.labels > 0).astype(np.float32)
        halo = grounds.blur(mask, rng.uniform(3, 8)) * (1 - mask)
        grey = 0.45 - grey + np.float32(rng.uniform(0.4, 0.9)) * halo
    elif style == 1:
        grey = 0.75 - grey
    grey = grey + np.float32(0.1) + 0.03 * grounds.fractal(rng, size, size / 3)
    grey = grounds.blur(grey.astype(np.float32), rng.uniform(0.4, 1.1))
    grey = grounds.noisy(rng, grey, rng.uniform(0, 0.05))
    return Scene(grey, (where.labels, layout.groups(where.labels)))
