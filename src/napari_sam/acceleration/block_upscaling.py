# SPDX-License-Identifier: Apache-2.0
"""From the decoder's grid to masks four times as fine, as matrix products.

A transposed convolution of stride 2 turns each place into 2 x 2 places by itself, and
so does the next. So places are kept with their channels side by side, blocks in blocks,
and all work is matrix products; only the masks at the end are put into the order of an
image. On a CPU this takes about two thirds of the time of the convolutions. B prompts,
C channels, g cells along a side of the grid, n masks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.modeling.common import LayerNorm2d


class BlockMaps(NamedTuple):
    """What is added while upscaling, biases included, in the order of blocks.

    ``half`` is (1 or B, g g, C), ``full`` (1 or B, 4 g g, C/2). Without finer maps both
    are the biases alone, (1, 1, ...).
    """

    half: Tensor
    full: Tensor


def draw(
    upscaling: nn.Sequential,
    places: Tensor,
    hyper: Tensor,
    maps: BlockMaps,
    size: tuple[int, int],
) -> Tensor:
    """Upscale and weigh the channels.

    Parameters
    ----------
    upscaling : nn.Sequential
        `MaskDecoder.output_upscaling`.
    places : (B, rows * columns, C) tensor
        What the prompts made of the embedding, each place's channels side by side.
    hyper : (B, n, C/8) tensor
        A mask's weights for the upscaled channels.
    maps : BlockMaps
        Of `arrange`.
    size : (rows, columns)
        Of the grid.

    Returns
    -------
    (B, n, 4 rows, 4 columns) tensor
    """
    first, norm, second = _layers(upscaling)
    width = norm.weight.shape
    half = _add_product(maps.half, places, _as_matrix(first.weight))
    half = half.reshape(len(half), -1, *width)  # (B, 4 g g, C/4)
    half = functional.layer_norm(half, width, norm.weight, norm.bias, norm.eps)
    half = functional.gelu(half)
    full = _add_product(maps.full, half, _as_matrix(second.weight))
    full = functional.gelu(full).reshape(len(full), -1, hyper.shape[-1])
    flat = hyper @ full.transpose(1, 2)  # (B, n, 16 g g)
    return in_order(flat, size)


def in_order(flat: Tensor, size: tuple[int, int]) -> Tensor:
    """Return masks (B, n, 16 rows columns) in blocks as (B, n, 4 rows, 4 columns)."""
    rows, columns = size
    # Rows are made of i a c and columns of j b d: blocks a b, in them blocks c d.
    nested = flat.unflatten(2, (rows, columns, 2, 2, 2, 2))
    masks: Tensor = nested.permute(0, 1, 2, 4, 6, 3, 5, 7)
    return masks.reshape(*flat.shape[:2], 4 * rows, 4 * columns)


def arrange(upscaling: nn.Sequential, high_res: Sequence[Tensor] = ()) -> BlockMaps:
    """Put finer maps into the order of blocks, for many calls of `draw`.

    Parameters
    ----------
    upscaling : nn.Sequential
        `MaskDecoder.output_upscaling`.
    high_res : () or ((1 or B, C/4, 2g, 2g), (1 or B, C/8, 4g, 4g)) tensors
        Added before normalising and before the last activation.
    """
    first, _, second = _layers(upscaling)
    biases = [cast("Tensor", conv.bias).repeat(4) for conv in (first, second)]
    if not high_res:
        return BlockMaps(*(bias[None, None] for bias in biases))
    stride_4, stride_2 = high_res
    batch, _, height, width = stride_4.shape
    size = (height // 2, width // 2)
    parts = stride_4.unflatten(3, (size[1], 2)).unflatten(2, (size[0], 2))
    half = parts.permute(0, 2, 4, 3, 5, 1)  # i j, a b, channel
    parts = stride_2.unflatten(3, (size[1], 2, 2)).unflatten(2, (size[0], 2, 2))
    full = parts.permute(0, 2, 5, 3, 6, 4, 7, 1)  # i j, a b, c d, channel
    return BlockMaps(
        half.reshape(batch, size[0] * size[1], -1) + biases[0],
        full.reshape(batch, height * width, -1) + biases[1],
    )


def _layers(
    upscaling: nn.Sequential,
) -> tuple[nn.ConvTranspose2d, LayerNorm2d, nn.ConvTranspose2d]:
    """Return the layers that have weights."""
    first, norm, _, second, _ = upscaling
    return cast(
        "tuple[nn.ConvTranspose2d, LayerNorm2d, nn.ConvTranspose2d]",
        (first, norm, second),
    )


def _as_matrix(kernel: Tensor) -> Tensor:
    """Return a (c, k, 2, 2) kernel of stride 2 as the matrix (c, 4 k) of a block."""
    return kernel.permute(0, 2, 3, 1).flatten(1)


def _add_product(offset: Tensor, x: Tensor, matrix: Tensor) -> Tensor:
    """Return offset (1 or B, 1 or n, k) + x (B, n, c) @ matrix (c, k)."""
    if len(x) == 1:  # a plain product is faster than one of batches
        return torch.addmm(offset[0], x[0], matrix)[None]
    return torch.baddbmm(offset, x, matrix.expand(len(x), -1, -1))
