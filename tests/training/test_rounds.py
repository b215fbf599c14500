# SPDX-License-Identifier: Apache-2.0
"""Prompts of a step and what they are told."""

import numpy as np
import pytest
import torch

from napari_sam.modeling.features import ImageFeatures
from napari_sam.modeling.registry import build_model
from napari_sam.training.config import TrainConfig
from napari_sam.training.crops import Crop
from napari_sam.training.rounds import CropDecoder, group_loss, make_groups

CONFIG = TrainConfig(box_fraction=0.5, tight_box_fraction=1.0, rounds=3)


def crop_of_two() -> Crop:
    labels = np.zeros((64, 64), np.int32)
    labels[8:24, 8:24] = 3
    labels[40:50, 30:60] = 9
    pixels = np.repeat((labels > 0)[None] * np.float32(200), 3, axis=0)
    return Crop(
        np.kron(pixels, np.ones((1, 2, 2), np.float32)),
        labels,
        np.ones((128, 128), bool),
    )


def test_points_lie_in_their_objects_and_boxes_around_them() -> None:
    groups = make_groups([crop_of_two()], 8, CONFIG, np.random.default_rng(0))
    points, boxes = sorted(groups, key=lambda group: group.points is None)
    assert len(points.targets) == len(boxes.targets) == 4
    for mask, ((x, y, label),) in zip(points.targets, points.points, strict=True):
        assert label == 1
        assert mask[int((y + 0.5) // 2), int((x + 0.5) // 2)]
    for mask, box in zip(boxes.targets, boxes.boxes, strict=True):
        rows, columns = np.nonzero(mask)
        wanted = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box.tolist() == [2 * v for v in wanted]


def test_every_round_is_measured_and_every_weight_learns() -> None:
    torch.manual_seed(0)
    model = build_model("embedded_v2")
    crop = crop_of_two()
    rng = np.random.default_rng(0)
    groups = make_groups([crop], 8, CONFIG, rng)
    decode = CropDecoder(model, model.encode_image(torch.from_numpy(crop.pixels)[None]))
    total, metrics = torch.zeros(()), {}
    for group in groups:
        loss, scores = group_loss(decode, group, CONFIG, rng)
        total, metrics = total + loss, metrics | scores
    assert set(metrics) == {
        f"{kind}_iou{i}" for kind in ("point", "box") for i in ("", "_1", "_2")
    }
    total.backward()
    idle = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None and not name.startswith("object_head")
    ]
    assert idle == []


def test_a_decoder_with_position_codes_is_refused() -> None:
    model = build_model("vit_t")
    with pytest.raises(TypeError, match="position code"):
        CropDecoder(model, ImageFeatures(torch.zeros(1, 256, 64, 64)))
