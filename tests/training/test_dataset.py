# SPDX-License-Identifier: Apache-2.0
"""The parts of the data never mix."""

import runpy
import zipfile
from pathlib import Path

import numpy as np
import torch

from napari_sam.training.dataset import ImageDraw, LabelledImage, load_split, open_root
from napari_sam.training.start_weights import read_imagenet_weights

SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_development_part_is_cut_by_field_group(small_data: Path) -> None:
    train = load_split(small_data, "train")
    dev = load_split(small_data, "dev")
    nuclei = [
        {int(i.name[5:]) // 4 for i in part if i.kind == "fluorescence"}
        for part in (train, dev)
    ]
    assert nuclei[0]
    assert nuclei[1]
    assert not nuclei[0] & nuclei[1]
    assert "rat3_data11" in {i.name for i in dev}
    assert len(train) + len(dev) == 42


def test_val_is_only_read_when_asked_for(small_data: Path) -> None:
    assert [i.name for i in load_split(small_data, "val")] == ["image40"]
    both = load_split(small_data, "train") + load_split(small_data, "dev")
    assert "image40" not in {i.name for i in both}


def test_packed_file_holds_the_same_training_images(
    small_data: Path, tmp_path: Path
) -> None:
    weights = {"_conv_stem.weight": torch.full((2, 3), 0.5)}
    torch.save(weights, tmp_path / "start.pth")
    packed = tmp_path / "packed.zip"
    script = runpy.run_path(str(SCRIPTS / "pack_training_data.py"))
    script["pack"](small_data, packed, tmp_path / "start.pth")
    root = open_root(packed)
    for part in ("train", "dev"):
        ours, theirs = load_split(root, part), load_split(small_data, part)
        assert [i.name for i in ours] == [i.name for i in theirs]
        assert all(
            (a.pixels == b.pixels).all() and (a.labels == b.labels).all()
            for a, b in zip(ours, theirs, strict=True)
        )
    assert not any("image40" in name for name in zipfile.ZipFile(packed).namelist())
    assert read_imagenet_weights(root)["_conv_stem.weight"].tolist() == [[0.5] * 3] * 2


def test_rare_kinds_are_drawn_more_often_than_their_share(small_data: Path) -> None:
    source, rng = ImageDraw(load_split(small_data, "train")), np.random.default_rng(0)
    kinds = [source.draw(rng).kind for _ in range(400)]
    assert 0.05 < kinds.count("qpi_cells") / len(kinds) < 0.3  # 1 image of 41


def test_images_of_many_objects_are_drawn_more_often() -> None:
    few, many = (
        LabelledImage(str(n), "fluorescence", np.zeros((8, 8)), np.arange(64) % (n + 1))
        for n in (1, 16)
    )
    source, rng = ImageDraw([few, many]), np.random.default_rng(0)
    names = [source.draw(rng).name for _ in range(900)]
    assert 1 / 12 < names.count("1") / len(names) < 1 / 7  # 1 to 16 ** 0.75 = 8
