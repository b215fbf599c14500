# SPDX-License-Identifier: Apache-2.0
"""One training step: prompts for the objects of a few crops, corrections, the loss.

P prompts of a group, k masks; H and W at the resolution of the mask logits. Kirillov et
al. 2023, appendix A ("Training algorithm"), with fewer rounds: each keeps a share of
the prompts of the one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from napari_sam.modeling.mask_decoder_conv import ConvMaskDecoder, DecodedMaps
from napari_sam.modeling.prompt_encoder_map import STRIDE
from napari_sam.training.crops import MASK_STRIDE, Crop
from napari_sam.training.losses import mask_iou, per_mask_losses
from napari_sam.training.prompt_sampling import (
    centre_point,
    noisy_box,
    sampled_correction,
    uniform_point,
)

if TYPE_CHECKING:
    from napari_sam.modeling.sam import ImageFeatures, Sam
    from napari_sam.training.config import TrainConfig

BoolMask = npt.NDArray[np.bool_]
COARSE = STRIDE // MASK_STRIDE  # mask pixels along a side of a cell


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
    crops: list[Crop],
    objects_per_crop: int,
    config: TrainConfig,
    rng: np.random.Generator,
) -> list[PromptGroup]:
    """Choose objects of each crop; some get a point, the others a box."""
    chosen: dict[bool, list[tuple[int, BoolMask]]] = {True: [], False: []}
    for i, crop in enumerate(crops):
        counts = np.bincount(crop.labels.ravel())
        counts[0] = 0
        labels = np.nonzero(counts >= config.min_object_px)[0]
        drawn = rng.choice(
            labels, objects_per_crop, replace=len(labels) < objects_per_crop
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
    """Runs prompt encoder and mask decoder on crops as if each were a frame."""

    def __init__(self, model: Sam, features: ImageFeatures) -> None:
        decoder = model.mask_decoder
        if not isinstance(decoder, ConvMaskDecoder):
            msg = "Training on crops needs a decoder without position code."
            raise TypeError(msg)
        self._encoder = model.prompt_encoder
        self._decoder = decoder
        self._image = decoder.prepare(features)
        self._shape = tuple(features.embedding.shape[-2:])
        self.device = features.embedding.device

    def __call__(
        self, group: PromptGroup, mask_input: Tensor | None = None
    ) -> tuple[Tensor, DecodedMaps]:
        """Logits (P, 4, H, W), float32, and what they were drawn from."""
        points = boxes = None
        if group.points is not None:
            given = torch.from_numpy(group.points).to(self.device)
            points = (given[..., :2], given[..., 2].long())
        if group.boxes is not None:
            boxes = torch.from_numpy(group.boxes).to(self.device)
        places, maps = self._encoder(points, boxes, mask_input, self._shape)
        image = self._image.of_images(torch.from_numpy(group.crop).to(self.device))
        decoded = self._decoder.attend(image, places, maps)
        logits = self._decoder.draw(decoded, image.features.high_res)
        return logits.float(), decoded


def group_loss(
    decode: CropDecoder,
    group: PromptGroup,
    config: TrainConfig,
    rng: np.random.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Loss of a first prompt and of corrections, and mean IoUs by round."""
    logits, decoded = decode(group)
    targets = _targets(group, decode)
    is_point = group.boxes is None
    name = "point" if is_point else "box"
    single = _mask_loss(logits, decoded, targets, slice(0, 1), config)
    loss = single
    chosen = torch.zeros(len(targets), dtype=torch.long, device=logits.device)
    if is_point:
        multi = _mask_loss(logits, decoded, targets, slice(1, None), config)
        loss = multi + config.single_output_weight * single
        chosen = 1 + decoded.predicted_iou[:, 1:].argmax(dim=1)
    rows = torch.arange(len(chosen), device=logits.device)
    picked = logits[rows, chosen]
    metrics = {f"{name}_iou": float(mask_iou(picked, targets).mean())}
    share = 1.0
    for i in range(1, config.rounds):
        share *= config.correction_fraction
        n_again = round(config.correction_fraction * len(targets))
        if not n_again:
            break
        again = rng.choice(len(targets), n_again, replace=False)
        group = _add_correction(group, picked.detach() > 0, again, rng)
        previous = picked.detach()[torch.from_numpy(again).to(picked.device)][:, None]
        logits, decoded = decode(group, previous)
        targets = _targets(group, decode)
        again_loss = _mask_loss(logits, decoded, targets, slice(0, 1), config)
        loss = loss + share * again_loss
        picked = logits[:, 0]
        metrics[f"{name}_iou_{i}"] = float(mask_iou(picked, targets).mean())
    return loss, metrics


def _targets(group: PromptGroup, decode: CropDecoder) -> Tensor:
    return torch.from_numpy(group.targets).to(decode.device).float()


def _mask_loss(
    logits: Tensor,
    decoded: DecodedMaps,
    targets: Tensor,
    outputs: slice,
    config: TrainConfig,
) -> Tensor:
    """Best of k masks for the masks, all k for the IoU head (Ravi et al. 2024)."""
    logits = logits[:, outputs]
    wanted = targets[:, None].expand_as(logits)
    loss = _weigh(per_mask_losses(logits, wanted), config)  # (P, k)
    best = loss.detach().argmin(dim=1, keepdim=True)
    blurred = functional.avg_pool2d(targets[:, None], COARSE)
    coarse = decoded.coarse[:, outputs].float()
    coarse = coarse.gather(1, best[..., None, None].expand(-1, -1, *coarse.shape[2:]))
    coarse_loss = _weigh(per_mask_losses(coarse, blurred), config)
    predicted = decoded.predicted_iou[:, outputs].float()
    iou_error = (predicted - mask_iou(logits, wanted)).square().mean(dim=1)
    return (
        loss.gather(1, best)[:, 0]
        + config.coarse_weight * coarse_loss[:, 0]
        + config.iou_weight * iou_error
    ).mean()


def _weigh(losses: tuple[Tensor, Tensor, Tensor], config: TrainConfig) -> Tensor:
    focal, dice, balanced = losses
    return (
        config.focal_weight * focal
        + config.dice_weight * dice
        + config.balanced_weight * balanced
    )


def _add_correction(
    group: PromptGroup,
    predicted: Tensor,
    again: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> PromptGroup:
    masks = predicted.cpu().numpy()
    clicks = np.array(
        [
            sampled_correction(masks[i], group.targets[i], rng, MASK_STRIDE)
            for i in again
        ],
        np.float32,
    )[:, None]  # (P', 1, 3)
    points = (
        clicks
        if group.points is None
        else np.concatenate([group.points[again], clicks], axis=1)
    )
    boxes = None if group.boxes is None else group.boxes[again]
    return PromptGroup(group.crop[again], group.targets[again], points, boxes)
