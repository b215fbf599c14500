# SPDX-License-Identifier: Apache-2.0
"""A small data folder in the layout that training reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import draw

from napari_sam.modeling.build import DecoderSpec, VitSpec, build_vit_sam
from napari_sam.training.dataset import LabelledImage

if TYPE_CHECKING:
    from pathlib import Path

    from napari_sam.modeling.sam import Sam


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


def tiny_sam() -> Sam:
    """A SAM of 0.1 million parameters for frames of 64 pixels, masks of 32."""
    torch.manual_seed(0)
    vit = VitSpec(
        embed_dim=32,
        depth=2,
        num_heads=2,
        mlp_dim=64,
        global_attn_indexes=(0, 1),
        patch_size=8,
        window_size=0,
    )
    decoder = DecoderSpec(
        image_size=64, grid_size=8, channels=32, mlp_dim=64, iou_head_hidden_dim=32
    )
    return build_vit_sam("tiny", vit, decoder).eval()


@pytest.fixture
def tiny() -> Sam:
    """A very small SAM with random weights, always the same."""
    return tiny_sam()


@pytest.fixture
def scene() -> LabelledImage:
    """Four bright discs, (64, 64) uint8."""
    labels = np.zeros((64, 64), np.int32)
    for label, (row, column, radius) in enumerate(
        [(16, 14, 9), (18, 46, 11), (46, 20, 12), (48, 50, 8)], start=1
    ):
        labels[draw.disk((row, column), radius)] = label
    noise = np.random.default_rng(0).normal(0, 6, labels.shape)
    pixels = np.clip(np.where(labels > 0, 170, 50) + noise, 0, 255)
    return LabelledImage("scene", "discs", pixels.astype(np.uint8), labels)
