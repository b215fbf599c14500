# SPDX-License-Identifier: Apache-2.0
"""Drawn pictures with exact truth: shapes of many kinds on textured ground.

They keep a model trained on a few microscopy sets from believing that every object is a
nucleus.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage import draw

from napari_sam.training.dataset import LabelledImage

FloatArray = npt.NDArray[np.floating]


def draw_scene(rng: np.random.Generator, size: int = 384) -> LabelledImage:
    """Draw one RGB picture (size, size, 3) uint8 with 4 to 40 objects."""
    canvas = _texture(rng, size)
    labels = np.zeros((size, size), np.int32)
    typical = float(np.exp(rng.uniform(np.log(6), np.log(size / 5))))
    n_objects = int(np.clip(0.4 * (size / typical) ** 2 / 4, 4, 40))
    look = _look(rng)
    for label in range(1, n_objects + 1):
        radius = typical * float(np.exp(rng.normal(0, 0.3)))
        mask = _shape(rng, size, radius)
        _paint(canvas, mask, look, rng)
        labels[mask] = label
    blur = float(rng.choice([0.0, 0.7, 1.5]))
    if blur:
        canvas = ndimage.gaussian_filter(canvas, (blur, blur, 0))
    canvas = canvas + rng.normal(0, rng.uniform(0, 0.05), canvas.shape)
    pixels = (np.clip(canvas, 0, 1) * 255).astype(np.uint8)
    return LabelledImage("drawn", "drawn", pixels, labels)


def _texture(rng: np.random.Generator, size: int) -> FloatArray:
    colour = rng.random(3) if rng.random() < 0.5 else np.repeat(rng.random(), 3)
    grain = ndimage.gaussian_filter(
        rng.normal(0, 1, (size, size)), float(np.exp(rng.uniform(0, 3)))
    )
    grain *= rng.uniform(0, 0.15) / (grain.std() + 1e-9)
    return np.asarray(colour[None, None] + grain[..., None])


def _look(rng: np.random.Generator) -> dict[str, FloatArray | float]:
    """Choose what the objects of one scene have in common."""
    return {
        "colour": rng.random(3) if rng.random() < 0.5 else np.repeat(rng.random(), 3),
        "spread": rng.choice([0.03, 0.1, 0.4]),
        "rim": rng.choice([0.0, 0.0, -0.4, 0.4]),
        "fill": rng.choice([1.0, 1.0, 0.15]),  # sometimes only a rim
        "grain": rng.uniform(0, 0.2),
    }


def _shape(rng: np.random.Generator, size: int, radius: float) -> npt.NDArray[np.bool_]:
    """Fill an ellipse, a wobbly blob, a bar or a polygon."""
    centre = rng.uniform(0, size, 2)
    n = 48 if rng.random() < 0.75 else int(rng.integers(3, 7))
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    reach = np.full(n, radius)
    if n == 48:
        for order in (2, 3, 5):
            reach *= 1 + rng.uniform(0, 0.25) / order * np.cos(
                order * angles + rng.uniform(0, 2 * np.pi)
            )
    stretch = float(np.exp(rng.uniform(0, 1.2))) if rng.random() < 0.5 else 1.0
    local = np.stack(
        [reach * np.sin(angles) * stretch, reach * np.cos(angles) / stretch]
    )
    turn = rng.uniform(0, np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    rows, columns = (rotation @ local) + centre[:, None]
    return np.asarray(draw.polygon2mask((size, size), np.stack([rows, columns], 1)))


def _paint(
    canvas: FloatArray,
    mask: npt.NDArray[np.bool_],
    look: dict[str, FloatArray | float],
    rng: np.random.Generator,
) -> None:
    if not mask.any():
        return
    rows, columns = np.nonzero(mask)
    window = (
        slice(rows.min(), rows.max() + 1),
        slice(columns.min(), columns.max() + 1),
    )
    part = mask[window]
    colour = look["colour"] + look["spread"] * rng.normal(0, 1, 3)
    grain = look["grain"] * ndimage.gaussian_filter(rng.normal(0, 1, part.shape), 1.0)
    filled = colour + grain[..., None]
    alpha = look["fill"] * part
    rim = part & ~ndimage.binary_erosion(part, iterations=2)
    out = canvas[window] * (1 - alpha[..., None]) + filled * alpha[..., None]
    out[rim] += look["rim"]
    canvas[window] = out
