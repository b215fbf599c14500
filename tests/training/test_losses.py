# SPDX-License-Identifier: Apache-2.0
"""Losses against values worked out by hand."""

import math

import pytest
import torch

from napari_sam.training.losses import (
    balanced_cross_entropy,
    dice_loss,
    focal_loss,
    mask_iou,
)

TARGETS = torch.tensor([[1.0, 0.0], [0.0, 0.0]])


def test_undecided_logits_by_hand() -> None:
    logits = torch.zeros(2, 2)  # p = 0.5 everywhere
    log2 = math.log(2)
    # one object pixel weighs 0.25, three of background 0.75, each (1 - p)^2 = 0.25
    expected = (0.25 + 3 * 0.75) * 0.25 * log2 / 4
    assert float(focal_loss(logits, TARGETS)) == pytest.approx(expected)
    assert float(dice_loss(logits, TARGETS)) == pytest.approx(
        1 - (2 * 0.5 + 1) / (2 + 1 + 1)
    )
    assert float(balanced_cross_entropy(logits, TARGETS)) == pytest.approx(log2)


def test_perfect_logits_cost_nothing() -> None:
    logits = (TARGETS * 2 - 1) * 50
    for loss in (focal_loss, dice_loss, balanced_cross_entropy):
        assert float(loss(logits, TARGETS)) == pytest.approx(0, abs=1e-6)


def test_balanced_loss_weighs_a_lone_pixel_like_its_surroundings() -> None:
    targets = torch.zeros(64, 64)
    targets[10, 10] = 1
    blind = torch.full((64, 64), -10.0)  # says background everywhere
    assert float(balanced_cross_entropy(blind, targets)) == pytest.approx(5, rel=0.01)
    assert float(focal_loss(blind, targets)) < 0.01


def test_iou_counts_an_empty_union_as_one_pixel() -> None:
    logits = torch.tensor([[[1.0, 1.0], [-1.0, -1.0]], [[-1.0, -1.0], [-1.0, -1.0]]])
    targets = torch.stack([TARGETS, torch.zeros(2, 2)])
    assert mask_iou(logits, targets).tolist() == [0.5, 0.0]
