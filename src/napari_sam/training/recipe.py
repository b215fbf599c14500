# SPDX-License-Identifier: Apache-2.0
"""Every number of a training run, in frozen sections, with its source.

"Paper" is Kirillov et al. 2023 (arXiv 2304.02643), appendix A; "SAM 2" Ravi et al. 2024
and its training code; "micro-sam" Archit et al. 2025 in its version 1.8. Defaults of a
section are the paper's wherever the paper says something; presets that differ are in
:mod:`napari_sam.training.presets`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from napari_sam.training.recipe_fields import Section, choice, number, pair, steps

Way = Literal["whole", "lora", "frozen"]
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class Trained(Section):
    """Which parts of the model learn.

    Attributes
    ----------
    encoder
        ``"whole"``, ``"lora"`` (low-rank additions to its linear layers and
        convolutions of single places, all else fixed) or ``"frozen"``. The embeddings
        of a frozen encoder are made once and kept.
    decoder
        The same for everything else: prompt encoder, mask decoder, object head.
    lora_rank
        Rank of the additions (Hu et al. 2022 find 4 to 8 to suffice).
    lora_scale
        Factor of the additions: alpha / rank in Hu et al., there 1 to 2.
    """

    encoder: Way = choice("whole", "whole", "lora", "frozen")  # noqa: RUF009
    decoder: Way = choice("whole", "whole", "lora", "frozen")  # noqa: RUF009
    lora_rank: int = number(8, 1, 256)
    lora_scale: float = number(2.0, 0.01, 100)


@dataclass(frozen=True, kw_only=True)
class PromptRounds(Section):
    """How a user is simulated: rounds of prompts for each object.

    Attributes
    ----------
    point_rounds
        Rounds with a new point after the first round (paper: 8).
    idle_inside
        Rounds at random places among them that only give the logits back (paper: 1).
    idle_last
        The same at the end (paper: 1).
    box_share
        How often the first prompt is a box, not a point (paper: 0.5).
    box_noise
        Standard deviation of each coordinate, in parts of the box's side (paper: 0.1).
    box_noise_limit_px
        Its bound in pixels of the frame (paper: 20).
    box_outward
        Each side also moves outward by up to this part of the side (micro-sam: 0.025).
    tight_box_share
        How often the box has no noise at all (paper: 0); boxes of detectors and careful
        users are tight.
    centre_share
        How often a click is the innermost place of the object or of the error, where
        people click; else it is anywhere in it (paper: 0).
    point_pairs
        Whether a round adds a click of either kind (micro-sam) or one in the error
        region, of the kind it calls for (paper).
    logits_share
        How often the logits of a round go into the next (paper: 1, micro-sam: 0.5).
    detach_logits
        Whether gradients stop at the logits given back (paper: no).
    multimask_first
        Whether a lone click is answered with the three outputs for ambiguous prompts
        (paper: yes).
    objects_per_image
        Most objects drawn from an image (paper: 64).
    min_object_px
        Smallest object in pixels of the mask logits. Not in the paper, whose masks are
        larger than 100 pixels; below this nothing can be learnt.
    max_object_share
        Larger parts of the image are no objects (paper: 0.9).
    """

    point_rounds: int = number(8, 0, 64)
    idle_inside: int = number(1, 0, 8)
    idle_last: int = number(1, 0, 8)
    box_share: float = number(0.5, 0, 1)
    box_noise: float = number(0.1, 0, 1)
    box_noise_limit_px: float = number(20.0, 0, 1000)
    box_outward: float = number(0.0, 0, 1)
    tight_box_share: float = number(0.0, 0, 1)
    centre_share: float = number(0.0, 0, 1)
    point_pairs: bool = choice(default=False)
    logits_share: float = number(1.0, 0, 1)
    detach_logits: bool = choice(default=False)
    multimask_first: bool = choice(default=True)
    objects_per_image: int = number(64, 1, 1024)
    min_object_px: int = number(6, 1, 1 << 20)
    max_object_share: float = number(0.9, 0.01, 1)


@dataclass(frozen=True, kw_only=True)
class LossWeights(Section):
    """What a round of prompts costs.

    Attributes
    ----------
    focal
        Weight of the focal loss (paper: 20).
    dice
        Weight of the Dice loss (paper: 1).
    balanced
        Weight of a cross entropy in which an object and its surroundings count the
        same (paper: none). The mean over pixels of the focal loss leaves an object of
        few pixels next to nothing.
    iou
        Weight of the error of the predicted IoU (paper: 1).
    iou_all
        Whether all outputs of a round learn their IoU (SAM 2), or the one whose mask
        was best (paper).
    iou_l1
        Whether that error is absolute (SAM 2) or squared (paper).
    objects
        Weight of the loss of the object maps, for models that have them. They are only
        learnt where every object of an image is labelled.
    """

    focal: float = number(20.0, 0, 1e4)
    dice: float = number(1.0, 0, 1e4)
    balanced: float = number(0.0, 0, 1e4)
    iou: float = number(1.0, 0, 1e4)
    iou_all: bool = choice(default=False)
    iou_l1: bool = choice(default=False)
    objects: float = number(1.0, 0, 1e4)


@dataclass(frozen=True, kw_only=True)
class Optimiser(Section):
    """AdamW, how its rate changes with time and depth, and what keeps it in bounds.

    Attributes
    ----------
    lr
        Peak rate (paper: 8e-4 for ViT-H and B, 4e-4 for L).
    encoder_lr_factor
        Factor of the rate in the whole encoder (paper: 1; SAM 2 fine-tuning: 0.6).
    layer_decay
        Each block of the encoder has this part of the rate of the next
        (paper: 0.8 for H and L, 0.6 for B; 1 is off).
    weight_decay
        Of weights with two axes or more; norms, biases and learned tokens and positions
        have none (paper: 0.1; which ones is the custom of the MAE programs).
    beta_1
        Of the moving average of gradients (paper: 0.9).
    beta_2
        Of the moving average of their squares (paper: 0.999).
    warmup_steps
        The rate rises linearly for so long (paper: 250).
    milestones
        Steps from which the rate is multiplied by `milestone_factor`, each time again
        (paper, ViT-H: 60,000 and 86,666).
    milestone_factor
        See there (paper: 0.1).
    final_decay
        Over this last part of the run the rate falls linearly to zero (paper: 0).
    clip_norm
        Longest gradient; 0 is no limit (paper: none named; SAM 2 fine-tuning: 0.1).
    drop_path
        How often the last block of the encoder is left out; earlier ones
        proportionally less (paper: 0.4 for H and L, 0.6 for B).
    decoder_dropout
        In the transformer of the decoder (paper: 0.1).
    """

    lr: float = number(8e-4, 1e-9, 1)
    encoder_lr_factor: float = number(1.0, 0, 100)
    layer_decay: float = number(1.0, 0.01, 1)
    weight_decay: float = number(0.1, 0, 10)
    beta_1: float = number(0.9, 0, 0.99999)
    beta_2: float = number(0.999, 0, 0.99999)
    warmup_steps: int = number(250, 0, 1 << 40)
    milestones: tuple[int, ...] = steps()
    milestone_factor: float = number(0.1, 0, 1)
    final_decay: float = number(0.0, 0, 1)
    clip_norm: float = number(0.0, 0, 1e6)
    drop_path: float = number(0.0, 0, 0.99)
    decoder_dropout: float = number(0.1, 0, 0.99)


@dataclass(frozen=True, kw_only=True)
class Frames(Section):
    """What the model is shown of an image.

    As when annotating, an image of up to 1.5 frames is shown whole; of a larger one
    regions at full resolution, at half of it and so on, up to the whole.

    Attributes
    ----------
    scale_jitter
        Least and largest factor by which that scale varies (paper: none on SA-1B; 0.1
        to 2.0 on the smaller sets of its first stages).
    usual_share
        How often the scale does not vary.
    enlarged_share
        How often an object that annotating would show enlarged, because it is tiny, is
        shown so (paper: 0). Of models that have no such size, none is.
    flips
        Whether images are mirrored and turned by right angles (paper: no).
    looks
        Factor of the chances that colour, tone, light, sharpness and noise change
        (paper: 0).
    variants
        Different views of each image that are embedded by a frozen encoder.
    cache_gb
        Most gigabytes of their embeddings kept on disk.
    validation_objects
        Most objects that are scored at an evaluation, over all images together.
    """

    scale_jitter: tuple[float, float] = pair((1.0, 1.0), 0.05, 20)
    usual_share: float = number(0.0, 0, 1)
    enlarged_share: float = number(0.0, 0, 1)
    flips: bool = choice(default=False)
    looks: float = number(0.0, 0, 2)
    variants: int = number(8, 1, 1000)
    cache_gb: float = number(4.0, 0, 1e4)
    validation_objects: int = number(200, 1, 1 << 20)


@dataclass(frozen=True, kw_only=True)
class Loop(Section):
    """How long, how often, how exactly.

    Attributes
    ----------
    seed
        All randomness of a step follows from it and the number of the step.
    total_steps
        End of the run and of its schedule (paper: 90,000).
    images_per_step
        Their gradients are added up one by one (paper: 256, one on each GPU).
    budget_seconds
        End by time, evaluations included; whichever end is nearer drives the schedule.
        Such runs are not repeatable to the bit.
    eval_every
        Steps between evaluations; with a budget there are at least eight in all.
    patience
        Evaluations without a better score before the run ends; 0 waits for ever
        (micro-sam: 10 epochs).
    save_seconds
        Most time between saved states.
    save_every
        Most steps between them; 0 goes by time only.
    log_every
        Steps between rows of the log.
    ema_decay
        Of the moving average of the weights that is evaluated and kept; 0 is none
        (paper: none).
    precision
        Of products in the forward pass; weights stay float32. float16 needs a GPU.
    recompute
        Whether layers of the encoder and rounds of prompts are computed again for the
        backward pass (Chen et al. 2016): a third more work, the memory of one of them
        instead of all.
    tensorboard
        Whether to write TensorBoard events beside the CSV log.
    """

    seed: int = number(0, 0, 2**63 - 1)
    total_steps: int = number(90_000, 1, 1 << 40)
    images_per_step: int = number(256, 1, 1 << 20)
    budget_seconds: float | None = number(None, 0, 1e9)
    eval_every: int = number(1000, 1, 1 << 40)
    patience: int = number(0, 0, 1 << 20)
    save_seconds: float = number(300.0, 0, 1e9)
    save_every: int = number(0, 0, 1 << 40)
    log_every: int = number(10, 1, 1 << 20)
    ema_decay: float = number(0.0, 0, 0.999999)
    precision: Precision = choice(  # noqa: RUF009
        "float32", "float32", "bfloat16", "float16"
    )
    recompute: bool = choice(default=False)
    tensorboard: bool = choice(default=False)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train a promptable model."""

    trained: Trained = Trained()
    prompts: PromptRounds = PromptRounds()
    loss: LossWeights = LossWeights()
    optimiser: Optimiser = Optimiser()
    frames: Frames = Frames()
    loop: Loop = Loop()

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return sections of plain values, as JSON and TOML know them."""
        return {
            name: {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in section.items()
            }
            for name, section in dataclasses.asdict(self).items()
        }
