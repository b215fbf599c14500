# SPDX-License-Identifier: Apache-2.0
"""A stage of the convolutional decoder on a CPU, its cells' channels side by side.

The plain form is `modeling.mask_decoder_conv.Stage`. N cells, C channels, k maps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional

from napari_sam.acceleration.convolutions import Convolution
from napari_sam.acceleration.products import Product
from napari_sam.acceleration.prompt_columns import Kind, constants

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_sam.modeling.mask_decoder_conv import Block, Stage


class FastStage:
    """Maps in, normalised, tuned to the prompt, then blocks.

    Parameters
    ----------
    stage : Stage
    nothing : (c,) tensor
        The mask maps without a mask.
    """

    def __init__(self, stage: Stage, nothing: Tensor) -> None:
        self._weight = stage.maps.weight.detach().flatten(1)  # (C, all maps)
        self._bias = stage.maps.get_parameter("bias").detach()
        self._nothing = constants(nothing)
        self._norm = stage.norm
        self._tune = stage.tune
        blocks = cast("Iterable[Block]", stage.blocks)
        self._blocks = [FastBlock(block) for block in blocks]
        self._by_kind: dict[Kind, Tensor] = {}

    def tune(self, summary: Tensor) -> Tensor:
        """Gain and shift after normalising, (B, 2, C), for prompts (B, P)."""
        gain, shift = self._tune(summary).chunk(2, dim=1)
        weight, bias = self._norm.weight, self._norm.bias
        return torch.stack([weight * (1 + gain), bias * (1 + gain) + shift], dim=1)

    def __call__(
        self, image: Tensor, maps: Tensor, kind: Kind, tune: Tensor, out: Tensor | None
    ) -> Tensor:
        """Run the stage.

        Parameters
        ----------
        image : (N, C) tensor
            The image's share; if there is memory for the result, it may be used up.
        maps : (k + 1, h, w) tensor
            The prompt's maps of all N cells, the last one of ones.
        kind : Kind
            Which maps they are.
        tune : (2, C) tensor
            Gain and shift after normalising.
        out : (N, C) tensor, optional
            Memory for the result.
        """
        flat, weights = maps.flatten(1).t(), self._of_kind(kind)
        if out is None:
            x = torch.addmm(image, flat, weights)
        else:
            x = image.addmm_(flat, weights)
        gain, shift = tune
        normed = functional.layer_norm(x, (len(gain),), gain, shift, self._norm.eps)
        if out is not None:
            normed = out.copy_(normed)
        side = round(len(normed) ** 0.5)
        image_map = as_map(normed.view(side, side, -1))
        for block in self._blocks:
            block(image_map, normed)
        return normed

    def _of_kind(self, kind: Kind) -> Tensor:
        """Weights (k + 1, C); the last row holds all that does not vary."""
        weights = self._by_kind.get(kind)
        if weights is None:
            chosen = kind.columns()
            rest = torch.ones(len(self._nothing), dtype=torch.bool)
            rest[chosen] = False
            constant = self._bias + self._weight[:, rest] @ self._nothing[rest]
            parts = [self._weight[:, chosen].t(), constant[None]]
            weights = self._by_kind[kind] = torch.cat(parts).contiguous()
        return weights


class FastBlock:
    """A block of the decoder: filter, mix, add; changes its input.

    Parameters
    ----------
    block : Block
    """

    def __init__(self, block: Block) -> None:
        depthwise = block.depthwise
        self._depthwise = Convolution(
            depthwise.weight, depthwise.bias, groups=depthwise.groups
        )
        self._mix, self._out = (
            Product(layer.weight.flatten(1), layer.bias)
            for layer in (block.mix, block.out)
        )

    def __call__(self, x: Tensor, cells: Tensor) -> None:
        """Add to a map what the block makes of it.

        Parameters
        ----------
        x : (1, C, H, W) tensor
            Channels-last.
        cells : (H W, C) tensor
            The same memory.
        """
        filtered = self._depthwise(x).permute(0, 2, 3, 1).view(cells.shape)
        self._out.add(self._mix(filtered).relu_(), cells)


def as_map(x: Tensor) -> Tensor:
    """Call (H, W, C) memory a map (1, C, H, W) in channels-last order."""
    # The first stride decides whether PyTorch takes it for one.
    return x.reshape(1, *x.shape).permute(0, 3, 1, 2)
