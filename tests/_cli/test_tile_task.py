# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_sam import AutomaticMaskGenerator
from napari_sam._cli import tile_task
from napari_sam._cli.tile_task import ModelHost, ModelReference, finds_weights
from napari_sam.acceleration.engine import Engine
from napari_sam.errors import WeightsError
from napari_sam.weights import load

GRID = {"points_per_side": 3, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}


@pytest.fixture
def checkpoint(mini, tmp_path):
    path = tmp_path / "mine.safetensors"
    shutil.copy(mini[1], path)
    return path


@pytest.fixture
def reference(checkpoint):
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    return ModelReference("embedded", str(checkpoint), digest, "cpu")


def test_weights_that_were_replaced_are_not_found(reference, checkpoint):
    assert finds_weights(reference)
    new = checkpoint.with_suffix(".new")
    new.write_bytes(checkpoint.read_bytes() + b" ")
    new.replace(checkpoint)
    assert not finds_weights(reference)


def test_other_weights_than_those_of_the_run_are_refused(
    reference, checkpoint, monkeypatch
):
    """They are replaced after they were looked at, and before they are loaded."""
    real = load.read_file

    def read_file(path):
        tensors = real(path)
        with Path(path).open("ab") as file:
            file.write(b" ")
        return tensors

    monkeypatch.setattr(load, "read_file", read_file)
    with pytest.raises(WeightsError, match="not those of this run"):
        tile_task._load(reference, None)


def test_weights_that_arrive_damaged_are_refused(reference, checkpoint, mini):
    checkpoint.unlink()
    sent = bytearray(Path(mini[1]).read_bytes())
    assert tile_task._load(reference, bytes(sent)).digest == reference.digest
    sent[-1] ^= 1
    with pytest.raises(WeightsError, match="not those of this run"):
        tile_task._load(reference, bytes(sent))
    with pytest.raises(WeightsError, match="does not find the weights"):
        tile_task._load(reference, None)


def test_all_tiles_share_what_the_model_prepares(tiny_sam, blobs, monkeypatch):
    made = []
    real = Engine.__init__

    def counted(self, *args, **options):
        made.append(self)
        real(self, *args, **options)

    monkeypatch.setattr(Engine, "__init__", counted)
    host = ModelHost(tiny_sam)
    tiles = [blobs.image, np.ascontiguousarray(blobs.image[::-1])]
    found = [host.generate(GRID, tile) for tile in tiles]
    host.close()
    assert len(made) == 1
    for tile, records in zip(tiles, found, strict=True):
        alone = AutomaticMaskGenerator(tiny_sam, **GRID).generate(tile)
        assert [r.bbox for r in records] == [r.bbox for r in alone]
        assert len(records) > 1
