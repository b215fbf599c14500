# SPDX-License-Identifier: Apache-2.0
"""Training of the embedded model: crops of many sets and of drawn scenes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_sam.training.crops import MASK_STRIDE, NEW_SCENE, Crop, draw_crops
from napari_sam.training.dataset import ImageDraw
from napari_sam.training.loop import TrainingLoop
from napari_sam.training.object_targets import (
    foreground_iou,
    object_loss,
    object_targets,
)
from napari_sam.training.recipe import Loop, Optimiser
from napari_sam.training.rounds import CropDecoder, group_loss, make_groups

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from napari_sam.modeling.sam import Sam
    from napari_sam.training.config import TrainConfig
    from napari_sam.training.dataset import LabelledImage
    from napari_sam.training.task import Metrics

    Evaluate = Callable[[Sam], Metrics]

LOG_EVERY = 50  # steps
# How long to train and how often to look may change when a run goes on.
_FREE_TO_CHANGE = ("total_steps", "decay_steps", "eval_every", "save_every")


class CropTask:
    """Trains all of the embedded model on crops.

    Parameters
    ----------
    model : Sam
        With its start weights.
    images : list of LabelledImage
        The training part.
    config : TrainConfig
        All numbers.
    evaluate : callable, optional
        Scores the averaged model by name; ``"selection"`` chooses the best weights.
    autocast : torch.dtype, optional
        Lower precision for the forward pass.
    """

    def __init__(
        self,
        model: Sam,
        images: list[LabelledImage],
        config: TrainConfig,
        evaluate: Evaluate | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        self.model: Sam = model
        self._images, self._config = ImageDraw([*images, NEW_SCENE]), config
        self._evaluate, self._autocast = evaluate, autocast
        self._shown: list[str] = []
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.requires_grad_(requires_grad=True)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the backbone, which starts from known weights, and the rest."""
        encoder: Any = self.model.image_encoder
        backbone = [*encoder.stem.parameters(), *encoder.stages.parameters()]
        taken = {id(parameter) for parameter in backbone}
        rest: list[nn.Parameter] = [
            p for p in self.model.parameters() if id(p) not in taken
        ]
        decay = self._config.weight_decay
        slow = self._config.encoder_lr_factor
        return [
            {"params": backbone, "lr_factor": slow, "weight_decay": decay},
            {"params": rest, "lr_factor": 1.0, "weight_decay": decay},
        ]

    def loss(self, draw: int, rng: np.random.Generator) -> tuple[Tensor, Metrics]:
        """Draw a few crops, or one that is larger, and prompt their objects."""
        config = self._config
        if rng.random() < config.large_crop_fraction:
            size, n_crops = config.large_crop_size, 1
            n_objects = config.large_crop_objects
        else:
            size, n_crops = config.crop_size, config.crops_per_step
            n_objects = config.objects_per_crop
        crops = draw_crops(self._images, config, rng, size)
        return self.loss_on([next(crops) for _ in range(n_crops)], n_objects, rng)

    def loss_on(
        self, crops: list[Crop], n_objects: int, rng: np.random.Generator
    ) -> tuple[Tensor, Metrics]:
        """Loss of prompts on objects of the crops and, if there are, of object maps."""
        config, model = self._config, self.model
        self._shown = [crop.name for crop in crops]
        groups = make_groups(crops, n_objects, config, rng)
        model.train()
        with torch.autocast(
            model.device.type, self._autocast, enabled=self._autocast is not None
        ):
            features = model.encode_image(self._pixels(crops))
            decode = CropDecoder(model, features)
            losses = []
            metrics: Metrics = {}
            for group in groups:
                loss, scores = group_loss(decode, group, config, rng)
                losses.append(loss)
                metrics |= scores
            maps = model.object_maps(features)
        total = torch.stack(losses).mean()
        if maps is not None:
            shown = [_is_image_at_labels(crop) for crop in crops]
            wanted = [
                object_targets(c.labels, s) for c, s in zip(crops, shown, strict=True)
            ]
            targets = torch.from_numpy(np.stack(wanted)).to(model.device)
            is_image = torch.from_numpy(np.stack(shown)).to(model.device)
            found = object_loss(maps.float(), targets, is_image)
            total = total + config.objects_weight * found
            metrics["objects_loss"] = float(found.detach())
            metrics["foreground_iou"] = float(foreground_iou(maps, targets, is_image))
        return total, metrics

    def where(self, draw: int) -> str:
        """Name the images of the last crops."""
        return f"drawing {draw} (crops of {', '.join(self._shown)})"

    def evaluate(self) -> Metrics:
        """Score the model as it is now."""
        return {} if self._evaluate is None else self._evaluate(self.model)

    def weights(self) -> dict[str, Tensor]:
        """Return all weights."""
        return dict(self.model.state_dict())

    def _pixels(self, crops: list[Crop]) -> Tensor:
        model = self.model
        pixels = torch.from_numpy(np.stack([c.pixels for c in crops])).to(model.device)
        is_image = torch.from_numpy(np.stack([c.is_image for c in crops]))
        normed = (pixels - model.pixel_mean) / model.pixel_std
        # Past the image the frame is zero after normalising, as in Sam.preprocess.
        normed = normed * is_image[:, None].to(model.device)
        return normed.contiguous(memory_format=torch.channels_last)


def crop_training(
    model: Sam,
    images: list[LabelledImage],
    folder: Path,
    config: TrainConfig,
    evaluate: Evaluate | None = None,
    autocast: torch.dtype | None = None,
) -> TrainingLoop:
    """Prepare the training of the embedded model; a saved state is taken up.

    Parameters
    ----------
    model, images, config, evaluate, autocast
        As for `CropTask`.
    folder : Path
        Where state, weights and log are written.

    Raises
    ------
    SettingsError
        If the folder holds a run with another configuration or other images.
    """
    return TrainingLoop(
        CropTask(model, images, config, evaluate, autocast),
        folder,
        Loop(
            seed=config.seed,
            total_steps=config.total_steps,
            images_per_step=1,
            eval_every=config.eval_every,
            save_every=config.save_every,
            log_every=LOG_EVERY,
            ema_decay=config.ema_decay,
        ),
        Optimiser(
            lr=config.lr,
            warmup_steps=config.warmup_steps,
            final_decay=min(1.0, config.decay_steps / config.total_steps),
            clip_norm=config.clip_norm,
        ),
        identity=_identity(config, images),
        metadata={
            "architecture": config.architecture,
            "config": json.dumps(dataclasses.asdict(config)),
        },
        dtype=torch.float16,
        writes_last=True,
        evaluates_first=False,
        scored_part="dev",
    )


def _is_image_at_labels(crop: Crop) -> npt.NDArray[np.bool_]:
    """Where all pixels of the frame under a pixel of the labels are of the image."""
    rows, columns = crop.labels.shape
    cells = crop.is_image.reshape(rows, MASK_STRIDE, columns, MASK_STRIDE)
    return np.asarray(cells.all(axis=(1, 3)))


def _identity(config: TrainConfig, images: list[LabelledImage]) -> dict[str, str]:
    """Tell a run from others; a state that says nothing of it is taken as well."""
    numbers = dataclasses.asdict(config)
    for key in _FREE_TO_CHANGE:
        del numbers[key]
    names = json.dumps([image.name for image in images])
    return {
        "configuration": json.dumps(numbers),
        "training images": hashlib.sha256(names.encode()).hexdigest(),
    }
