# SPDX-License-Identifier: Apache-2.0
"""The simulated user: rounds of prompts on the objects of one image, and their loss.

Kirillov et al. 2023, appendix A ("Training algorithm"): a point or a box first, then
points from where the last prediction was wrong, its logits given back, and rounds
without a new point. P objects, four outputs, masks (H, W) at the resolution of the mask
logits; positions in pixels of the frame, of which ``stride`` lie on a mask pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_sam.training.losses import RoundLoss, mask_iou, round_loss
from napari_sam.training.prompt_sampling import (
    centre_point,
    correction_pair,
    noisy_box,
    sampled_correction,
    uniform_point,
)

if TYPE_CHECKING:
    from napari_sam.training.recipe import LossWeights, PromptRounds

BoolMasks = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]
Round = Literal["first", "point", "idle"]

SINGLE_OUTPUT, MULTI_OUTPUT = slice(0, 1), slice(1, 4)


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Prompts of one kind on P objects.

    ``points`` are (P, N, 3) x, y, label; ``boxes`` (P, 4) x0, y0, x1, y1; one or both.
    """

    points: FloatArray | None = None
    boxes: FloatArray | None = None

    def with_points(self, clicks: FloatArray) -> Prompts:
        """Add clicks (P, n, 3) to those before."""
        before = () if self.points is None else (self.points,)
        return Prompts(np.concatenate([*before, clicks], axis=1), self.boxes)


class Decode(Protocol):
    """What answers prompts: logits (P, 4, H, W) and predicted IoU (P, 4), float32."""

    def __call__(
        self, prompts: Prompts, mask_input: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Answer prompts, perhaps with the logits (P, 1, H, W) of an answer before."""
        ...


def plan_rounds(rounds: PromptRounds, rng: np.random.Generator) -> list[Round]:
    """Order the rounds: the first, points with idle rounds among them, idle ones."""
    middle: list[Round] = ["point"] * rounds.point_rounds
    for _ in range(rounds.idle_inside):
        middle.insert(int(rng.integers(len(middle) + 1)), "idle")
    last: list[Round] = ["idle"] * rounds.idle_last
    return ["first", *middle, *last]


def first_prompts(
    masks: BoolMasks,
    rounds: PromptRounds,
    rng: np.random.Generator,
    stride: float,
    *,
    is_box: bool,
) -> Prompts:
    """Return one foreground point or one box for each of the masks (P, H, W)."""
    if is_box:
        boxes = [_box(mask, rounds, rng, stride) for mask in masks]
        return Prompts(boxes=np.array(boxes, np.float32))
    points = []
    for mask in masks:
        is_centre = rng.random() < rounds.centre_share
        x, y = (
            centre_point(mask, stride)
            if is_centre
            else uniform_point(mask, rng, stride)
        )
        points.append((x, y, 1.0))
    return Prompts(points=np.array(points, np.float32)[:, None])


def _box(
    mask: npt.NDArray[np.bool_],
    rounds: PromptRounds,
    rng: np.random.Generator,
    stride: float,
) -> npt.NDArray[np.float64]:
    is_tight = rng.random() < rounds.tight_box_share
    jitter = 0.0 if is_tight else rounds.box_noise
    limit = rounds.box_noise_limit_px
    box = np.array(noisy_box(mask, rng, stride, jitter, limit))
    if rounds.box_outward and not is_tight:
        sides = np.tile(box[2:] - box[:2], 2)
        outward = rng.uniform(0, rounds.box_outward, 4) * sides
        box += outward * (-1, -1, 1, 1)
    return box


def new_points(
    predicted: BoolMasks,
    wanted: BoolMasks,
    rounds: PromptRounds,
    rng: np.random.Generator,
    stride: float,
) -> FloatArray:
    """Click where predictions (P, H, W) are wrong: (P, n, 3) x, y, label."""
    clicks: list[list[tuple[float, float, int]]] = []
    for was, should in zip(predicted, wanted, strict=True):
        if rounds.point_pairs:
            clicks.append(correction_pair(was, should, rng, stride))
        else:
            share = rounds.centre_share
            clicks.append([sampled_correction(was, should, rng, stride, share)])
    return np.array(clicks, np.float32)


def simulate(
    decode: Decode,
    masks: BoolMasks,
    rounds: PromptRounds,
    weights: LossWeights,
    rng: np.random.Generator,
    stride: float,
    *,
    is_box: bool,
) -> tuple[Tensor, dict[str, float]]:
    """Prompt the objects round by round.

    Parameters
    ----------
    decode : Decode
        Answers prompts on the image.
    masks : (P, H, W) bool array
        The objects, none empty.
    rounds, weights : PromptRounds and LossWeights
        How to prompt, and what counts how much.
    rng : Generator
        All randomness is its.
    stride : float
        Pixels of the frame for a mask pixel.
    is_box : bool
        Whether the first prompt is a box.

    Returns
    -------
    loss : scalar tensor
        Mean over rounds and objects.
    metrics : dict
        Means over objects of the terms, and the IoU after the first and last round.
    """
    prompts = first_prompts(masks, rounds, rng, stride, is_box=is_box)
    mask_input: Tensor | None = None
    shown: Tensor | None = None  # what the user sees: (P, H, W) logits
    wanted: Tensor | None = None
    found: list[RoundLoss] = []
    ious: list[float] = []
    for kind in plan_rounds(rounds, rng):
        if shown is not None:
            if kind == "point":
                predicted = (shown.detach() > 0).cpu().numpy()
                clicks = new_points(predicted, masks, rounds, rng, stride)
                prompts = prompts.with_points(clicks)
            is_given_back = rng.random() < rounds.logits_share
            mask_input = shown[:, None] if is_given_back else None
        logits, iou = decode(prompts, mask_input)
        if wanted is None:
            wanted = torch.from_numpy(masks).to(logits.device).float()
        is_ambiguous = shown is None and not is_box and rounds.multimask_first
        outputs = MULTI_OUTPUT if is_ambiguous else SINGLE_OUTPUT
        logits, iou = logits[:, outputs], iou[:, outputs]
        found.append(round_loss(logits, iou, wanted, weights))
        shown = best_predicted(logits, iou)
        ious.append(float(mask_iou(shown, wanted).mean()))
        if rounds.detach_logits:
            shown = shown.detach()
    loss = torch.stack([one.total for one in found]).mean()
    terms = {
        key: float(np.mean([one.terms[key] for one in found])) for key in found[0].terms
    }
    return loss, terms | {"first_iou": ious[0], "last_iou": ious[-1]}


def best_predicted(logits: Tensor, iou: Tensor) -> Tensor:
    """Choose the logits (P, H, W) of the output with the highest predicted IoU."""
    rows = torch.arange(len(iou), device=iou.device)
    return logits[rows, iou.argmax(dim=1)]
