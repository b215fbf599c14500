# SPDX-License-Identifier: Apache-2.0
"""A small data folder in the layout that training reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from skimage import draw

from napari_sam.training.dataset import LabelledImage

if TYPE_CHECKING:
    from pathlib import Path


def discs(seed: int, kind: str = "fluorescence") -> LabelledImage:
    """Six bright discs on a dark ground, (96, 128) uint8."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((96, 128), np.int32)
    for label in range(1, 7):
        centre = (16 + 32 * ((label - 1) // 3), 20 + 42 * ((label - 1) % 3))
        labels[draw.disk(centre, rng.uniform(7, 11))] = label
    pixels = np.where(labels > 0, 180, 30) + rng.normal(0, 5, labels.shape)
    return LabelledImage(f"image{seed}", kind, pixels.astype(np.uint8), labels)


@pytest.fixture
def images() -> list[LabelledImage]:
    """Three images of discs."""
    return [discs(seed) for seed in range(3)]


@pytest.fixture
def small_data(tmp_path: Path) -> Path:
    """Forty nuclei images in groups of four, one image of other sets, a val image."""
    folder = tmp_path / "data"
    rows = ["name,type,field_group"]
    splits: dict[str, dict[str, list[str]]] = {
        "dsb2018": {"train": [], "val": ["image40"]},
        "axon_sem": {"train": ["rat3_data11"], "val": []},
        "qpi_cells": {"train": ["pc3_01"], "val": []},
    }
    splits["dsb2018"]["train"] = [f"image{i}" for i in range(40)]
    for set_name, parts in splits.items():
        for sub in ("images", "labels"):
            (folder / set_name / sub).mkdir(parents=True)
        for name in parts["train"] + parts["val"]:
            image = discs(1)
            at = folder / set_name
            Image.fromarray(image.pixels).save(at / "images" / f"{name}.png")
            labels = Image.fromarray(image.labels.astype(np.uint16))
            labels.save(at / "labels" / f"{name}.png")
    rows += [f"image{i},fluorescence,group{i // 4}" for i in range(41)]
    (folder / "dsb2018" / "index.csv").write_text("\n".join(rows))
    (folder / "splits.json").write_text(json.dumps(splits))
    return folder
