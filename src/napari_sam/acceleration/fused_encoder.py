# SPDX-License-Identifier: Apache-2.0
"""The image encoder of SAM ViT-B, L and H on a GPU.

The fast form of `napari_sam.modeling.image_encoder_vit.ImageEncoderViT`. Weights are
kept in the precision of the products, attention is one fused kernel, and tokens that
only pad a window are not computed. B frames go through together; g is the side of the
token grid, E the encoder's width, C its output channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sam.acceleration.fused_attention import FusedAttention
from napari_sam.modeling.device import compute_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam.modeling.image_encoder_vit import ImageEncoderViT
    from napari_sam.modeling.vit_blocks import Block


class FusedViT:
    """A ViT image encoder with fused attention.

    Parameters
    ----------
    encoder : ImageEncoderViT
        With float32 weights, of which copies in its `compute_dtype` are kept.

    Raises
    ------
    RuntimeError
        If this GPU has no fused kernel for the model.
    """

    @torch.no_grad()
    def __init__(self, encoder: ImageEncoderViT) -> None:
        self._dtype = dtype = encoder.compute_dtype
        patches = encoder.patch_embed.proj
        self._embed = _in(dtype, patches)
        self._patch = patches.stride
        self._position = encoder.pos_embed.detach()
        self._blocks = [
            FusedBlock(block, dtype)  # type: ignore[arg-type]
            for block in encoder.blocks
        ]
        self._neck = encoder.neck
        if self._position.is_cuda:
            for block in self._blocks:
                block.attention.check_kernel()

    @torch.no_grad()
    def __call__(self, x: Tensor, check: Callable[[], None] | None = None) -> Tensor:
        """Embed normalised and padded images.

        Parameters
        ----------
        x : (B, 3, S, S) tensor
            Frames.
        check : callable, optional
            Called before each block; whatever it raises ends the encoding.

        Returns
        -------
        (B, C, g, g) float32 tensor
        """
        with compute_in(torch.float32, x.device):  # precision is chosen here by hand
            patches = functional.conv2d(x.to(self._dtype), *self._embed, self._patch)
            tokens = patches.permute(0, 2, 3, 1).float() + self._position
            tokens = tokens.contiguous()
            for block in self._blocks:
                if check is not None:
                    check()
                block(tokens)
            out: Tensor = self._neck(tokens.permute(0, 3, 1, 2))
        return out.contiguous()


class FusedBlock:
    """A transformer block that changes its tokens in place.

    Parameters
    ----------
    block : Block
        The plain form.
    dtype : torch.dtype
        Precision of products; the tokens and their norms stay in float32.
    """

    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        self._norm1, self._norm2 = block.norm1, block.norm2
        self._qkv, self._proj = _in(dtype, block.attn.qkv), _in(dtype, block.attn.proj)
        self._lin1, self._lin2 = _in(dtype, block.mlp.lin1), _in(dtype, block.mlp.lin2)
        self._dtype = dtype
        self._heads = block.attn.num_heads
        self._window = block.window_size
        self.attention = FusedAttention(block.attn, dtype)

    def __call__(self, tokens: Tensor) -> None:
        """Map contiguous float32 tokens (B, g, g, E) to the same shape, in place."""
        normed = self._norm1(tokens).to(self._dtype)
        qkv = functional.linear(normed, *self._qkv)
        mixed = self._in_windows(qkv) if self._window else self._attend(qkv)
        tokens += functional.linear(mixed, *self._proj)
        normed = self._norm2(tokens).to(self._dtype)
        hidden = functional.gelu(functional.linear(normed, *self._lin1))
        tokens += functional.linear(hidden, *self._lin2)

    def _attend(self, qkv: Tensor) -> Tensor:
        """Let tokens of a grid meet: (..., s, s, 3 E) to (..., s, s, E)."""
        return self.attention(qkv.unflatten(-1, (3, self._heads, -1))).flatten(-2)

    def _in_windows(self, qkv: Tensor) -> Tensor:
        """Let tokens of the same window meet: (B, g, g, 3 E) to (B, g, g, E)."""
        size = self._window
        batch, height, width, _ = qkv.shape
        rows, columns = -(-height // size), -(-width // size)
        if (rows * size, columns * size) != (height, width):
            # What pads a window is zero before the projection: the bias after it.
            _, bias = self._qkv
            full = bias.expand(batch, rows * size, columns * size, -1).contiguous()
            full[:, :height, :width] = qkv
            qkv = full
        windows = qkv.view(batch, rows, size, columns, size, -1).transpose(2, 3)
        mixed = self._attend(windows).transpose(2, 3)
        whole = mixed.reshape(batch, rows * size, columns * size, -1)
        return whole[:, :height, :width]


def _in(dtype: torch.dtype, layer: nn.Linear | nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return weight and bias in a precision; in their own they are no copies."""
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    return weight.detach().to(dtype), bias.detach().to(dtype)
