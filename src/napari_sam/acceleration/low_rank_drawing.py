# SPDX-License-Identifier: Apache-2.0
"""Masks from low-rank places: the places are upscaled without being made first.

A transposed convolution of stride 2 is a matrix product place by place, so its first
step is multiplied into the shared tables. Channels come first, some rows of the grid at
a time, so that all stays in the cache. C channels, N places, m of them at a time, n
masks, k = 2 R + 1 rows of shares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from napari_sam.acceleration.workers import work_with_help

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.modeling.common import LayerNorm2d

_BLOCKS_AT_ONCE = 2  # of a lone prompt that several threads draw


class LowRankDrawing:
    """The upscaling of a model.

    Parameters
    ----------
    upscaling : nn.Sequential
        `MaskDecoder.output_upscaling`.
    """

    def __init__(self, upscaling: nn.Sequential) -> None:
        norm = cast("LayerNorm2d", upscaling[1])
        second = cast("nn.ConvTranspose2d", upscaling[3])
        bias = cast("Tensor", second.bias).detach()
        matrix = second.weight.detach().permute(1, 2, 3, 0).flatten(0, 2)
        # The bias comes with a channel that is 1 everywhere.
        self._second = torch.cat([matrix, bias.repeat_interleave(4)[:, None]], dim=1)
        self._gain = norm.weight.detach()[:, None]
        self._bias = norm.bias.detach()[:, None]
        self._mean = torch.full_like(self._gain.T, 1 / len(self._gain))
        self._eps = norm.eps

    def draw(
        self, shared: Tensor, given: Tensor, shares: Tensor, hyper: Tensor
    ) -> Tensor:
        """Draw the masks of one prompt.

        Parameters
        ----------
        shared : (N / m, C, m) tensor
            First step of the upscaling of what all prompts share.
        given : (k, C) tensor
            The same of what the prompt's tokens gave.
        shares : (k, N) tensor
            What weighs it; sigma of the places in the last row.
        hyper : (n, C/8) tensor
            A mask's weights for the upscaled channels.

        Returns
        -------
        (n, 4 g, 4 g) tensor
        """
        n_blocks, _, size = shared.shape
        flat = shared.new_empty(n_blocks, len(hyper), 16 * size)
        parts = list(zip(shared, shares.split(size, dim=1), flat, strict=True))
        given = given.T

        def draw_some(some: slice) -> None:
            self._draw_blocks(parts[some], given, hyper)

        work_with_help(draw_some, _slices(n_blocks, _BLOCKS_AT_ONCE))
        return _in_order(flat, shares.shape[1])

    def _draw_blocks(
        self,
        parts: Sequence[tuple[Tensor, Tensor, Tensor]],
        given: Tensor,
        hyper: Tensor,
    ) -> None:
        """Draw places of some blocks: what is shared (C, m), shares (k, m), out."""
        half = torch.empty_like(parts[0][0])
        n_quarter, n_half = len(self._gain), 4 * half.shape[1]
        by_channel = half.view(n_quarter, n_half)
        squares = torch.empty_like(by_channel)
        active = half.new_ones(n_quarter + 1, n_half)
        full = half.new_empty(len(self._second), n_half)
        upscaled = full.view(hyper.shape[1], -1)
        for shared, shares, out in parts:
            torch.addmm(shared, given, shares, out=half)
            # Sigma was not divided by, which the norm would undo but for its epsilon.
            torch.mul(by_channel, by_channel, out=squares)
            inverse = (self._mean @ squares).view(4, -1)
            inverse.addcmul_(shares[-1], shares[-1], value=self._eps).rsqrt_()
            by_channel.mul_(inverse.view(-1)).mul_(self._gain).add_(self._bias)
            torch.ops.aten.gelu.out(by_channel, out=active[:-1])
            torch.mm(self._second, active, out=full)
            torch.ops.aten.gelu.out(full, out=full)
            torch.mm(hyper, upscaled, out=out)


def _slices(n: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _in_order(flat: Tensor, n_places: int) -> Tensor:
    """Return masks (N / m, n, 16 m) as (n, 4 g, 4 g).

    A place's 4 x 4 pixels are 2 x 2 blocks a, b of the first step, in them 2 x 2 pixels
    c, d of the second.
    """
    side = round(n_places**0.5)
    n_blocks, n_masks, _ = flat.shape
    nested = flat.view(n_blocks, n_masks, 2, 2, 2, 2, -1, side)  # c, d, a, b, i, j
    columns = [nested[:, :, :, d, :, b] for b in (0, 1) for d in (0, 1)]
    # n, blocks, i, a, c, j: columns b, d of a pixel are then put side by side.
    ordered = [column.permute(1, 0, 4, 3, 2, 5) for column in columns]
    return torch.stack(ordered, dim=-1).reshape(n_masks, 4 * side, 4 * side)
