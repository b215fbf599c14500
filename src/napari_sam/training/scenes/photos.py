# SPDX-License-Identifier: Apache-2.0
"""Scenes from the photographs that scikit-image carries inside its wheel.

Nothing is downloaded. Licences as stated in ``skimage.data``: CC0 for camera, brick,
grass, gravel, chelsea, coffee, retina, cell and horse; public domain for astronaut
(NASA), hubble_deep_field (NASA) and rocket (SpaceX).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import skimage
from PIL import Image
from scipy import ndimage
from skimage import segmentation

from napari_sam.errors import ImageError
from napari_sam.training.scenes import grounds, layout, outlines
from napari_sam.training.scenes.layout import Spread
from napari_sam.training.scenes.scene import Scene

if TYPE_CHECKING:
    from napari_sam.training.scenes.grounds import Bools, Floats, Ints

Bytes = npt.NDArray[np.uint8]

SURFACES = ("brick.png", "grass.png", "gravel.png")
PICTURES = (
    "astronaut.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "retina.jpg",
    "rocket.jpg",
)
LONGEST = 640


@cache
def photograph(name: str) -> Bytes:
    """Read one picture (H, W, 3) uint8 of scikit-image's own folder."""
    path = Path(skimage.__file__).parent / "data" / name
    if not path.is_file():
        msg = f"scikit-image has no {path}: install it from its wheel."
        raise ImageError(msg)
    picture = Image.open(path).convert("RGB")
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def cut(rng: np.random.Generator, name: str, size: int) -> Floats:
    """Any square of a picture at any scale: (size, size, 3), 0..1."""
    picture = photograph(name)
    height, width = picture.shape[:2]
    side = min(height, width) * rng.uniform(0.35, 1.0)
    y, x = rng.uniform(0, height - side), rng.uniform(0, width - side)
    box = (x, y, x + side, y + side)
    part = Image.fromarray(picture).resize(
        (size, size), Image.Resampling.BILINEAR, box=box
    )
    out = np.asarray(part, np.float32) / np.float32(255)
    return np.rot90(out, int(rng.integers(4))) if rng.random() < 0.5 else out


def draw_collage(rng: np.random.Generator, size: int) -> Scene:
    """Shapes filled with one picture on another picture or surface."""
    names = list(SURFACES + PICTURES)
    under, over = rng.choice(len(names), 2, replace=False)
    spread = Spread(
        radius=grounds.log_uniform(rng, 12, size / 3),
        sizes=0.35,
        cover=rng.uniform(0.15, 0.6),
        closeness=rng.uniform(0.75, 1.0),
        most=30,
    )
    where = layout.place(rng, size, outlines.anything, spread)
    ground, fill = cut(rng, names[under], size), cut(rng, names[over], size)
    if rng.random() < 0.5:
        ground = grounds.blur(ground, rng.uniform(1, 6))
    return _compose(
        rng, where.labels, ground, fill + where.each(rng, -0.1, 0.1)[..., None]
    )


@cache
def coherent_parts(name: str) -> tuple[tuple[Bytes, Bools], ...]:
    """Cut a picture's larger, even parts out: pixels (h, w, 3) and mask (h, w).

    Found once a run with Felzenszwalb and Huttenlocher's graph method (2004).
    """
    picture = photograph(name)
    small = np.asarray(Image.fromarray(picture).resize((256, 256)))
    regions = segmentation.felzenszwalb(small, scale=250, sigma=1.2, min_size=250)
    parts = []
    for label, window in enumerate(ndimage.find_objects(regions + 1)):
        mask = ndimage.binary_fill_holes(regions[window] == label)
        mask = ndimage.binary_opening(mask, iterations=2)
        if 250 <= mask.sum() <= 0.4 * regions.size and mask.mean() > 0.3:
            parts.append((small[window], mask))
    return tuple(parts)


def draw_cuttings(rng: np.random.Generator, size: int) -> Scene:
    """Parts of pictures, outlines included, strewn over another surface."""
    sources = rng.choice(len(PICTURES), 2, replace=False)
    parts = [p for s in sources for p in coherent_parts(PICTURES[s])]
    ground = cut(rng, SURFACES[int(rng.integers(3))], size)
    if rng.random() < 0.4:
        ground = cut(rng, PICTURES[int(rng.integers(len(PICTURES)))], size)
        ground = grounds.blur(np.ascontiguousarray(ground), rng.uniform(2, 8))
    ground = np.array(ground)
    labels = np.zeros((size, size), np.int32)
    typical = grounds.log_uniform(rng, 18, size / 1.5)
    count = int(np.clip(0.4 * (size / typical) ** 2, 1, 40))
    for label in range(1, count + 1):
        pixels, mask = parts[int(rng.integers(len(parts)))]
        side = typical * np.exp(rng.normal(0, 0.3)) / max(mask.shape)
        _paste(rng, ground, labels, label, pixels, mask, float(side))
    ground = grounds.blur(ground, rng.choice([0.0, 0.5, 0.9]))
    return Scene(grounds.noisy(rng, ground, rng.uniform(0, 0.03)), (labels,))


def _paste(
    rng: np.random.Generator,
    canvas: Floats,
    labels: Ints,
    label: int,
    pixels: Bytes,
    mask: Bools,
    scale: float,
) -> None:
    """Put a part, resized and turned, under what is there already."""
    shape = np.maximum(np.round(np.array(mask.shape) * scale), 6).astype(int)
    new = (int(shape[1]), int(shape[0]))
    turns = int(rng.integers(4))
    # Enlarged smoothly: a mask of single pixels would show steps.
    soft = Image.fromarray(mask.astype(np.float32)).resize(new)
    mask = np.rot90(np.asarray(soft) > 0.5, turns)
    fill = np.asarray(Image.fromarray(pixels).resize(new), np.float32) / 255
    fill = np.rot90(fill, turns)
    size = len(labels)
    y, x = (int(rng.uniform(-0.3 * side, size - 0.7 * side)) for side in mask.shape)
    top, left = max(0, -y), max(0, -x)
    part = (slice(top, max(top, size - y)), slice(left, max(left, size - x)))
    shown = mask[part]
    window = (
        slice(y + top, y + top + shown.shape[0]),
        slice(x + left, x + left + shown.shape[1]),
    )
    seen = shown & (labels[window] == 0)
    if seen.sum() < max(layout.MIN_PX, 0.6 * shown.sum()):
        return
    labels[window][seen] = label
    canvas[window][seen] = fill[part][seen]


def _compose(
    rng: np.random.Generator, labels: Ints, ground: Floats, fill: Floats
) -> Scene:
    alpha = grounds.blur((labels > 0).astype(np.float32), rng.choice([0.0, 0.6, 1.0]))
    pixels = ground + (fill - ground) * alpha[..., None]
    if rng.random() < 0.3:
        pixels[layout.rims(labels)] += np.float32(rng.choice([-0.2, 0.2]))
    if rng.random() < 0.3:
        pixels = pixels.mean(axis=2)
    return Scene(np.asarray(pixels, np.float32), (labels,))
