# SPDX-License-Identifier: Apache-2.0
"""Draw contact sheets of the training scenes and of the changes of looks.

One row for each family of scenes: the pictures, and below them the same with the
outlines of their labels. Prints how long each family takes. Look at the sheets after
every change to ``napari_sam.training.scenes`` or ``napari_sam.training.looks``.

    python scripts/show_scenes.py sheets --columns 8
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import segmentation

from napari_sam.training.looks import vary_looks
from napari_sam.training.scenes import FAMILIES, DrawnImage, draw_scene

ROWS_PER_SHEET = 4


def main() -> None:
    """Write scenes-N.png and looks.png into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES))
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--shown", type=int, default=240, help="pixels of a picture")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    scenes = {name: _draw(name, options) for name in options.families}
    rows = [_scene_row(images, options.shown) for images in scenes.values()]
    for i in range(0, len(rows), ROWS_PER_SHEET):
        _save(rows[i : i + ROWS_PER_SHEET], options.folder, f"scenes-{i // 4}.png")
    rng = np.random.default_rng(options.seed)
    looks = [_looks_row(images[0], options, rng) for images in scenes.values()]
    _save(looks, options.folder, "looks.png")


def _draw(family: str, options: argparse.Namespace) -> list[DrawnImage]:
    """Draw the scenes of one row and print their time and number of objects."""
    draw_scene(np.random.default_rng(0), options.size, family)  # fills caches
    images, seconds = [], []
    for column in range(options.columns):
        rng = np.random.default_rng([options.seed, column])
        start = time.process_time()
        images.append(draw_scene(rng, options.size, family))
        seconds.append(time.process_time() - start)
    objects = [len(np.unique(image.labels)) - 1 for image in images]
    print(
        f"{family:15} {np.mean(seconds) * 1e3:4.0f} ms, "
        f"longest {max(seconds) * 1e3:4.0f} ms, objects {objects}"
    )
    return images


def _rgb(image: DrawnImage) -> np.ndarray:
    pixels = image.pixels
    return np.repeat(pixels[..., None], 3, 2) if pixels.ndim == 2 else pixels


def _scene_row(images: list[DrawnImage], shown: int) -> np.ndarray:
    plain, outlined = [], []
    for image in images:
        rgb = _rgb(image)
        plain.append(_resize(rgb, shown))
        rgb = rgb.copy()
        rgb[segmentation.find_boundaries(image.labels, mode="inner")] = (255, 255, 0)
        outlined.append(_resize(rgb, shown))
    return np.concatenate([np.concatenate(plain, 1), np.concatenate(outlined, 1)])


def _looks_row(
    image: DrawnImage, options: argparse.Namespace, rng: np.random.Generator
) -> np.ndarray:
    unit = _rgb(image)[:256, :256].astype(np.float32) / np.float32(255)
    varied = [vary_looks(unit, rng) for _ in range(options.columns - 1)]
    pictures = [(picture * 255).astype(np.uint8) for picture in (unit, *varied)]
    return np.concatenate([_resize(p, options.shown // 2) for p in pictures], 1)


def _resize(pixels: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((side, side)))


def _save(rows: list[np.ndarray], folder: Path, name: str) -> None:
    Image.fromarray(np.concatenate(rows)).save(folder / name)
    print(folder / name)


if __name__ == "__main__":
    main()
