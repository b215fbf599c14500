# SPDX-License-Identifier: Apache-2.0
"""Losses on mask logits; each returns one value per mask.

Shapes: logits (..., H, W), targets of the same shape with values 0 or 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from napari_sam.training.recipe import LossWeights


@torch.no_grad()
def mask_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """IoU of (logits > 0) with the targets; the union counts at least one pixel."""
    predicted = logits > 0
    wanted = targets > 0.5
    intersection = (predicted & wanted).sum(dim=(-2, -1))
    union = (predicted | wanted).sum(dim=(-2, -1)).clamp(min=1)
    return intersection / union


def per_mask_losses(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Focal, Dice and balanced loss in one pass: their sigmoids are the same.

    Focal: Lin et al. 2017 with gamma 2 and alpha 0.25 on objects, mean over pixels.
    Dice: one minus the soft coefficient, smoothed by one pixel. Balanced: cross entropy
    in which object and surroundings weigh the same. Soft targets are allowed.

    Returns
    -------
    three (...) tensors
    """
    p = logits.sigmoid()
    cross_entropy = functional.softplus(logits) - logits * targets
    rest = 1 - targets
    missed = p + targets - 2 * p * targets  # 1 - p of the true class
    focal = ((0.75 - 0.5 * targets) * missed.square() * cross_entropy).mean(
        dim=(-2, -1)
    )
    n_inside, n_outside = targets.sum(dim=(-2, -1)), rest.sum(dim=(-2, -1))
    inside = (cross_entropy * targets).sum(dim=(-2, -1))
    outside = cross_entropy.sum(dim=(-2, -1)) - inside
    balanced = 0.5 * (inside / n_inside.clamp(min=1) + outside / n_outside.clamp(min=1))
    dice = 1 - (2 * (p * targets).sum(dim=(-2, -1)) + 1) / (
        p.sum(dim=(-2, -1)) + n_inside + 1
    )
    return focal, dice, balanced


class RoundLoss(NamedTuple):
    """Loss of one round of prompts, a scalar, and its terms before weighting."""

    total: Tensor
    terms: dict[str, float]


def round_loss(
    logits: Tensor, predicted_iou: Tensor, targets: Tensor, weights: LossWeights
) -> RoundLoss:
    """Loss of the best of k outputs for each of P objects, mean over objects.

    Kirillov et al. 2023, appendix A: focal and dice of every output, and only the
    smallest sum is learnt from, so that outputs become different answers. The IoU head
    learns that output's IoU, or with ``weights.iou_all`` those of all (Ravi et al.
    2024).

    Parameters
    ----------
    logits, predicted_iou : (P, k, H, W) and (P, k) tensors
        What the model said.
    targets : (P, H, W) tensor
        0 or 1.
    weights : LossWeights
        Of the terms.
    """
    wanted = targets[:, None].expand_as(logits)
    focal, dice, balanced = per_mask_losses(logits, wanted)  # (P, k) each
    per_output = weights.focal * focal + weights.dice * dice
    if weights.balanced:
        per_output = per_output + weights.balanced * balanced
    least, best = per_output.min(dim=1)
    error = predicted_iou - mask_iou(logits, wanted)
    terms = {
        "focal": focal,
        "dice": dice,
        "iou_error": error.abs() if weights.iou_l1 else error.square(),
    }

    of_best = {key: term.gather(1, best[:, None])[:, 0] for key, term in terms.items()}
    iou_term = (
        terms["iou_error"].mean(dim=1) if weights.iou_all else of_best["iou_error"]
    )
    total = (least + weights.iou * iou_term).mean()
    return RoundLoss(
        total, {key: float(term.detach().mean()) for key, term in of_best.items()}
    )
