# SPDX-License-Identifier: Apache-2.0
"""Losses on mask logits; each returns one value per mask.

Shapes: logits (..., H, W), targets of the same shape with values 0 or 1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25) -> Tensor:
    """Focal loss with gamma 2, mean over pixels (Lin et al. 2017; alpha on objects)."""
    cross_entropy = functional.binary_cross_entropy_with_logits(
        logits, targets, reduction="none"
    )
    p = logits.sigmoid()
    missed = p + targets - 2 * p * targets  # 1 - p of the true class
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    return (weight * missed.square() * cross_entropy).mean(dim=(-2, -1))


def dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """One minus the soft Dice coefficient, smoothed by one pixel."""
    p = logits.sigmoid()
    overlap = (p * targets).sum(dim=(-2, -1))
    total = p.sum(dim=(-2, -1)) + targets.sum(dim=(-2, -1))
    return 1 - (2 * overlap + 1) / (total + 1)


def balanced_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy in which object and surroundings weigh the same."""
    cross_entropy = functional.binary_cross_entropy_with_logits(
        logits, targets, reduction="none"
    )
    inside = targets.sum(dim=(-2, -1)).clamp(min=1)
    outside = (1 - targets).sum(dim=(-2, -1)).clamp(min=1)
    return 0.5 * (
        (cross_entropy * targets).sum(dim=(-2, -1)) / inside
        + (cross_entropy * (1 - targets)).sum(dim=(-2, -1)) / outside
    )


@torch.no_grad()
def mask_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """IoU of (logits > 0) with the targets; the union counts at least one pixel."""
    predicted = logits > 0
    wanted = targets > 0.5
    intersection = (predicted & wanted).sum(dim=(-2, -1))
    union = (predicted | wanted).sum(dim=(-2, -1)).clamp(min=1)
    return intersection / union
