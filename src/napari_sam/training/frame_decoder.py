# SPDX-License-Identifier: Apache-2.0
"""A model as training runs it: the plain form, gradients on, mixed precision."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from napari_sam.modeling.device import LOW_PRECISIONS, compute_in
from napari_sam.training.optimisation import LAYER_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam.modeling.sam import ImageFeatures, Sam
    from napari_sam.training.frames import Frame
    from napari_sam.training.simulation import Prompts


class FrameDecoder:
    """Answers prompts on one encoded frame.

    Parameters
    ----------
    model : Sam
    features : ImageFeatures
        Of one frame.
    recompute : bool
        Whether to compute answers again for the backward pass, instead of keeping what
        that needs.
    """

    def __init__(
        self, model: Sam, features: ImageFeatures, *, recompute: bool = False
    ) -> None:
        self._model, self._features = model, features
        self._recompute = recompute
        self.device = features.embedding.device

    def __call__(
        self, prompts: Prompts, mask_input: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits (P, 4, M, M) and predicted IoU (P, 4), float32."""
        device = self.device
        points = boxes = None
        if prompts.points is not None:
            given = torch.from_numpy(prompts.points).to(device)
            points = (given[..., :2], given[..., 2].long())
        if prompts.boxes is not None:
            boxes = torch.from_numpy(prompts.boxes).to(device)
        if self._recompute and torch.is_grad_enabled():
            logits, iou = checkpoint(
                self._answer, points, boxes, mask_input, use_reentrant=False
            )
        else:
            logits, iou = self._answer(points, boxes, mask_input)
        return logits.float(), iou.float()

    def _answer(
        self,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        mask_input: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        sparse, dense = self._model.encode_prompts(points, boxes, mask_input)
        return self._model.decode(self._features, sparse, dense)


def encode_frame(model: Sam, frame: Frame, *, recompute: bool = False) -> ImageFeatures:
    """Run the image encoder on a frame; `recompute` as in `FrameDecoder`."""
    rgb = torch.from_numpy(frame.rgb).permute(2, 0, 1)[None].to(model.device)
    with _recomputed_layers(model) if recompute else nullcontext():
        return model.encode_image(model.preprocess(rgb))


@contextmanager
def _recomputed_layers(model: Sam) -> Iterator[None]:
    """Have each layer of the encoder forget what its backward pass needs."""
    layers = [m for m in model.image_encoder.modules() if isinstance(m, LAYER_TYPES)]
    for layer in layers:
        # An attribute of the object goes before the method of its class.
        again = partial(checkpoint, layer.forward, use_reentrant=False)
        vars(layer)["forward"] = again
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]


@contextmanager
def mixed_precision(model: Sam, dtype: torch.dtype) -> Iterator[None]:
    """Have products computed in a lower precision; float32 changes nothing.

    Encoders choose their own precision, whatever holds around them: they are told.
    """
    if dtype not in LOW_PRECISIONS:
        yield
        return
    encoder: Any = model.image_encoder
    before = getattr(encoder, "compute_dtype", None)
    if before is not None:
        encoder.compute_dtype = dtype
    try:
        with compute_in(dtype, model.device):
            yield
    finally:
        if before is not None:
            encoder.compute_dtype = before
