# SPDX-License-Identifier: Apache-2.0
"""The same picture as other microscopes, stains, cameras and files would show it.

Every change has a modest chance and a strength at which objects stay visible. Pictures
are float32 (H, W, 3), 0..1; labels never change.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = npt.NDArray[np.floating]

# Absorbance of red, green, blue by haematoxylin, eosin and DAB, unit rows; Ruifrok and
# Johnston 2001, as in skimage.color.rgb_from_hed.
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
MIN_SPREAD = 0.06  # standard deviation that a change of tone has to leave


def vary_looks(
    unit: npt.NDArray[np.float32], rng: np.random.Generator, strength: float = 1.0
) -> npt.NDArray[np.float32]:
    """Change colour, tone, light, sharpness and noise of a picture (H, W, 3), 0..1.

    The order is that of nature: object and stain, lamp, optics, camera, file. Chances
    are multiplied by ``strength``; 0 changes nothing.
    """
    out: Floats = unit
    for change, chance in CHANGES:
        if rng.random() < strength * chance:
            out = np.clip(change(out, rng), 0, 1)
    return np.ascontiguousarray(out, np.float32)


def _grey(unit: Floats, rng: np.random.Generator) -> Floats:
    weights = rng.dirichlet((3, 3, 3)).astype(np.float32)
    return np.repeat((unit @ weights)[..., None], 3, axis=2)


def _permute(unit: Floats, rng: np.random.Generator) -> Floats:
    return unit[..., rng.permutation(3)]


def _tint(unit: Floats, rng: np.random.Generator) -> Floats:
    return unit * rng.uniform(0.5, 1.0, 3).astype(np.float32)


def _invert(unit: Floats, _: np.random.Generator) -> Floats:
    return 1 - unit


def _restain(unit: Floats, rng: np.random.Generator) -> Floats:
    """Make each stain weaker or stronger in optical density (Tellez et al. 2018).

    Greys stay greys: only their strength changes, by the same factor for all channels.
    """
    density = -np.log(np.clip(unit, 1 / 255, 1))
    if not np.ptp(unit, axis=2).any():
        return np.asarray(np.exp(-density * np.float32(rng.uniform(0.7, 1.3))))
    rows = STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True)
    strength = np.diag(rng.uniform(0.65, 1.35, 3))
    change = np.linalg.inv(rows) @ strength @ rows
    density = np.clip(density @ change.astype(np.float32), 0, None)
    return np.asarray(np.exp(-density))


def _gamma(unit: Floats, rng: np.random.Generator) -> Floats:
    changed = unit ** np.float32(np.exp(rng.uniform(-0.6, 0.6)))
    return _keep_spread(unit, changed)


def _contrast(unit: Floats, rng: np.random.Generator) -> Floats:
    """Less or more, with any offset at which both ends lie nearly within the range."""
    low, high = np.percentile(unit[::4, ::4], (2, 98))
    gain = rng.uniform(0.5, 1.2)
    bounds = -0.03 - gain * low, 1.03 - gain * high  # crossed if the gain is large
    offset = rng.uniform(min(bounds), max(bounds))
    changed = unit * np.float32(gain) + np.float32(np.clip(offset, -0.15, 0.25))
    return _keep_spread(unit, changed)


def _curve(unit: Floats, rng: np.random.Generator) -> Floats:
    """S-curve around some grey."""
    middle, steep = np.float32(rng.uniform(0.3, 0.7)), np.float32(rng.uniform(2, 4))
    return _keep_spread(unit, 0.5 + 0.5 * np.tanh((unit - middle) * steep))


def _saturate(unit: Floats, rng: np.random.Generator) -> Floats:
    """Over-exposed or cut off below, but the ground keeps its tone."""
    dark, light = np.percentile(unit[::4, ::4], (40, 60))
    low = rng.uniform(0, min(0.15, dark))
    high = rng.uniform(min(1, max(0.6, light + 0.05)), 1)
    changed = (unit - np.float32(low)) / np.float32(high - low)
    return _keep_spread(unit, changed)


def _keep_spread(before: Floats, after: Floats) -> Floats:
    """Take back a change of tone that leaves next to nothing to see."""
    after = np.clip(after, 0, 1)
    wanted = min(MIN_SPREAD, 0.6 * float(before[::4, ::4].std()))
    return after if float(after[::4, ::4].std()) >= wanted else before


def _light(unit: Floats, rng: np.random.Generator) -> Floats:
    """Uneven light: a slope, and a vignette around some middle."""
    y = np.linspace(-1, 1, unit.shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, unit.shape[1], dtype=np.float32)[None]
    slope, middle = rng.uniform(-0.25, 0.25, 2), rng.uniform(-0.4, 0.4, 2)
    far = (y - np.float32(middle[0])) ** 2 + (x - np.float32(middle[1])) ** 2
    light = 1 + np.float32(slope[0]) * y + np.float32(slope[1]) * x
    light = light - np.float32(rng.uniform(0, 0.3)) * far
    return np.asarray(unit * np.clip(light, 0.25, 1.5)[..., None])


def _haze(unit: Floats, rng: np.random.Generator) -> Floats:
    """Stray light that varies slowly over the picture."""
    spots = rng.random((4, 4), dtype=np.float32)
    height, width = unit.shape[:2]
    haze = Image.fromarray(spots).resize((width, height), Image.Resampling.BICUBIC)
    amount = np.float32(rng.uniform(0.05, 0.25)) * np.asarray(haze)[..., None]
    return unit * (1 - np.float32(0.5) * amount) + amount


def _blur(unit: Floats, rng: np.random.Generator) -> Floats:
    """Out of focus, in one direction more than in the other at times."""
    sigma = rng.uniform(0.4, 1.8)
    other = sigma * (rng.uniform(0.3, 1.0) if rng.random() < 0.3 else 1.0)
    return _by_plane(unit, lambda p: _gaussian(p, (sigma, other)))


def _sharpen(unit: Floats, rng: np.random.Generator) -> Floats:
    """Unsharp mask, strong enough for dark and bright seams."""
    sigma, amount = rng.uniform(0.8, 2.5), np.float32(rng.uniform(0.4, 1.8))
    soft = _by_plane(unit, lambda p: _gaussian(p, (sigma, sigma)))
    return unit + amount * (unit - soft)


def _gaussian(plane: Floats, sigma: tuple[float, float]) -> Floats:
    out = ndimage.gaussian_filter(plane, sigma, truncate=2.5, mode="nearest")
    return np.asarray(out, np.float32)


def _by_plane(unit: Floats, change: Callable[[Floats], Floats]) -> Floats:
    """Change each channel, or one for all in a grey picture."""
    if not np.ptp(unit[::8, ::8], axis=2).any() and not np.ptp(unit, axis=2).any():
        out = change(np.ascontiguousarray(unit[..., 0]))
        return np.repeat(out[..., None], 3, axis=2)
    planes = [change(np.ascontiguousarray(unit[..., c])) for c in range(3)]
    return np.stack(planes, axis=2)


def _resample(unit: Floats, rng: np.random.Generator) -> Floats:
    """Taken with fewer, larger pixels and enlarged again, smoothly or in blocks."""
    height, width = unit.shape[:2]
    share = rng.uniform(0.4, 0.85)
    small = (max(8, round(width * share)), max(8, round(height * share)))
    back = Image.Resampling.BILINEAR
    if rng.random() < 0.25:
        back = Image.Resampling.NEAREST
    image = Image.fromarray(_to_bytes(unit)).resize(small, Image.Resampling.BILINEAR)
    return _from_bytes(np.asarray(image.resize((width, height), back)))


def _noise(unit: Floats, rng: np.random.Generator) -> Floats:
    """Noise of the read-out, of few photons, or of coherent light (speckle)."""
    colourful = rng.random() < 0.15
    shape = unit.shape if colourful else (*unit.shape[:2], 1)
    noise = rng.standard_normal(shape, dtype=np.float32)
    kind = rng.integers(3)
    if kind == 0:
        return unit + noise * np.float32(rng.uniform(0.005, 0.07))
    if kind == 1:
        photons = np.float32(np.exp(rng.uniform(np.log(60), np.log(1500))))
        return np.asarray(unit + noise * np.sqrt(np.clip(unit, 0, 1) / photons))
    noise = ndimage.uniform_filter(noise, (2, 2, 1)) * np.float32(2)
    return np.asarray(unit * (1 + noise * np.float32(rng.uniform(0.03, 0.15))))


def _stripes(unit: Floats, rng: np.random.Generator) -> Floats:
    """Rows or columns read out with an offset of their own."""
    shape = (unit.shape[0], 1, 1) if rng.random() < 0.5 else (1, unit.shape[1], 1)
    lines = rng.standard_normal(shape, dtype=np.float32)
    return unit + lines * np.float32(rng.uniform(0.01, 0.04))


def _hot_pixels(unit: Floats, rng: np.random.Generator) -> Floats:
    """Single pixels full or dead."""
    n = int(rng.integers(3, 80))
    rows, columns = rng.integers(0, unit.shape[0], n), rng.integers(0, unit.shape[1], n)
    unit = unit.copy()
    unit[rows, columns] = np.float32(rng.random() < 0.7)
    return unit


def _few_levels(unit: Floats, rng: np.random.Generator) -> Floats:
    """Dimmed, stored with few grey levels, stretched again."""
    steps = np.float32(rng.integers(12, 64))
    return np.round(unit * steps) / steps


def _jpeg(unit: Floats, rng: np.random.Generator) -> Floats:
    """Blocks and smeared colours of a strongly compressed file."""
    file = io.BytesIO()
    Image.fromarray(_to_bytes(unit)).save(
        file, "JPEG", quality=int(rng.integers(20, 80))
    )
    return _from_bytes(np.asarray(Image.open(file)))


def _to_bytes(unit: Floats) -> npt.NDArray[np.uint8]:
    return (np.clip(unit, 0, 1) * 255 + 0.5).astype(np.uint8)


def _from_bytes(pixels: npt.NDArray[np.uint8]) -> Floats:
    return pixels.astype(np.float32) / np.float32(255)


CHANGES: tuple[tuple[Callable[[Floats, np.random.Generator], Floats], float], ...] = (
    (_grey, 0.15),
    (_permute, 0.08),
    (_restain, 0.2),
    (_tint, 0.08),
    (_invert, 0.15),
    (_gamma, 0.5),
    (_contrast, 0.35),
    (_curve, 0.08),
    (_saturate, 0.1),
    (_light, 0.2),
    (_haze, 0.1),
    (_blur, 0.2),
    (_resample, 0.12),
    (_sharpen, 0.1),
    (_noise, 0.3),
    (_stripes, 0.05),
    (_hot_pixels, 0.05),
    (_few_levels, 0.07),
    (_jpeg, 0.1),
)
