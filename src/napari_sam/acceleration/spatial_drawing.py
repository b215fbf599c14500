# SPDX-License-Identifier: Apache-2.0
"""Masks of one prompt, row by row: nothing is put in order afterwards.

The plain form is `MaskDecoder.draw`. A transposed convolution of stride 2 turns a place
into 2 x 2 by itself, a above and below, b left and right; a second one turns each of
those into 2 x 2 again, c and d. So a row of the mask is one of four products: a and c
say which row, and b and d stay side by side with the columns. C channels, n = g g
places, k masks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from napari_sam.acceleration.scratch import OwnScratch
    from napari_sam.modeling.common import LayerNorm2d

    _Layers = tuple[
        nn.ConvTranspose2d, LayerNorm2d, nn.GELU, nn.ConvTranspose2d, nn.GELU
    ]


class FinerMaps(NamedTuple):
    """What is added while drawing, biases included: of each a, and of each a and c.

    ``half[a]`` is (n, C/2), places by b and channels; ``full[a][c]`` (2 n, C/4), places
    and b by d and channels. One row stands for all where there are no finer maps.
    """

    half: tuple[Tensor, ...]
    full: tuple[tuple[Tensor, ...], ...]

    @property
    def nbytes(self) -> int:
        """Memory of all of them."""
        maps = [*self.half, *(part for parts in self.full for part in parts)]
        return sum(part.nelement() * part.element_size() for part in maps)


class SpatialDrawing:
    """A model's upscaling in row order.

    Parameters
    ----------
    upscaling : nn.Sequential
        `MaskDecoder.output_upscaling`.
    """

    def __init__(self, upscaling: nn.Sequential) -> None:
        first, norm, _, second, _ = cast("_Layers", tuple(upscaling))
        # Means of channels are taken off beforehand, in weights and in what is added.
        halves = _centred(first.weight.detach().permute(2, 0, 3, 1))  # a, C, b, channel
        quarters = second.weight.detach().permute(2, 0, 3, 1)  # c, channel, d, channel
        self._halves = [part.flatten(1).contiguous() for part in halves]
        self._quarters = [part.flatten(1).contiguous() for part in quarters]
        biases = cast("tuple[Tensor, Tensor]", (first.bias, second.bias))
        self._biases = [bias.detach() for bias in biases]
        self._gain, self._shift = norm.weight.detach(), norm.bias.detach()
        self._eps = norm.eps

    def arrange(self, high_res: Sequence[Tensor]) -> FinerMaps:
        """Put finer maps into the order of rows, once for an image.

        Parameters
        ----------
        high_res : () or ((1, C/4, 2g, 2g), (1, C/8, 4g, 4g)) tensors
            Added before normalising and before the last activation.
        """
        first, second = self._biases
        first = _centred(first)
        if not high_res:
            half = (first.repeat(2)[None],) * 2
            return FinerMaps(half, ((second.repeat(2)[None],) * 2,) * 2)
        stride_4, stride_2 = (part[0].permute(1, 2, 0) for part in high_res)
        stride_4 = _centred(stride_4) + first  # (2g, 2g, C/4)
        stride_2 = stride_2 + second  # (4g, 4g, C/8)
        columns = 2 * len(stride_4)
        return FinerMaps(
            tuple(stride_4[a::2].reshape(-1, 2 * stride_4.shape[-1]) for a in (0, 1)),
            tuple(
                tuple(
                    stride_2[2 * a + c :: 4].reshape(
                        columns * columns // 8, 2 * stride_2.shape[-1]
                    )
                    for c in (0, 1)
                )
                for a in (0, 1)
            ),
        )

    def draw(
        self, keys: Tensor, hyper: Tensor, maps: FinerMaps, scratch: OwnScratch
    ) -> Tensor:
        """Upscale and weigh the channels.

        Parameters
        ----------
        keys : (n, C) tensor
            What a prompt made of the image.
        hyper : (k, C/8) tensor
            A mask's weights for the upscaled channels.
        maps : FinerMaps
            Of the image.
        scratch : OwnScratch
            For what is made between.

        Returns
        -------
        (k, 4g, 4g) tensor
        """
        side = round(len(keys) ** 0.5)
        masks = keys.new_empty(len(hyper), side, 2, 2, 4 * side)
        half = scratch.get("half", len(keys), self._halves[0].shape[1])
        full = scratch.get("full", 2 * len(keys), self._quarters[0].shape[1])
        for a in (0, 1):
            torch.addmm(maps.half[a], keys, self._halves[a], out=half)
            normed = self._normalise(half.view(2 * len(keys), -1))
            for c in (0, 1):
                torch.addmm(maps.full[a][c], normed, self._quarters[c], out=full)
                gelu_in_place(full)
                drawn = hyper @ full.view(-1, hyper.shape[1]).t()  # (k, 4 n)
                masks[:, :, a, c] = drawn.view(len(hyper), side, -1)
        return masks.view(len(hyper), 4 * side, 4 * side)

    def _normalise(self, half: Tensor) -> Tensor:
        """Normalise centred channels and activate them, in place."""
        length = torch.linalg.vector_norm(half, dim=1, keepdim=True)
        factor = length.square_().div_(half.shape[1]).add_(self._eps).rsqrt_()
        half.mul_(factor)
        torch.addcmul(self._shift, half, self._gain, out=half)
        return gelu_in_place(half)


def _centred(x: Tensor) -> Tensor:
    """Take the mean of the channels, the last axis, off."""
    return x - x.mean(dim=-1, keepdim=True)


def gelu_in_place(x: Tensor) -> Tensor:
    """Activate a tensor; the public form always takes new memory."""
    out: Tensor = torch.ops.aten.gelu_(x)
    return out
