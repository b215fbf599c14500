# SPDX-License-Identifier: Apache-2.0
"""Losses against values worked out by hand."""

import math

import pytest
import torch

from napari_sam.training.losses import mask_iou, per_mask_losses, round_loss
from napari_sam.training.recipe import LossWeights

TARGETS = torch.tensor([[1.0, 0.0], [0.0, 0.0]])


def test_undecided_logits_by_hand() -> None:
    focal, dice, balanced = per_mask_losses(torch.zeros(2, 2), TARGETS)  # p = 0.5
    log2 = math.log(2)
    # one object pixel weighs 0.25, three of background 0.75, each (1 - p)^2 = 0.25
    expected = (0.25 + 3 * 0.75) * 0.25 * log2 / 4
    assert float(focal) == pytest.approx(expected)
    assert float(dice) == pytest.approx(1 - (2 * 0.5 + 1) / (2 + 1 + 1))
    assert float(balanced) == pytest.approx(log2)


def test_perfect_logits_cost_nothing() -> None:
    for loss in per_mask_losses((TARGETS * 2 - 1) * 50, TARGETS):
        assert float(loss) == pytest.approx(0, abs=1e-6)


def test_balanced_loss_weighs_a_lone_pixel_like_its_surroundings() -> None:
    targets = torch.zeros(64, 64)
    targets[10, 10] = 1
    blind = torch.full((64, 64), -10.0)  # says background everywhere
    focal, _, balanced = per_mask_losses(blind, targets)
    assert float(balanced) == pytest.approx(5, rel=0.01)
    assert float(focal) < 0.01


def test_every_mask_has_its_own_losses() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 8, generator=draw)
    targets = (torch.rand(2, 3, 8, 8, generator=draw) > 0.7).float()
    found = per_mask_losses(logits, targets)
    for i in range(2):
        for j in range(3):
            p, wanted = logits[i, j].sigmoid(), targets[i, j] > 0
            truth = torch.where(wanted, p, 1 - p)  # probability of what is true
            alpha = torch.where(wanted, 0.25, 0.75)
            focal = (-alpha * (1 - truth) ** 2 * truth.log()).mean()
            dice = 1 - (2 * p[wanted].sum() + 1) / (p.sum() + wanted.sum() + 1)
            cost = -truth.log()
            balanced = (cost[wanted].mean() + cost[~wanted].mean()) / 2
            for value, expected in zip(found, (focal, dice, balanced), strict=True):
                assert float(value[i, j]) == pytest.approx(float(expected), rel=1e-4)


def test_soft_targets_cost_least_where_they_are_met() -> None:
    soft = torch.full((4, 4), 0.25)
    met = torch.full((4, 4), math.log(0.25 / 0.75))
    focal, _, balanced = per_mask_losses(met, soft)
    assert float(focal) < float(per_mask_losses(-met, soft)[0])
    # Every pixel costs the same, so it does not matter how they are weighed.
    expected = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert float(balanced) == pytest.approx(expected, rel=1e-5)


def test_a_round_learns_from_its_cheapest_output() -> None:
    right = (TARGETS * 2 - 1) * 50
    logits = torch.stack([-right, right, torch.zeros(2, 2)])[None]  # (1, 3, 2, 2)
    predicted = torch.tensor([[0.0, 0.75, 0.0]])
    weights = LossWeights(focal=20, dice=1, iou=2)
    found = round_loss(logits, predicted, TARGETS[None], weights)
    # The second output is perfect; what it says of its IoU, 0.75, is 0.25 too little.
    assert float(found.total) == pytest.approx(2 * 0.25**2, abs=1e-5)
    assert found.terms["iou_error"] == pytest.approx(0.25**2, abs=1e-5)
    undecided = round_loss(logits[:, 2:], predicted[:, 2:], TARGETS[None], weights)
    focal, dice, _ = per_mask_losses(torch.zeros(2, 2), TARGETS)
    # No logit lies above 0: the IoU is 0, as was said.
    assert float(undecided.total) == pytest.approx(float(20 * focal + dice))


def test_gradients_of_extreme_logits_are_finite() -> None:
    logits = torch.tensor([[90.0, -90.0], [1e4, -1e4]], requires_grad=True)
    sum(per_mask_losses(logits, TARGETS)).backward()
    assert torch.isfinite(logits.grad).all()


def test_iou_counts_an_empty_union_as_one_pixel() -> None:
    logits = torch.tensor([[[1.0, 1.0], [-1.0, -1.0]], [[-1.0, -1.0], [-1.0, -1.0]]])
    targets = torch.stack([TARGETS, torch.zeros(2, 2)])
    assert mask_iou(logits, targets).tolist() == [0.5, 0.0]
