# SPDX-License-Identifier: Apache-2.0
"""The decoder for many prompts at once, on a GPU.

What takes time on a GPU is starting kernels and moving memory. So prompts are not
worked on a few at a time, as on a CPU, but all together: places of the image are not
projected (`folded_attention`), and upscaling is matrix products (`block_upscaling`).
The low-rank form needs fewer sums still, but kernels for each prompt. B prompts, T
tokens, n outputs, C channels, g cells along a side, N = g * g places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch

from napari_sam.acceleration import block_upscaling, folded_attention
from napari_sam.acceleration.block_upscaling import BlockMaps
from napari_sam.modeling.mask_decoder import MaskDecoder
from napari_sam.modeling.two_way_transformer import TwoWayTransformer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_sam.acceleration.decoding import Prompts
    from napari_sam.modeling.sam import ImageFeatures, Sam

# Prompts whose masks are drawn at once: 16 of SAM's need half a gigabyte for it.
_DRAWN_AT_ONCE = 16


class BatchedImage(NamedTuple):
    """An image with the channels of a place side by side.

    ``half`` and ``full`` are the finer maps, `BlockMaps`.
    """

    places: Tensor  # (1, N, C)
    position: Tensor  # (1, N, C)
    half: Tensor
    full: Tensor

    @property
    def nbytes(self) -> int:
        """Memory of all of it."""
        return sum(tensor.element_size() * tensor.nelement() for tensor in self)


class BatchedAttended(NamedTuple):
    """Answers before any mask is drawn; n is 4 until outputs are chosen."""

    upscaling: nn.Sequential
    maps: BlockMaps
    predicted_iou: Tensor  # (B, n)
    hyper: Tensor  # (B, n, C/8)
    places: Tensor  # (B, N, C)

    def of_prompts(self, rows: Tensor) -> BatchedAttended:
        """Keep only the prompts of these (k,) indices."""
        return self._replace(
            predicted_iou=self.predicted_iou[rows],
            hyper=self.hyper[rows],
            places=self.places[rows],
        )

    def of_outputs(self, chosen: Tensor) -> BatchedAttended:
        """Keep only one output of each prompt, by their (B,) indices."""
        rows = torch.arange(len(chosen), device=chosen.device)
        return self._replace(
            predicted_iou=self.predicted_iou[rows, chosen][:, None],
            hyper=self.hyper[rows, chosen][:, None],
        )

    def draw(self) -> Tensor:
        """Return mask logits, (B, n, 4g, 4g)."""
        side = round(self.places.shape[1] ** 0.5)
        if not len(self.places):
            return self.hyper.new_zeros(*self.hyper.shape[:2], 4 * side, 4 * side)
        parts = zip(
            self.places.split(_DRAWN_AT_ONCE),
            self.hyper.split(_DRAWN_AT_ONCE),
            strict=True,
        )
        with torch.no_grad():
            drawn = [
                block_upscaling.draw(
                    self.upscaling, places, hyper, self.maps, (side, side)
                )
                for places, hyper in parts
            ]
            return torch.cat(drawn)


class BatchedDecoding:
    """A `Decoding` without work for each prompt alone.

    Parameters
    ----------
    model : Sam
        One of which `is_batched` holds.
    """

    def __init__(self, model: Sam) -> None:
        self._model = model

    def prepare(self, features: ImageFeatures) -> BatchedImage:
        """Put places, position code and finer maps into the order of the decoder."""
        with torch.no_grad():
            code = self._model.prompt_encoder.dense_pe()
            places, position = (
                x.flatten(2).transpose(1, 2).contiguous()
                for x in (features.embedding, code)
            )
            upscaling = self._model.mask_decoder.output_upscaling
            maps = block_upscaling.arrange(upscaling, features.high_res)
        return BatchedImage(places, position, *maps)

    def attend(self, image: BatchedImage, prompts: Prompts) -> BatchedAttended:
        """Let prompts and image exchange information."""
        with torch.no_grad():
            return self.exchange(image, *self._model.encode_prompts(*prompts))

    def exchange(
        self, image: BatchedImage, sparse: Tensor, dense: Tensor
    ) -> BatchedAttended:
        """Let encoded prompts (B, T, C), (B, C, g, g) and image meet."""
        decoder = self._model.mask_decoder
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
        keys = image.places + dense.flatten(2).transpose(1, 2)
        queries, places = folded_attention.transform(
            cast("TwoWayTransformer", decoder.transformer),
            keys.contiguous(),
            image.position,
            tokens,
        )
        networks = enumerate(decoder.output_hypernetworks_mlps, start=1)
        return BatchedAttended(
            decoder.output_upscaling,
            BlockMaps(image.half, image.full),
            decoder.iou_prediction_head(queries[:, 0]),
            torch.stack([mlp(queries[:, i]) for i, mlp in networks], dim=1),
            places,
        )


def is_batched(model: Sam) -> bool:
    """Tell whether a model's decoder has this form."""
    return (
        isinstance(model.mask_decoder, MaskDecoder)
        and isinstance(model.mask_decoder.transformer, TwoWayTransformer)
        and not model.training
        and model.dtype == torch.float32
    )
