# SPDX-License-Identifier: Apache-2.0
"""One training step: prompts for the objects of a few crops, two rounds, the loss.

P prompts of a group, k masks, all at the resolution of the mask logits. Kirillov et al.
2023, appendix A ("Training algorithm"), shortened to a first prompt and a correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_sam.modeling.prompt_encoder_spatial import (
    GridWindow,
    SpatialPromptEncoder,
)
from napari_sam.training.crops import MASK_STRIDE, Crop
from napari_sam.training.losses import (
    balanced_cross_entropy,
    dice_loss,
    focal_loss,
    mask_iou,
)
from napari_sam.training.prompt_sampling import (
    centre_point,
    correction_point,
    noisy_box,
    uniform_point,
)

if TYPE_CHECKING:
    from napari_sam.modeling.sam import ImageFeatures, Sam
    from napari_sam.training.config import TrainConfig

BoolMask = npt.NDArray[np.bool_]


@dataclass(slots=True, eq=False)
class PromptGroup:
    """Prompts of one kind: all points, or all boxes.

    ``crop`` (P,) says which crop each belongs to; ``targets`` (P, H, W) bool;
    ``points`` (P, N, 3) x, y, label and ``boxes`` (P, 4) in pixels of the crop.
    """

    crop: npt.NDArray[np.int64]
    targets: BoolMask
    points: npt.NDArray[np.float32] | None
    boxes: npt.NDArray[np.float32] | None


def make_groups(
    crops: list[Crop], config: TrainConfig, rng: np.random.Generator
) -> list[PromptGroup]:
    """Choose objects of each crop; some get a point, the others a box."""
    chosen: dict[bool, list[tuple[int, BoolMask]]] = {True: [], False: []}
    for i, crop in enumerate(crops):
        counts = np.bincount(crop.labels.ravel())
        counts[0] = 0
        labels = np.nonzero(counts >= config.min_object_px)[0]
        drawn = rng.choice(
            labels,
            config.objects_per_crop,
            replace=len(labels) < config.objects_per_crop,
        )
        n_boxes = round(config.box_fraction * len(drawn))
        for j, label in enumerate(drawn):
            chosen[j < n_boxes].append((i, crop.labels == label))
    groups = []
    for is_box, objects in chosen.items():
        if not objects:
            continue
        masks = [mask for _, mask in objects]
        prompts = np.array(
            [_box(m, config, rng) if is_box else _point(m, config, rng) for m in masks],
            np.float32,
        )
        groups.append(
            PromptGroup(
                np.array([i for i, _ in objects]),
                np.stack(masks),
                None if is_box else prompts[:, None],
                prompts if is_box else None,
            )
        )
    return groups


def _point(
    mask: BoolMask, config: TrainConfig, rng: np.random.Generator
) -> tuple[float, float, float]:
    if rng.random() < config.centre_point_fraction:
        return (*centre_point(mask, MASK_STRIDE), 1.0)
    return (*uniform_point(mask, rng, MASK_STRIDE), 1.0)


def _box(
    mask: BoolMask, config: TrainConfig, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    jitter = 0.0 if rng.random() < config.tight_box_fraction else config.box_jitter
    return noisy_box(mask, rng, MASK_STRIDE, jitter)


class CropDecoder:
    """Runs prompt encoder and mask decoder on crops that lie somewhere in the frame."""

    def __init__(self, model: Sam, features: ImageFeatures, window: GridWindow) -> None:
        if not isinstance(model.prompt_encoder, SpatialPromptEncoder):
            msg = "Training on crops needs a SpatialPromptEncoder."
            raise TypeError(msg)
        self._encoder = model.prompt_encoder
        self._decoder = model.mask_decoder
        self._features = features
        self._window = window
        stride = model.image_size // model.grid_size
        self._shift = (window.column * stride, window.row * stride)
        self.device = features.embedding.device

    def __call__(
        self, group: PromptGroup, mask_input: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits (P, 4, H, W) and predicted IoU (P, 4), float32."""
        device = self.device
        shift = torch.tensor(self._shift, dtype=torch.float32, device=device)
        points = boxes = None
        if group.points is not None:
            given = torch.from_numpy(group.points).to(device)
            points = (given[..., :2] + shift, given[..., 2].long())
        if group.boxes is not None:
            boxes = torch.from_numpy(group.boxes).to(device) + shift.repeat(2)
        sparse, dense = self._encoder(points, boxes, mask_input, self._window)
        index = torch.from_numpy(group.crop).to(device)
        logits, iou = self._decoder(
            self._features.embedding[index],
            self._encoder.dense_pe(self._window),
            sparse,
            dense,
            [finer[index] for finer in self._features.high_res],
        )
        return logits.float(), iou.float()


def group_loss(
    decode: CropDecoder,
    group: PromptGroup,
    config: TrainConfig,
    rng: np.random.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Loss of a first prompt and, for some prompts, of a correction."""
    targets = _targets(group, decode)
    logits, iou = decode(group)
    is_point = group.boxes is None
    name = "point" if is_point else "box"
    single = _mask_loss(logits[:, :1], iou[:, :1], targets, config)
    loss = single
    chosen = torch.zeros(len(targets), dtype=torch.long, device=logits.device)
    if is_point:
        multi = _mask_loss(logits[:, 1:], iou[:, 1:], targets, config)
        loss = multi + config.single_output_weight * single
        chosen = 1 + iou[:, 1:].argmax(dim=1)
    rows = torch.arange(len(chosen), device=logits.device)
    picked = logits[rows, chosen]
    metrics = {f"{name}_iou": float(mask_iou(picked, targets).mean())}

    n_again = round(config.correction_fraction * len(targets))
    if n_again:
        again = rng.choice(len(targets), n_again, replace=False)
        corrected = _add_correction(group, picked.detach() > 0, again, rng)
        previous = picked[torch.from_numpy(again).to(picked.device)][:, None]
        logits, iou = decode(corrected, previous)
        second = targets[torch.from_numpy(again).to(targets.device)]
        loss = loss + config.correction_fraction * _mask_loss(
            logits[:, :1], iou[:, :1], second, config
        )
        metrics[f"{name}_then_iou"] = float(mask_iou(logits[:, 0], second).mean())
    return loss, metrics


def _targets(group: PromptGroup, decode: CropDecoder) -> Tensor:
    return torch.from_numpy(group.targets).to(decode.device).float()


def _mask_loss(
    logits: Tensor, iou: Tensor, targets: Tensor, config: TrainConfig
) -> Tensor:
    """Best of k masks for the masks, all k for the IoU head (Ravi et al. 2024)."""
    wanted = targets[:, None].expand_as(logits)
    per_mask = (
        config.focal_weight * focal_loss(logits, wanted)
        + config.dice_weight * dice_loss(logits, wanted)
        + config.balanced_weight * balanced_cross_entropy(logits, wanted)
    )  # (P, k)
    iou_error = (iou - mask_iou(logits, wanted)).square().mean(dim=1)
    return (per_mask.amin(dim=1) + config.iou_weight * iou_error).mean()


def _add_correction(
    group: PromptGroup,
    predicted: Tensor,
    again: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> PromptGroup:
    masks = predicted.cpu().numpy()
    clicks = np.array(
        [correction_point(masks[i], group.targets[i], rng, MASK_STRIDE) for i in again],
        np.float32,
    )[:, None]  # (P', 1, 3)
    points = (
        clicks
        if group.points is None
        else np.concatenate([group.points[again], clicks], axis=1)
    )
    boxes = None if group.boxes is None else group.boxes[again]
    return PromptGroup(group.crop[again], group.targets[again], points, boxes)
