# SPDX-License-Identifier: Apache-2.0
"""Random crops of labelled images, changed as microscopes and cameras change them.

A crop is a window of the image as it would lie in the model's frame: ``scale`` pixels
of the frame for a pixel of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_sam.modeling.build_embedded import MIN_OBJECT_PX
from napari_sam.prediction.magnification import magnification, size_of
from napari_sam.prediction.tiling import TILE_FROM
from napari_sam.training.dataset import ImageDraw, LabelledImage
from napari_sam.training.looks import vary_looks
from napari_sam.training.scenes import draw_scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam.training.config import TrainConfig

MASK_STRIDE = 2  # pixels of the frame for a pixel of the mask logits
FRAME_SIZE = 512
USUAL_PERCENTILES = (0.1, 99.9)
PLAIN_STRENGTH = 0.15  # share of the usual changes of looks
# Among images it stands for a new scene each time it is drawn.
_NOTHING = np.zeros((1, 1), np.uint8)
NEW_SCENE = LabelledImage("drawn", "drawn", _NOTHING, _NOTHING)


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """Pixels (3, S, S) float32 0..255, and labels (S/2, S/2).

    ``is_image`` (S, S) is False where the crop reaches past the image; ``name`` is the
    image's.
    """

    pixels: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    is_image: npt.NDArray[np.bool_]
    name: str = ""


def draw_crops(
    images: ImageDraw,
    config: TrainConfig,
    rng: np.random.Generator,
    size: int,
) -> Iterator[Crop]:
    """Yield usable crops of ``size`` pixels for ever.

    Each has at least one object that is large enough to learn from.
    """
    while True:
        image = images.draw(rng)
        if image.kind == "drawn":
            image = draw_scene(rng)
        crop = take_crop(image, config, rng, size)
        counts = np.bincount(crop.labels.ravel())[1:]
        if (counts >= config.min_object_px).any():
            yield crop


def take_crop(
    image: LabelledImage, config: TrainConfig, rng: np.random.Generator, size: int
) -> Crop:
    """Cut a window around a random object, scale it, and vary its looks."""
    is_plain = bool(rng.random() < config.plain_fraction)
    at = _some_object_pixel(image.labels, rng)
    if is_plain:
        scale = _plain_scale(image, at, config, rng)
    else:
        scale = _scale(image, config, rng)
    y0, x0 = _window_start(image.labels.shape, at, size / scale, rng)
    pixels, is_image = _resample(image.pixels, y0, x0, scale, size)
    labels = sample_labels(image.labels, y0, x0, scale / MASK_STRIDE, size)
    low, high = _usual_contrast(image) if is_plain else _contrast_limits(image, rng)
    unit = (pixels.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    unit = vary_looks(np.clip(unit, 0, 1), rng, PLAIN_STRENGTH if is_plain else 1.0)
    flip = -1 if rng.random() < 0.5 else 1
    turns = int(rng.integers(4))
    unit = np.rot90(unit[:, ::flip], turns)
    return Crop(
        np.ascontiguousarray(unit.transpose(2, 0, 1) * np.float32(255)),
        np.ascontiguousarray(np.rot90(labels[:, ::flip], turns)),
        np.ascontiguousarray(np.rot90(is_image[:, ::flip], turns)),
        image.name,
    )


def _some_object_pixel(
    labels: npt.NDArray[np.integer], rng: np.random.Generator
) -> tuple[int, int]:
    rows, columns = np.nonzero(labels)
    if not len(rows):
        return 0, 0
    i = int(rng.integers(len(rows)))
    return int(rows[i]), int(columns[i])


def _scale(
    image: LabelledImage, config: TrainConfig, rng: np.random.Generator
) -> float:
    if rng.random() < config.usual_scale_fraction:
        return float(_usual_scale(image) * np.exp(rng.uniform(-0.3, 0.3)))
    low, high = np.log(config.scale_range)
    return float(np.exp(rng.uniform(low, high)))


def _plain_scale(
    image: LabelledImage,
    at: tuple[int, int],
    config: TrainConfig,
    rng: np.random.Generator,
) -> float:
    """As annotating shows the object at ``at``: at first sight, or asked again.

    Prompts on large images are answered in regions at full resolution, and objects that
    turn out tiny once more in an enlarged region (``prediction/regions.py``).
    """
    scale = _usual_scale(image)
    is_large = max(image.labels.shape) > TILE_FROM * FRAME_SIZE
    if is_large and rng.random() < config.region_fraction:
        scale = 1.0
    label = image.labels[at]
    if label == 0 or rng.random() >= config.enlarged_fraction:
        return scale
    mask = image.labels == label
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    size = size_of((rows[0], columns[0], rows[-1] + 1, columns[-1] + 1))
    return scale * magnification(size * scale, MIN_OBJECT_PX)


def _usual_scale(image: LabelledImage) -> float:
    """At this scale the image fills the frame."""
    return float(FRAME_SIZE / max(image.labels.shape))


def _window_start(
    shape: tuple[int, ...],
    at: tuple[int, int],
    side: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Top-left corner of a window of the image that holds a pixel."""
    start = []
    for extent, centre in zip(shape, at, strict=True):
        corner = centre - rng.uniform(0.1, 0.9) * side
        start.append(float(np.clip(corner, 0, max(0.0, extent - side))))
    return start[0], start[1]


def _resample(
    pixels: npt.NDArray[np.generic], y0: float, x0: float, scale: float, size: int
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]:
    """Resize a window as the predictor resizes images; black past the image."""
    height, width = pixels.shape[:2]
    y1, x1 = min(height, y0 + size / scale), min(width, x0 + size / scale)
    out_h = min(size, max(1, round((y1 - y0) * scale)))
    out_w = min(size, max(1, round((x1 - x0) * scale)))
    part = np.asarray(
        Image.fromarray(pixels).resize(
            (out_w, out_h), Image.Resampling.BILINEAR, box=(x0, y0, x1, y1)
        )
    )
    if part.ndim == 2:
        part = np.repeat(part[..., None], 3, axis=2)
    out = np.zeros((size, size, 3), part.dtype)
    out[:out_h, :out_w] = part
    is_image = np.zeros((size, size), bool)
    is_image[:out_h, :out_w] = True
    return out, is_image


def sample_labels(
    labels: npt.NDArray[np.integer], y0: float, x0: float, scale: float, size: int
) -> npt.NDArray[np.int32]:
    """Labels at the centres of the mask pixels, 0 past the image.

    Parameters
    ----------
    labels : (H, W) integer array
        0 is background.
    y0, x0 : float
        Upper left corner of the window, in pixels of the image.
    scale : float
        Pixels of the mask for one of the image.
    size : int
        Side of the window in pixels of the frame.

    Returns
    -------
    (S/2, S/2) int32 array
    """
    centres = (np.arange(size // MASK_STRIDE) + 0.5) / scale
    rows = np.floor(y0 + centres).astype(int)
    columns = np.floor(x0 + centres).astype(int)
    height, width = labels.shape
    inside = (np.minimum(rows, height - 1)[:, None], np.minimum(columns, width - 1))
    out = np.asarray(labels[inside], np.int32)
    out[rows >= height] = 0
    out[:, columns >= width] = 0
    return out


def _contrast_limits(
    image: LabelledImage, rng: np.random.Generator
) -> tuple[float, float]:
    """Mostly percentiles, as the plugin stretches images; sometimes the full range."""
    sample = image.pixels[::3, ::3].astype(np.float32)
    is_byte = image.pixels.dtype == np.uint8
    if is_byte and rng.random() < (0.5 if sample.ndim == 3 else 0.2):
        return 0.0, 255.0
    clip = rng.uniform(0, 2, 2) * rng.random()
    low, high = np.percentile(sample, (clip[0], 100 - clip[1]))
    return float(low), float(max(high, low + 1e-3 * (abs(low) + 1)))


def _usual_contrast(image: LabelledImage) -> tuple[float, float]:
    """Limits of the plugin: grey images between their percentiles, colour as it is."""
    if image.pixels.ndim == 3 and image.pixels.dtype == np.uint8:
        return 0.0, 255.0
    sample = image.pixels[::3, ::3].astype(np.float64)
    low, high = np.percentile(sample, USUAL_PERCENTILES)
    return float(low), float(max(high, low + 1e-3 * (abs(low) + 1)))
