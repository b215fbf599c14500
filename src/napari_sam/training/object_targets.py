# SPDX-License-Identifier: Apache-2.0
"""What the object head should say of a label image, and the loss for it.

Maps are those of :class:`~napari_sam.modeling.object_head.ObjectHead`: foreground,
border, depth inside the object.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from napari_sam.modeling.object_head import BOUNDARY, CENTRE, FOREGROUND

BORDER_PX = 1.5  # depth up to which a pixel belongs to the border


def object_targets(
    labels: npt.NDArray[np.integer], is_image: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.float32]:
    """Foreground, border and relative depth (3, H, W) in 0..1 of labels (H, W).

    Where `is_image` (H, W) is False the image has ended; all maps are 0 there.
    """
    if is_image is not None:
        labels = np.where(is_image, labels, 0)
    depth = depth_inside(labels, is_image)
    largest = ndimage.maximum(depth, labels, np.arange(int(labels.max()) + 1))
    relative = depth / np.maximum(np.asarray(largest)[labels], 1e-6)
    is_object = labels > 0
    maps = np.zeros((3, *labels.shape), np.float32)
    maps[FOREGROUND] = is_object
    maps[BOUNDARY] = is_object & (depth <= BORDER_PX)
    maps[CENTRE] = relative
    return maps


def depth_inside(
    labels: npt.NDArray[np.integer], is_image: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.float32]:
    """Distance of each object pixel to the nearest pixel of its border, from 1 on.

    The nearest border pixel of any object is of a pixel's own object, so one transform
    serves all. The edge of the image is no border: objects go on behind it. It lies
    where `is_image` (H, W) ends, or else where the array does.
    """
    is_border = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        before = [slice(None)] * 2
        after = [slice(None)] * 2
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        differs = np.diff(labels, axis=axis) != 0
        if is_image is not None:
            differs &= is_image[tuple(before)] & is_image[tuple(after)]
        is_border[tuple(before)] |= differs
        is_border[tuple(after)] |= differs
    is_border &= labels > 0
    if not is_border.any():
        return (labels > 0).astype(np.float32)
    depth = ndimage.distance_transform_edt(~is_border) + 1
    return np.where(labels > 0, depth, 0).astype(np.float32)


def object_loss(
    logits: Tensor, targets: Tensor, is_image: Tensor | None = None
) -> Tensor:
    """Cross entropy of the three maps, and Dice of the foreground; one number.

    ``logits`` and ``targets`` are (B, 3, H, W); where ``is_image`` (B, H, W) is False,
    nothing counts.
    """
    cross_entropy = functional.binary_cross_entropy_with_logits(
        logits, targets, reduction="none"
    )
    # A soft target keeps its own entropy: only what is above it can be learnt.
    p = logits[:, FOREGROUND].sigmoid()
    wanted = targets[:, FOREGROUND]
    if is_image is None:
        cross_entropy = cross_entropy.mean(dim=(0, 2, 3))
    else:
        p, wanted = p * is_image, wanted * is_image
        counted = (cross_entropy * is_image[:, None]).sum(dim=(0, 2, 3))
        cross_entropy = counted / is_image.sum().clamp(min=1)
    dice = 1 - (2 * (p * wanted).sum() + 1) / (p.sum() + wanted.sum() + 1)
    return cross_entropy.sum() + dice


@torch.no_grad()
def foreground_iou(
    logits: Tensor, targets: Tensor, is_image: Tensor | None = None
) -> Tensor:
    """IoU of the predicted foreground with the true one over a batch."""
    predicted = logits[:, FOREGROUND] > 0
    if is_image is not None:
        predicted = predicted & is_image
    wanted = targets[:, FOREGROUND] > 0.5
    union = (predicted | wanted).sum().clamp(min=1)
    return (predicted & wanted).sum() / union
