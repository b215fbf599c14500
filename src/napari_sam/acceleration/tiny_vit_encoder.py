# SPDX-License-Identifier: Apache-2.0
"""The fast form of `ImageEncoderTinyViT` on a CPU.

The same numbers but for rounding: batch normalisation and the weights of layer norms
are folded into the convolution or linear layer beside them, maps are worked through in
bands of rows that stay in the cache, and sums go into the map that is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from napari_sam.acceleration.bottleneck import Bottleneck
from napari_sam.acceleration.convolutions import (
    Activation,
    Convolution,
    bands,
    channel_norm,
    empty_map,
    even_bands,
    image_order,
)
from napari_sam.acceleration.products import best_dtype
from napari_sam.modeling.device import compute_in
from napari_sam.modeling.image_encoder_tiny_vit import HEAD_DIM, InvertedResidual
from napari_sam.modeling.vit_blocks import merge_windows, split_windows

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from napari_sam.modeling.common import LayerNorm2d
    from napari_sam.modeling.image_encoder_tiny_vit import (
        ConvNorm,
        ConvStem,
        ImageEncoderTinyViT,
        PatchMerging,
        TinyViTBlock,
    )


class FastTinyViT:
    """Called like the encoder; made of its weights as they are then.

    Parameters
    ----------
    encoder : ImageEncoderTinyViT
        On the CPU, in evaluation mode.
    dtype : torch.dtype, optional
        Precision of products and convolutions before the neck; float32 is passed on
        between them. Without, the encoder's own, but float32 where this processor
        multiplies no faster in bfloat16.
    """

    def __init__(
        self, encoder: ImageEncoderTinyViT, dtype: torch.dtype | None = None
    ) -> None:
        if dtype is None:
            dtype = best_dtype(encoder.compute_dtype)
        self._stem = _Stem(encoder.patch_embed, dtype)
        self._steps: list[Bottleneck | _Block] = []
        stages: Any = encoder.layers
        for stage in stages:
            for block in stage.blocks:
                if isinstance(block, InvertedResidual):
                    self._steps.append(_inverted_residual(block, dtype))
                else:
                    self._steps.append(_Block(block, dtype))
            if stage.downsample is not None:
                self._steps.append(_merging(stage.downsample, dtype))
        self._neck = _Neck(encoder.neck)

    @torch.no_grad()
    def __call__(self, x: Tensor, check: Callable[[], None] | None = None) -> Tensor:
        """Embed frames (B, 3, S, S) as (B, C, S / 16, S / 16); see the encoder.

        ``check`` is called before each block.
        """
        # The precision is chosen here, layer by layer: an autocast around us is off.
        with compute_in(torch.float32, x.device):
            images = [self._encode(frame[None], check) for frame in x]
        return images[0] if len(images) == 1 else torch.cat(images)

    def _encode(self, frame: Tensor, check: Callable[[], None] | None) -> Tensor:
        x = self._stem(frame)
        for step in self._steps:
            if check is not None:
                check()
            x = step(x)
        return self._neck(x)


class _Stem:
    """Two strided convolutions."""

    def __init__(self, stem: ConvStem, dtype: torch.dtype) -> None:
        layers: Any = stem.seq
        first, _, second = layers
        self._first = fold(first, dtype, "gelu")
        self._second = fold(second, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Map (1, 3, S, S) to (1, D, S / 4, S / 4)."""
        first, second = self._first, self._second
        height, width = (first.size(side) for side in x.shape[2:])
        out = empty_map(second.n_outputs, second.size(height), second.size(width))
        for start, stop in even_bands(out.shape[2], 2 * first.n_outputs * width):
            inner = second.rows_for(start, stop, height)
            outer = first.rows_for(inner.start, inner.stop, x.shape[2])
            pixels = x[:, :, outer.start : outer.stop]
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            y = second.in_rows(first.in_rows(pixels, outer), inner)
            out[:, :, start:stop] = y
        return out


def _inverted_residual(block: InvertedResidual, dtype: torch.dtype) -> Bottleneck:
    return Bottleneck(
        fold(block.conv1, dtype, "gelu"),
        fold(block.conv2, dtype, "gelu"),
        fold(block.conv3, dtype),
        has_shortcut=True,
        activation="gelu",
    )


def _merging(merging: PatchMerging, dtype: torch.dtype) -> Bottleneck:
    return Bottleneck(
        fold(merging.conv1, dtype, "gelu"),
        fold(merging.conv2, dtype, "gelu"),
        fold(merging.conv3, dtype),
    )


class _Block:
    """Windowed attention, a depthwise convolution, an MLP."""

    def __init__(self, block: TinyViTBlock, dtype: torch.dtype) -> None:
        attention, mlp = block.attn, block.mlp
        self._size = block.window_size
        self._heads = attention.num_heads
        self._bias = attention.bias().detach().to(dtype)
        self._qkv = fold_norm(attention.norm, attention.qkv, dtype)
        self._proj = Convolution(
            attention.proj.weight, attention.proj.bias, dtype=dtype
        )
        self._local = fold(block.local_conv, dtype)
        self._fc1 = fold_norm(mlp.norm, mlp.fc1, dtype, "gelu")
        self._fc2 = Convolution(mlp.fc2.weight, mlp.fc2.bias, dtype=dtype)
        self._eps = (attention.norm.eps, mlp.norm.eps)

    def __call__(self, x: Tensor) -> Tensor:
        """Map (1, D, H, W) to the same; x is overwritten."""
        height, width = x.shape[2:]
        for start, stop in bands(height, self._size):
            self._attend(x[:, :, start:stop])
        x = self._local(x).float()
        for start, stop in even_bands(height, self._fc1.n_outputs * width):
            band = x[:, :, start:stop]
            self._fc2.add_to(band, self._fc1(channel_norm(band, self._eps[1])))
        return x

    def _attend(self, band: Tensor) -> None:
        """Let the tokens of each window in a row of windows attend to each other."""
        tokens = channel_norm(band, self._eps[0]).permute(0, 2, 3, 1)  # (1, s, W, D)
        # Where the plain form has padding the norm is its bias, which is folded: zero.
        windows = split_windows(tokens, self._size).flatten(1, 2)  # (n, N, D)
        qkv = self._qkv(windows.permute(2, 0, 1)[None])[0].permute(1, 2, 0)
        q, k, v = qkv.unflatten(-1, (self._heads, 3, HEAD_DIM)).permute(3, 0, 2, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=self._bias)
        windows = mixed.transpose(1, 2).reshape(len(q), self._size, self._size, -1)
        merged = merge_windows(windows, (band.shape[2], band.shape[3]))
        self._proj.add_to(band, merged.permute(0, 3, 1, 2))


class _Neck:
    """Two convolutions to the width of the decoder, each with a layer norm; float32."""

    def __init__(self, neck: nn.Sequential) -> None:
        layers: Any = neck
        first, norm1, second, norm2 = layers
        self._layers = [Convolution(layer.weight, None) for layer in (first, second)]
        self._norms: tuple[LayerNorm2d, LayerNorm2d] = (norm1, norm2)

    def __call__(self, x: Tensor) -> Tensor:
        """Map (1, D, g, g) to (1, C, g, g) in the order of an image."""
        for layer, norm in zip(self._layers, self._norms, strict=True):
            x = channel_norm(layer(x), norm.eps, norm.weight, norm.bias)
        return image_order(x)


def fold(
    layer: ConvNorm, dtype: torch.dtype, activation: Activation = None
) -> Convolution:
    """Put a batch normalisation into the convolution before it."""
    norm: Any = layer.bn
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return Convolution(
        layer.c.weight * scale[:, None, None, None],
        norm.bias - norm.running_mean * scale,
        stride=layer.c.stride[0],
        groups=layer.c.groups,
        activation=activation,
        dtype=dtype,
    )


def fold_norm(
    norm: nn.LayerNorm,
    linear: nn.Linear,
    dtype: torch.dtype,
    activation: Activation = None,
) -> Convolution:
    """Put the weights of a layer norm into the linear layer after it."""
    return Convolution(
        linear.weight * norm.weight,
        linear.bias + linear.weight @ norm.bias,
        activation=activation,
        dtype=dtype,
    )
