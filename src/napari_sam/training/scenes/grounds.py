# SPDX-License-Identifier: Apache-2.0
"""What pictures are made of: smooth noise, textures, colours, quick blur.

Arrays are float32 of shape (S, S) unless said otherwise.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform; ``low`` if ``high`` is smaller."""
    return float(np.exp(rng.uniform(np.log(low), np.log(max(low, high)))))


def resize(image: Floats, size: int) -> Floats:
    """Resize to (size, size), smoothly; averages where it shrinks."""
    out = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    return np.array(out, np.float32)


def blur(image: Floats, sigma: float) -> Floats:
    """Gaussian blur of (H, W) or (S, S, 3); wide ones on a smaller picture."""
    if sigma < 0.2:
        return image
    if image.ndim == 3:
        planes = [blur(np.ascontiguousarray(image[..., c]), sigma) for c in range(3)]
        return np.stack(planes, axis=2)
    shrink = min(16, int(sigma / 1.5))
    size = image.shape[0]
    if shrink < 2 or size < 8 * shrink:
        out = ndimage.gaussian_filter(image, sigma, truncate=2.5, mode="nearest")
        return np.asarray(out, np.float32)
    small = resize(image, math.ceil(size / shrink))
    out = ndimage.gaussian_filter(small, sigma / shrink, truncate=2.5, mode="nearest")
    return resize(out, size)


@lru_cache(maxsize=1)
def _noise_bank() -> Floats:
    return np.random.default_rng(0).standard_normal((1024, 1024), dtype=np.float32)


def white(rng: np.random.Generator, size: int) -> Floats:
    """Independent normal noise: a random window of one large field, which is quick."""
    if size > 1000:
        return rng.standard_normal((size, size), dtype=np.float32)
    y, x, turns = rng.integers(0, (1024 - size, 1024 - size, 4))
    return np.rot90(_noise_bank()[y : y + size, x : x + size], int(turns)).copy()


def smooth(rng: np.random.Generator, size: int, grain: float) -> Floats:
    """Noise of mean 0 and standard deviation 1 that varies over ``grain`` pixels."""
    n = max(4, math.ceil(size / grain) + 1)
    if n >= size:
        return white(rng, size)
    field = resize(white(rng, n), size)
    field -= field.mean()
    return field / np.float32(field.std() + 1e-6)


def fractal(
    rng: np.random.Generator, size: int, coarse: float, fine: float = 2.0
) -> Floats:
    """Noise on all lengths from ``coarse`` to ``fine`` pixels, the long ones strong."""
    fade, strength = rng.uniform(0.45, 0.75), 1.0
    # Each octave is added where it needs fewest pixels, then all are enlarged.
    n = max(4, math.ceil(size / coarse) + 1)
    total = white(rng, n)
    while 2 * n <= size / fine:
        n *= 2
        strength *= fade
        total = resize(total, n) + white(rng, n) * np.float32(strength)
    total = resize(total, size)
    total -= total.mean()
    return total / np.float32(total.std() + 1e-6)


def stripes(rng: np.random.Generator, size: int, period: float) -> Floats:
    """Wavy stripes, unit deviation."""
    y, x = plane(size)
    turn = rng.uniform(0, np.pi)
    phase = (np.cos(turn) * x + np.sin(turn) * y) * np.float32(2 * np.pi / period)
    phase += np.float32(rng.uniform(0, 1.5)) * smooth(rng, size, 6 * period)
    return np.asarray(np.sin(phase) * np.float32(1.4))


def fibres(rng: np.random.Generator, size: int, width: float) -> Floats:
    """Thin bent ridges, 0 between them, 1 on them."""
    field = fractal(rng, size, 12 * width, 3 * width)
    return np.asarray(np.exp(-((field / np.float32(0.25)) ** 2)))


def dots(rng: np.random.Generator, size: int, spacing: float) -> Floats:
    """Bumps on a shaken grid, unit deviation."""
    y, x = plane(size)
    step = np.float32(2 * np.pi / spacing)
    shift = np.float32(rng.uniform(0, 1.2))
    dy, dx = smooth(rng, size, 2 * spacing), smooth(rng, size, 2 * spacing)
    out = np.sin(y * step + shift * dy) * np.sin(x * step + shift * dx)
    return np.asarray(2 * out)


def plane(size: int) -> tuple[Floats, Floats]:
    """Rows (S, 1) and columns (1, S) of the picture."""
    line = np.arange(size, dtype=np.float32)
    return line[:, None], line[None]


def illumination(rng: np.random.Generator, size: int, strength: float) -> Floats:
    """Factor around 1: a slope and a soft spot, as lamps give."""
    y, x = plane(size)
    y, x = y / size - 0.5, x / size - 0.5
    slope = rng.normal(0, 0.5, 2)
    spot = rng.uniform(-0.5, 0.5, 2)
    far = (y - np.float32(spot[0])) ** 2 + (x - np.float32(spot[1])) ** 2
    out = 1 + strength * (slope[0] * y + slope[1] * x - rng.uniform(0, 1.2) * far)
    return np.asarray(np.maximum(out, 0.05), np.float32)


def colour(rng: np.random.Generator) -> Floats:
    """Any RGB colour (3,), greys half the time."""
    if rng.random() < 0.5:
        return np.full(3, rng.random(), np.float32)
    return rng.random(3, dtype=np.float32)


def unlike(rng: np.random.Generator, other: Floats, contrast: float) -> Floats:
    """Draw a colour (3,) that differs from ``other`` by ``contrast`` or more."""
    best, best_distance = other, 0.0
    for _ in range(20):
        candidate = colour(rng)
        distance = float(np.abs(candidate - other).max())
        if contrast <= distance <= contrast + 0.3:
            return candidate
        if distance > best_distance:
            best, best_distance = candidate, distance
    return best


def ramp(rng: np.random.Generator, grey: Floats) -> Floats:
    """Colour a picture 0..1 by a ramp of three colours: (S, S, 3)."""
    dark, light = colour(rng) * 0.35, 0.6 + 0.4 * colour(rng)
    middle = (dark + light) / 2 + rng.normal(0, 0.1, 3)
    stops = np.stack([dark, middle, light])
    at = np.linspace(0, 1, 256)
    table = np.stack([np.interp(at, (0, 0.5, 1), stops[:, c]) for c in range(3)], 1)
    index = (np.clip(grey, 0, 1) * 255).astype(np.uint8)
    return table.astype(np.float32)[index]


def noisy(rng: np.random.Generator, image: Floats, amount: float) -> Floats:
    """Add the same camera noise to all channels; grains of one or two pixels."""
    noise = white(rng, image.shape[0]) * np.float32(amount)
    if rng.random() < 0.3:
        noise = ndimage.uniform_filter(noise, 2) * np.float32(2)
    return image + (noise if image.ndim == 2 else noise[..., None])
