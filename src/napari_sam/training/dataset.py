# SPDX-License-Identifier: Apache-2.0
"""Labelled images from a folder or a packed file, and crops of them.

Layout: ``<set>/images/NAME.*``, ``<set>/labels/NAME.png``, ``splits.json`` with the
names of each set's ``train`` and ``val`` images, ``dsb2018/index.csv`` with image types
and field groups. A packed file is a zip archive of the same layout.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

Root = Path | zipfile.Path

# How often each kind of image is drawn; rare kinds more often than their share.
KIND_WEIGHTS = {
    "fluorescence": 0.36,
    "stained_rgb": 0.18,
    "brightfield_grey": 0.06,
    "axon_sem": 0.16,
    "qpi_cells": 0.08,
    "drawn": 0.16,
}
OBJECTS_POWER = 0.75  # 0: every image as often; 1: every object as often
DEV_SHARE = 0.08  # of the field groups of dsb2018
DEV_IMAGES = {"axon_sem": ("rat3_data11",), "qpi_cells": ()}


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """One image (H, W) or (H, W, 3) with its label image (H, W), 0 = background."""

    name: str
    kind: str
    pixels: npt.NDArray[np.generic]
    labels: npt.NDArray[np.integer]


def open_root(path: Path) -> Root:
    """Open a data folder or a packed zip file."""
    return zipfile.Path(path) if path.is_file() else path


def load_split(root: Root, part: str) -> list[LabelledImage]:
    """Load ``part`` = "train", "dev" or "val" of every set.

    ``train`` and ``dev`` are cut from the published train split: dsb2018 by field
    group, so that neighbouring tiles stay together, the others by image.
    """
    splits = json.loads((root / "splits.json").read_text(encoding="utf-8"))
    rows = csv.DictReader(
        io.StringIO((root / "dsb2018" / "index.csv").read_text(encoding="utf-8"))
    )
    index = {row["name"]: row for row in rows}
    loaded = []
    for set_name, names in splits.items():
        for name in names["val" if part == "val" else "train"]:
            if part != "val" and _is_dev(set_name, name, index) != (part == "dev"):
                continue
            kind = index[name]["type"] if set_name == "dsb2018" else set_name
            loaded.append(_load(root / set_name, name, kind))
    return loaded


def _is_dev(set_name: str, name: str, index: dict[str, dict[str, str]]) -> bool:
    if set_name != "dsb2018":
        return name in DEV_IMAGES[set_name]
    group = hashlib.sha256(index[name]["field_group"].encode()).digest()
    return group[0] / 256 < DEV_SHARE


def _load(folder: Root, name: str, kind: str) -> LabelledImage:
    for suffix in (".png", ".tif"):
        path = folder / "images" / (name + suffix)
        if path.exists():
            pixels = _read(path)
            break
    else:
        msg = f"No image {name}.png or {name}.tif in {folder}/images."
        raise FileNotFoundError(msg)
    labels = _read(folder / "labels" / f"{name}.png")
    return LabelledImage(name, kind, pixels, labels.astype(np.int32))


def _read(path: Root) -> npt.NDArray[np.generic]:
    data = io.BytesIO(path.read_bytes())
    if path.name.endswith(".tif"):
        return np.asarray(tifffile.imread(data))
    return np.asarray(Image.open(data))


class ImageDraw:
    """Draws images for ever: kinds by ``KIND_WEIGHTS``, then images of a kind.

    An image's chance grows with its objects, though less: scores are means over
    objects, but objects of one image are alike.
    """

    def __init__(self, images: list[LabelledImage]) -> None:
        by_kind: dict[str, list[LabelledImage]] = {}
        for image in images:
            by_kind.setdefault(image.kind, []).append(image)
        self._kinds = sorted(by_kind)
        self._shares = _shares([KIND_WEIGHTS[kind] for kind in self._kinds])
        self._images = {
            kind: (some, _shares([_weight(image) for image in some]))
            for kind, some in by_kind.items()
        }

    def draw(self, rng: np.random.Generator) -> LabelledImage:
        """Return the next image."""
        kind = self._kinds[int(rng.choice(len(self._kinds), p=self._shares))]
        images, shares = self._images[kind]
        return images[int(rng.choice(len(images), p=shares))]


def _shares(weights: list[float]) -> npt.NDArray[np.float64]:
    array = np.array(weights, np.float64)
    return np.asarray(array / array.sum())


def _weight(image: LabelledImage) -> float:
    n_objects = len(np.unique(image.labels)) - 1
    return max(1.0, float(n_objects**OBJECTS_POWER))
