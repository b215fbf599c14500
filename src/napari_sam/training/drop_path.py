# SPDX-License-Identifier: Apache-2.0
"""Chance that only training knows: layers left out, dropout in the decoder.

Both hang on the modules as hooks, so that the model itself stays as published: nothing
of it is stored, and in evaluation mode nothing happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sam.modeling import image_encoder_lite, image_encoder_tiny_vit, vit_blocks
from napari_sam.modeling.two_way_transformer import TwoWayAttentionBlock
from napari_sam.training.optimisation import LAYER_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.utils.hooks import RemovableHandle


class Chance:
    """Drop path in an image encoder and dropout in a decoder's transformer.

    Parameters
    ----------
    model : nn.Module
        A Sam.
    drop_path : float
        How often the residual branches of the encoder's last layer are left out;
        earlier ones proportionally less, the first never (Huang et al. 2016; Touvron et
        al. 2021 for transformers).
    dropout : float
        Of the outputs of attentions and MLPs in the decoder's transformer. Decoders
        without one have none.
    """

    def __init__(self, model: nn.Module, drop_path: float, dropout: float) -> None:
        self._batch = 1
        self._handles: list[RemovableHandle] = []
        encoder = model.get_submodule("image_encoder")
        layers = [m for m in encoder.modules() if isinstance(m, LAYER_TYPES)]
        if drop_path and layers:
            first = encoder.register_forward_pre_hook(self._note_batch)
            self._handles.append(first)
            for i, layer in enumerate(layers):
                rate = drop_path * i / max(1, len(layers) - 1)
                for branch in residual_branches(layer):
                    hook = self._path_hook(rate)
                    self._handles.append(branch.register_forward_hook(hook))
        if dropout:
            for module in model.get_submodule("mask_decoder").modules():
                if isinstance(module, TwoWayAttentionBlock):
                    self._add_dropout(module, dropout)

    def close(self) -> None:
        """Take all hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _note_batch(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._batch = len(inputs[0])

    def _path_hook(self, rate: float) -> Callable[..., Tensor | None]:
        def hook(module: nn.Module, _: object, out: Tensor) -> Tensor | None:
            if not module.training or rate == 0:
                return None
            return out * keep_or_drop(out, self._batch, rate)

        return hook

    def _add_dropout(self, block: TwoWayAttentionBlock, rate: float) -> None:
        def hook(module: nn.Module, _: object, out: Tensor) -> Tensor | None:
            return functional.dropout(out, rate) if module.training else None

        for part in (
            block.self_attn,
            block.cross_attn_token_to_image,
            block.mlp,
            block.cross_attn_image_to_token,
        ):
            self._handles.append(part.register_forward_hook(hook))


def residual_branches(layer: nn.Module) -> list[nn.Module]:
    """Return the modules of a layer whose outputs are added to a shortcut."""
    if isinstance(layer, vit_blocks.Block | image_encoder_tiny_vit.TinyViTBlock):
        return [layer.attn, layer.mlp]
    if isinstance(layer, image_encoder_tiny_vit.InvertedResidual):
        return [layer.conv3]
    if isinstance(layer, image_encoder_lite.InvertedResidual) and layer.has_shortcut:
        return [layer.project]
    return []


def keep_or_drop(out: Tensor, batch: int, rate: float) -> Tensor:
    """Factors of a branch's output: 0 for dropped images, else 1 / (1 - rate).

    Windows of an image follow each other along the first axis and are dropped together.

    Returns
    -------
    tensor
        (len(out), 1, ...), as many axes as `out`.
    """
    kept = (torch.rand(batch, device=out.device) >= rate).to(out.dtype) / (1 - rate)
    kept = kept.repeat_interleave(len(out) // batch)
    return kept.view(-1, *[1] * (out.ndim - 1))
