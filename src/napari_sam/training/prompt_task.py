# SPDX-License-Identifier: Apache-2.0
"""The task of the training loop: a promptable model on labelled images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from napari_sam.errors import LabelsError
from napari_sam.modeling.device import resolve_dtype
from napari_sam.training.drop_path import Chance
from napari_sam.training.feature_cache import EncodedFrame, FeatureCache
from napari_sam.training.frame_decoder import (
    FrameDecoder,
    encode_frame,
    mixed_precision,
)
from napari_sam.training.frames import FrameSource
from napari_sam.training.lora import merged_lora
from napari_sam.training.object_targets import object_loss, object_targets
from napari_sam.training.optimisation import parameter_groups
from napari_sam.training.samples import MIN_AREA_PX
from napari_sam.training.simulation import simulate
from napari_sam.training.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from torch import Tensor

    from napari_sam.modeling.sam import ImageFeatures, Sam
    from napari_sam.training.dataset import LabelledImage
    from napari_sam.training.frames import Frame
    from napari_sam.training.recipe import Recipe
    from napari_sam.training.task import Example, Metrics

TRIES = 8  # views of an image before another is taken
# Streams of random numbers that must not be those of a step.
_ORDER, _VARIANT = 2, 3


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """A frame, and its features if the encoder is frozen."""

    frame: Frame
    features: ImageFeatures | None = None


class PromptTask:
    """Trains what needs a gradient in a model.

    Parameters
    ----------
    model : Sam
        What is trained has ``requires_grad``; see `fine_tuning.choose_parts`.
    train, validation : sequences of LabelledImage
        Those to learn from, and those to score; the latter may be empty.
    recipe : Recipe
    folder : Path
        For the features of a frozen encoder.
    check : callable
        Called before each view of an evaluation; what it raises ends that.

    Attributes
    ----------
    examples : tuple of Example
        From the last evaluation.

    Raises
    ------
    LabelsError
        If there is no image to learn from, or validation images without objects.
    DeviceError
        If the device does not offer the precision.
    """

    def __init__(
        self,
        model: Sam,
        train: Sequence[LabelledImage],
        validation: Sequence[LabelledImage],
        recipe: Recipe,
        folder: Path,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        if not len(train):
            msg = "There is no image to learn from. Give at least one with its labels."
            raise LabelsError(msg)
        self.model: Sam = model
        self.examples: tuple[Example, ...] = ()
        self._recipe, self._check = recipe, check
        self._source = FrameSource(train, model, recipe.frames)
        self._dtype = resolve_dtype(recipe.loop.precision, model.device)
        self._validation: Validation | None = None
        if len(validation):
            least = getattr(validation, "min_area", MIN_AREA_PX)
            checked = FrameSource(validation, model, recipe.frames, least)
            limit = recipe.frames.validation_objects
            self._validation = Validation(checked, limit)
        self._cache: FeatureCache | None = None
        if not any(p.requires_grad for p in model.image_encoder.parameters()):
            limit = int(recipe.frames.cache_gb * 1e9)
            self._cache = FeatureCache(model, folder, limit, self._dtype)
        numbers = recipe.optimiser
        self._chance = Chance(model, numbers.drop_path, numbers.decoder_dropout)
        self._order: tuple[int, npt.NDArray[np.int64]] = (-1, np.zeros(0, np.int64))

    def close(self, *, is_finished: bool = False) -> None:
        """Leave the model as it was found; delete kept features if all is done."""
        self._chance.close()
        if is_finished and self._cache is not None:
            self._cache.clear()

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Group what learns by rate and weight decay."""
        return parameter_groups(self.model, self._recipe.optimiser)

    def where(self, draw: int) -> str:
        """Name the image that a drawing begins with."""
        return f"image {self._source.name(self._image_of(draw))}"

    def loss(self, draw: int, rng: np.random.Generator) -> tuple[Tensor, Metrics]:
        """Prompt objects of one image; see `simulate`.

        Raises
        ------
        LabelsError
            If no image has an object that is large enough in the frame.
        ImageError
            If an image cannot be shown.
        """
        shown, masks = self._usable(draw, rng)
        train_mode(self.model)
        if self._cache is not None:
            self.model.image_encoder.eval()
        recompute = self._recipe.loop.recompute
        with mixed_precision(self.model, self._dtype):
            features = shown.features
            if features is None:
                features = encode_frame(self.model, shown.frame, recompute=recompute)
            decode = FrameDecoder(self.model, features, recompute=recompute)
            total, metrics = self._simulate(decode, masks, rng)
            maps = self.model.object_maps(features)
        weight = self._recipe.loss.objects
        if maps is not None and weight:
            # Objects go on past the edge of the picture: no border may be seen there.
            rows, columns = self._source.shown_size(shown.frame)
            labels = shown.frame.labels[:rows, :columns]
            targets = torch.from_numpy(object_targets(labels))[None].to(maps.device)
            of_maps = object_loss(maps[..., :rows, :columns].float(), targets)
            total = total + weight * of_maps
            metrics["objects"] = float(of_maps.detach())
        return total, metrics

    def _simulate(
        self,
        decode: FrameDecoder,
        masks: npt.NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> tuple[Tensor, Metrics]:
        """Prompt some objects with points, the others with boxes; mean over all."""
        recipe = self._recipe
        are_boxes = rng.random(len(masks)) < recipe.prompts.box_share
        losses: list[Tensor] = []
        sums: Metrics = {}
        for is_box in (False, True):
            chosen = masks[are_boxes == is_box]
            if not len(chosen):
                continue
            loss, terms = simulate(
                decode,
                chosen,
                recipe.prompts,
                recipe.loss,
                rng,
                self._source.stride,
                is_box=is_box,
            )
            share = len(chosen) / len(masks)
            losses.append(share * loss)
            for key, value in terms.items():
                sums[key] = sums.get(key, 0.0) + share * value
        return torch.stack(losses).sum(), sums

    def evaluate(self) -> Metrics:
        """Score the validation images; empty without any."""
        if self._validation is None:
            return {}
        with merged_lora(self.model), mixed_precision(self.model, self._dtype):
            scores, self.examples = self._validation.score(
                self.model, self._encode, self._check
            )
        return scores

    def weights(self) -> dict[str, Tensor]:
        """Return all weights, low-rank additions merged."""
        with merged_lora(self.model):
            return dict(self.model.state_dict())

    def _image_of(self, draw: int) -> int:
        """Every image once, in an order that is new each time."""
        n = len(self._source)
        epoch, place = divmod(draw, n)
        if self._order[0] != epoch:
            rng = np.random.default_rng([self._recipe.loop.seed, _ORDER, epoch])
            self._order = (epoch, rng.permutation(n))
        return int(self._order[1][place])

    def _usable(
        self, draw: int, rng: np.random.Generator
    ) -> tuple[_Shown, npt.NDArray[np.bool_]]:
        n = len(self._source)
        first = self._image_of(draw)
        for offset in range(n):
            index = (first + offset) % n
            for _ in range(TRIES):
                shown = self._show(index, rng)
                if shown is None:
                    break
                masks = self._objects(shown.frame, rng)
                if len(masks):
                    return shown, masks
        least = self._recipe.prompts.min_object_px * self._source.stride**2
        msg = (
            f"None of the {n} images to learn from has an object that covers at least "
            f"{least:.0f} pixels of the model's frame. Label objects, or lower "
            "prompts.min_object_px."
        )
        raise LabelsError(msg)

    def _show(self, index: int, rng: np.random.Generator) -> _Shown | None:
        """Draw a view of an image; with a frozen encoder one of a fixed number."""
        if self._cache is None:
            frame = self._source.draw(index, rng)
            return None if frame is None else _Shown(frame)
        variant = int(rng.integers(self._recipe.frames.variants))
        key = [self._recipe.loop.seed, _VARIANT, index, variant]

        def draw() -> Frame | None:
            return self._source.draw(index, np.random.default_rng(key))

        self.model.image_encoder.eval()
        with mixed_precision(self.model, self._dtype):
            found = self._cache.get((index, variant), draw)
        return None if found is None else _Shown(found.frame, found.features)

    def _encode(self, key: Hashable, frame: Frame) -> EncodedFrame:
        if self._cache is None:
            return EncodedFrame(frame, encode_frame(self.model, frame))
        found = self._cache.get(key, lambda: frame)
        return found or EncodedFrame(frame, encode_frame(self.model, frame))

    def _objects(self, frame: Frame, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """Choose objects of a frame: (P, M, M) masks, P may be 0."""
        rounds = self._recipe.prompts
        counts = np.bincount(frame.labels.ravel())
        counts[0] = 0
        picture = frame.rgb.shape[0] * frame.rgb.shape[1] / self._source.stride**2
        is_usable = (counts >= rounds.min_object_px) & (
            counts <= rounds.max_object_share * picture
        )
        labels = np.flatnonzero(is_usable)
        if len(labels) > rounds.objects_per_image:
            labels = rng.choice(labels, rounds.objects_per_image, replace=False)
        return np.asarray(frame.labels == labels[:, None, None])


def train_mode(model: nn.Module) -> None:
    """Switch to training, but leave batch statistics as they are.

    One image at a time says too little of them.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
