# SPDX-License-Identifier: Apache-2.0
"""All numbers of a training run, in one frozen place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How to train the embedded model on crops of its frame.

    Sizes are pixels of the 512-pixel frame. Where the paper (Kirillov et al. 2023,
    appendix A) differs, the reason stands beside the number.
    """

    seed: int = 0
    architecture: str = "embedded_v2"
    # Crops keep a step near a second on a CPU. Some steps see one larger crop instead,
    # for large objects.
    crop_size: int = 256
    crops_per_step: int = 4
    objects_per_crop: int = 6
    large_crop_size: int = 512
    large_crop_fraction: float = 0.2
    large_crop_objects: int = 6
    rounds: int = 4  # first prompt and corrections
    correction_fraction: float = 0.7  # share of prompts that get one round more
    box_fraction: float = 0.4  # paper: 0.5; clicks are the harder prompt
    box_jitter: float = 0.1  # of the box side, at most 20 px (paper)
    tight_box_fraction: float = 0.4  # annotators' and detectors' boxes are often tight
    centre_point_fraction: float = 0.5  # the others are uniform in the object
    # Crops shown as they are when annotating: usual contrast and scale, hardly changed.
    # Where an outline lies is a habit of each set, and follows from its looks.
    plain_fraction: float = 0.75
    region_fraction: float = 0.75  # of plain crops of images larger than 1.5 frames
    enlarged_fraction: float = 0.6  # of plain crops around objects that are tiny
    usual_scale_fraction: float = 0.5  # image fills the frame, as when annotating
    scale_range: tuple[float, float] = (0.4, 3.0)
    min_object_px: int = 6  # at the resolution of the mask logits (stride 2)
    # Optimiser: AdamW, warm-up, constant, linear decay to zero; EMA weights are kept.
    lr: float = 1e-3
    encoder_lr_factor: float = 0.3  # the backbone does not start at random
    weight_decay: float = 0.05
    warmup_steps: int = 200
    total_steps: int = 20_000
    decay_steps: int = 6_000
    ema_decay: float = 0.998
    clip_norm: float = 1.0
    # Loss weights. Focal : dice = 20 : 1 is the paper's; the balanced cross entropy
    # keeps a gradient alive for objects of a few pixels in a large crop.
    focal_weight: float = 20.0
    dice_weight: float = 1.0
    balanced_weight: float = 0.3
    coarse_weight: float = 0.3  # the same at stride 8, where objects are told apart
    iou_weight: float = 1.0
    single_output_weight: float = 0.5  # output 0 also learns from one point
    objects_weight: float = 1.0  # foreground, border and centre of every object
    save_every: int = 250
    eval_every: int = 1_000
