# SPDX-License-Identifier: Apache-2.0
"""The training loop: resumable, saving as it goes."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import math
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from napari_sam.training.checkpoints import export_weights, load_state, save_state
from napari_sam.training.crops import Crop, draw_crops
from napari_sam.training.object_targets import (
    foreground_iou,
    object_loss,
    object_targets,
)
from napari_sam.training.rounds import CropDecoder, group_loss, make_groups

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_sam.modeling.sam import Sam
    from napari_sam.training.config import TrainConfig
    from napari_sam.training.dataset import LabelledImage

logger = logging.getLogger(__name__)
STATE_FILE, WEIGHTS_FILE, BEST_FILE = "state.pt", "last.safetensors", "best.safetensors"
LOG_FILE = "log.csv"


class Trainer:
    """Trains one model in one folder; a second start goes on where the first stopped.

    Parameters
    ----------
    model : Sam
        With its start weights; a saved state replaces them.
    images : list of LabelledImage
        The training part.
    folder : Path
        Where state, weights and log are written.
    config : TrainConfig
    evaluate : callable, optional
        Called with the averaged model now and then; returns scores by name, of which
        ``"selection"`` chooses the best weights (higher is better).
    autocast : torch.dtype, optional
        Lower precision for the forward pass.
    """

    def __init__(
        self,
        model: Sam,
        images: list[LabelledImage],
        folder: Path,
        config: TrainConfig,
        evaluate: Callable[[Sam], dict[str, float]] | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        self.model = model
        self.folder = folder
        self.config = config
        self.step = 0
        self.best = -math.inf
        self._images = images
        self._evaluate = evaluate
        self._autocast = autocast
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.requires_grad_(requires_grad=True)
        encoder = [
            *model.image_encoder.get_submodule("stem").parameters(),
            *model.image_encoder.get_submodule("stages").parameters(),
        ]
        taken = {id(parameter) for parameter in encoder}
        rest = [p for p in model.parameters() if id(p) not in taken]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": encoder, "share": config.encoder_lr_factor},
                {"params": rest, "share": 1.0},
            ],
            lr=config.lr,
            weight_decay=config.weight_decay,
        )
        self._average = {k: v.detach().clone() for k, v in model.state_dict().items()}
        if (folder / STATE_FILE).exists():
            self._resume()

    def run(self, until_step: int | None = None) -> None:
        """Train to ``until_step``, at most to the end of the configured schedule."""
        config = self.config
        end = min(until_step or config.total_steps, config.total_steps)
        # A resumed run draws other crops than the first, but the same ones each time.
        rng = np.random.default_rng([config.seed, self.step])
        torch.manual_seed(config.seed + self.step)
        crops = draw_crops(self._images, config, rng, config.crop_size)
        large = draw_crops(self._images, config, rng, config.large_crop_size)
        started, seen = time.monotonic(), 0
        totals: dict[str, list[float]] = {}
        while self.step < end:
            if rng.random() < config.large_crop_fraction:
                batch, n_objects = [next(large)], config.large_crop_objects
            else:
                batch = [next(crops) for _ in range(config.crops_per_step)]
                n_objects = config.objects_per_crop
            for key, value in self._train_step(batch, n_objects, rng).items():
                totals.setdefault(key, []).append(value)
            seen += 1
            if self.step % 50 == 0:
                row = {key: float(np.mean(values)) for key, values in totals.items()}
                row["seconds_per_step"] = (time.monotonic() - started) / seen
                self._log("train", row)
                totals, started, seen = {}, time.monotonic(), 0
            if self.step % config.save_every == 0 or self.step == end:
                self._save()
            if self.step % config.eval_every == 0 or self.step == end:
                self._select()
                started, seen = time.monotonic(), 0

    def _train_step(
        self, crops: list[Crop], n_objects: int, rng: np.random.Generator
    ) -> dict[str, float]:
        config, model = self.config, self.model
        groups = make_groups(crops, n_objects, config, rng)
        model.train()
        with torch.autocast(
            model.device.type, self._autocast, enabled=self._autocast is not None
        ):
            features = model.encode_image(self._pixels(crops))
            decode = CropDecoder(model, features)
            losses = []
            metrics: dict[str, float] = {}
            for group in groups:
                loss, scores = group_loss(decode, group, config, rng)
                losses.append(loss)
                metrics |= scores
            maps = model.object_maps(features)
        total = torch.stack(losses).mean()
        if maps is not None:
            wanted = np.stack([object_targets(crop.labels) for crop in crops])
            targets = torch.from_numpy(wanted).to(model.device)
            found = object_loss(maps.float(), targets)
            total = total + config.objects_weight * found
            metrics["objects_loss"] = float(found.detach())
            metrics["foreground_iou"] = float(foreground_iou(maps, targets))
        if not torch.isfinite(total):
            msg = f"The loss became {float(total.detach())} at step {self.step}."
            raise FloatingPointError(msg)
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        self._set_lr()
        self._optimizer.step()
        self.step += 1
        self._update_average()
        return {"loss": float(total.detach()), "grad_norm": float(norm), **metrics}

    def _pixels(self, crops: list[Crop]) -> Tensor:
        model = self.model
        pixels = torch.from_numpy(np.stack([c.pixels for c in crops])).to(model.device)
        is_image = torch.from_numpy(np.stack([c.is_image for c in crops]))
        normed = (pixels - model.pixel_mean) / model.pixel_std
        # Past the image the frame is zero after normalising, as in Sam.preprocess.
        normed = normed * is_image[:, None].to(model.device)
        return normed.contiguous(memory_format=torch.channels_last)

    def _set_lr(self) -> None:
        config = self.config
        warm = min(1.0, (self.step + 1) / config.warmup_steps)
        left = max(0.0, (config.total_steps - self.step) / config.decay_steps)
        for group in self._optimizer.param_groups:
            group["lr"] = config.lr * group["share"] * warm * min(1.0, left)

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early on a long memory would keep the start weights.
        decay = min(self.config.ema_decay, self.step / (self.step + 10))
        for key, value in self.model.state_dict().items():
            self._average[key].lerp_(value, 1 - decay)

    def _save(self) -> None:
        save_state(
            self.folder / STATE_FILE,
            {
                "model": self.model.state_dict(),
                "average": self._average,
                "optimizer": self._optimizer.state_dict(),
                "step": self.step,
                "best": self.best,
            },
        )
        export_weights(self.folder / WEIGHTS_FILE, self._average, self._metadata())

    def _resume(self) -> None:
        state = load_state(self.folder / STATE_FILE)
        self.model.load_state_dict(state["model"])
        self._average = {
            key: value.to(self.model.device) for key, value in state["average"].items()
        }
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.best = int(state["step"]), float(state["best"])
        logger.info("Going on at step %d.", self.step)

    def _select(self) -> None:
        if self._evaluate is None:
            return
        current = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self._average)
        self.model.eval()
        with torch.no_grad():
            scores = self._evaluate(self.model)
        self.model.load_state_dict(current)
        self._log("dev", scores)
        if scores["selection"] > self.best:
            self.best = scores["selection"]
            export_weights(self.folder / BEST_FILE, self._average, self._metadata())

    def _metadata(self) -> dict[str, str]:
        config = json.dumps(dataclasses.asdict(self.config))
        return {"architecture": self.config.architecture, "step": str(self.step)} | {
            "config": config
        }

    def _log(self, part: str, row: dict[str, float]) -> None:
        text = " ".join(f"{key} {value:.4f}" for key, value in row.items())
        logger.info("step %d %s: %s", self.step, part, text)
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOG_FILE).open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            for key, value in row.items():
                writer.writerow([self.step, part, key, f"{value:.5f}"])
