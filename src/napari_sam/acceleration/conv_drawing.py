# SPDX-License-Identifier: Apache-2.0
"""Masks of one prompt from its cells at stride 8, on a CPU.

The plain form is `ConvMaskDecoder.draw`. n = h w cells at stride 8, k masks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch.nn import functional

from napari_sam.acceleration.conv_stages import FastBlock, as_map
from napari_sam.modeling.prompt_encoder_map import fine_maps

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

    from napari_sam.modeling.mask_decoder_conv import ConvMaskDecoder

# Rows of the finest map that are made at once: a band stays in the cache.
_BAND = 32


class FineMaps(NamedTuple):
    """The image's finer maps, channels side by side: (2h, 2w, C4), (4h, 4w, C2)."""

    fine: Tensor
    finest: Tensor


class ConvDrawing:
    """Draws masks of one prompt.

    Parameters
    ----------
    decoder : ConvMaskDecoder
    side : int
        Cells h = w along a side of the feature grid.
    """

    def __init__(self, decoder: ConvMaskDecoder, side: int) -> None:
        self._side = side
        self._to_fine = _weight(decoder.near_to_fine)
        self._to_finest = _weight(decoder.fine_to_finest)
        # A bias is the same on all cells, so it may be added after doubling.
        self._biases = tuple(
            layer.get_parameter("bias").detach()
            for layer in (decoder.near_to_fine, decoder.fine_to_finest)
        )
        self._weight = _weight(decoder.fine_prompts)
        self._block = FastBlock(decoder.fine_block)

    def arrange(self, high_res: Sequence[Tensor]) -> FineMaps:
        """Put the finer maps (1, C, H, W) of an image in order."""
        fine, finest = (
            part[0].permute(1, 2, 0) + bias
            for part, bias in zip(high_res, self._biases, strict=True)
        )
        return FineMaps(fine.contiguous(), finest.contiguous())

    def __call__(
        self,
        maps: FineMaps,
        cells: Tensor,
        coarse: Tensor,
        hyper: Tensor,
        places: Tensor,
    ) -> Tensor:
        """Draw k masks.

        Parameters
        ----------
        maps : FineMaps
            Of the image.
        cells : (n, C8) tensor
            What the prompts made of the image.
        coarse : (k, n) tensor
            Logits at stride 8.
        hyper : (k, C2 + 1) tensor
            Weights and bias of each mask.
        places : (T, 3) tensor
            x, y, label of the prompts.

        Returns
        -------
        (k, 4h, 4w) tensor
        """
        side = self._side
        weights, bias = hyper[:, :-1], hyper[:, -1]
        fine = self._fine(maps.fine, cells, places)
        step = (fine.view(-1, fine.shape[-1]) @ self._to_finest).view(
            2 * side, 2 * side, -1
        )
        start = (coarse + bias[:, None]).view(1, -1, side, side)
        logits = functional.interpolate(start, scale_factor=4.0, mode="bilinear")[0]
        for first in range(0, 4 * side, _BAND):
            band = slice(first, first + _BAND)
            finest = _doubled_rows(step, first // 2, (first + _BAND) // 2)
            finest += maps.finest[band]
            finest.clamp_(min=0)
            rows = finest.view(-1, finest.shape[-1])
            logits[:, band] += (weights @ rows.t()).view(len(hyper), _BAND, -1)
        return logits

    def _fine(self, fine_map: Tensor, cells: Tensor, places: Tensor) -> Tensor:
        """Make the map at stride 4, (2h, 2w, C4)."""
        side = self._side
        step = (cells @ self._to_fine).view(side, side, -1)
        fine = _doubled_rows(step, 0, side)
        fine += fine_map
        shown = fine_maps(places[None], (2 * side, 2 * side))[0].flatten(1)
        flat = fine.view(-1, fine.shape[-1])
        flat.addmm_(shown.t(), self._weight)
        self._block(as_map(fine))
        return fine


def _doubled_rows(x: Tensor, start: int, stop: int) -> Tensor:
    """Double rows start to stop of x (H, W, C), as if all were there: (2 k, 2 W, C)."""
    above, below = min(start, 1), min(len(x) - stop, 1)
    part = as_map(x[start - above : stop + below])
    out = functional.interpolate(part, scale_factor=2.0, mode="bilinear")
    rows = out.permute(0, 2, 3, 1)[0]
    return rows[2 * above : len(rows) - 2 * below]


def _weight(layer: torch.nn.Conv2d) -> Tensor:
    """Weight of a convolution of single pixels, (inputs, outputs)."""
    return layer.weight.detach().flatten(1).t().contiguous()
