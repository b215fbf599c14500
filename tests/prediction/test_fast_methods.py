# SPDX-License-Identifier: Apache-2.0
"""The fast methods from an image to labels, with models that are really run."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from napari_sam import (
    AutomaticMaskGenerator,
    SamPredictor,
    load_model,
    segment_image,
)
from napari_sam.errors import SettingsError
from napari_sam.evaluation.matching import match_objects
from napari_sam.prediction.grid_search import CropSearch
from napari_sam.training.object_targets import object_targets

MINI = Path(__file__).parents[1] / "data" / "parity" / "mini.safetensors"
KEEP = {"pred_iou_thresh": 0.6, "stability_score_thresh": 0.6}


@pytest.fixture
def n_asked(monkeypatch):
    """Count the points of grids that are decoded."""
    counts = []
    ask = CropSearch.ask

    def counted(self, points_yx):
        counts.append(len(points_yx))
        return ask(self, points_yx)

    monkeypatch.setattr(CropSearch, "ask", counted)
    return counts


@pytest.fixture
def seeing_sam(blobs):
    """A copy of the tiny model that has the true object maps of ``blobs``."""
    model = load_model(checkpoint=MINI, device="cpu")
    side = 4 * model.grid_size
    step = model.image_size // side
    framed = np.zeros((model.image_size, model.image_size), np.int32)
    framed[: blobs.labels.shape[0]] = blobs.labels
    maps = object_targets(framed).reshape(3, side, step, side, step).mean(axis=(2, 4))
    maps = np.clip(maps, 1e-3, 1 - 1e-3)
    logits = torch.from_numpy(np.log(maps / (1 - maps)))[None]
    model.object_head = nn.Identity()
    model.object_maps = lambda _: logits
    return model


def average_precision(labels, truth):
    return match_objects(
        truth, labels, iou_threshold=0.5, min_area=25
    ).average_precision


def test_any_model_finds_with_fewer_points(tiny_sam, blobs, n_asked):
    grid = segment_image(blobs.image, tiny_sam, points_per_side=16, **KEEP)
    n_grid = sum(n_asked)
    n_asked.clear()
    how = {"points_per_side": 16, "method": "fast", **KEEP}
    labels, records = segment_image(blobs.image, tiny_sam, return_records=True, **how)
    assert sum(n_asked) < 0.7 * n_grid
    assert average_precision(labels, blobs.labels) >= (
        average_precision(grid, blobs.labels) - 0.1
    )
    for number, record in enumerate(records, start=1):
        assert np.array_equal(record.mask(), labels == number)
        assert set(record.to_dict()) >= {"bbox", "predicted_iou", "point_coords"}
    again = segment_image(blobs.image, tiny_sam, **how)
    assert np.array_equal(labels, again)


def test_object_maps_need_no_grid(seeing_sam, blobs, n_asked):
    for method in ("fast", "fastest"):
        labels = segment_image(blobs.image, seeing_sam, method=method, **KEEP)
        assert average_precision(labels, blobs.labels) > 0.8
    assert not n_asked


def test_an_embedding_saves_the_encoding(seeing_sam, blobs, monkeypatch):
    predictor = SamPredictor(seeing_sam)
    generator = AutomaticMaskGenerator(predictor, method="fastest", **KEEP)
    embedding = predictor.embed(blobs.image)
    wanted = generator.generate(blobs.image)
    monkeypatch.setattr(predictor, "embed", None)
    assert generator.generate(blobs.image, embedding=embedding) == wanted


def test_the_fastest_method_needs_object_maps(tiny_sam, blobs):
    with pytest.raises(SettingsError, match=r"no object maps.*method='fast'"):
        segment_image(blobs.image, tiny_sam, method="fastest")


def test_large_images_are_searched_tile_by_tile(tiny_sam, blobs):
    image = np.tile(blobs.image, (1, 2, 1))
    calls = []
    labels = segment_image(
        image,
        tiny_sam,
        method="fast",
        points_per_side=8,
        tile=256,
        progress=lambda *call: calls.append(call),
        **KEEP,
    )
    assert labels[:, :200].any()
    assert labels[:, 300:].any()
    assert all(a[0] <= b[0] for a, b in pairwise(calls))
    assert calls[-1] == (300, 300)  # three tiles, a hundred steps each


def test_blank_tiles_count_as_done(tiny_sam, blobs):
    image = np.concatenate([np.zeros_like(blobs.image), blobs.image], axis=1)
    calls = []
    segment_image(
        image,
        tiny_sam,
        method="fast",
        points_per_side=4,
        tile=256,
        tile_overlap=0.0,
        progress=lambda *call: calls.append(call),
        **KEEP,
    )
    assert calls[0] == (100, 200)
    assert calls[-1] == (200, 200)
