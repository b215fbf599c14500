# SPDX-License-Identifier: Apache-2.0
"""SAM's decoder for prompts that give the image places of their own.

A mask input does, so that prompts share little: their places are made, but not
projected. B prompts, T tokens, n outputs, C channels, g cells along a side, N = g * g
places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch

from napari_sam.acceleration.scratch import OwnScratch, Pool
from napari_sam.acceleration.spatial_drawing import SpatialDrawing
from napari_sam.acceleration.spatial_transformer import Seen, SpatialTransformer
from napari_sam.acceleration.token_weights import OutputMlps
from napari_sam.acceleration.workers import work_side_by_side
from napari_sam.modeling.mask_decoder import N_MASK_TOKENS

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sam.modeling.sam import Sam
    from napari_sam.modeling.two_way_transformer import TwoWayTransformer


class DenseAttended(NamedTuple):
    """Answers before any mask is drawn; n is 4 until outputs are chosen."""

    decoding: DenseDecoding
    seen: list[Seen]
    predicted_iou: Tensor  # (B, n)
    outputs: Tensor  # (B, n), their numbers

    def of_prompts(self, rows: Tensor) -> DenseAttended:
        """Keep only the prompts of these (k,) indices."""
        return DenseAttended(
            self.decoding,
            [self.seen[i] for i in rows.tolist()],
            self.predicted_iou[rows],
            self.outputs[rows],
        )

    def of_outputs(self, chosen: Tensor) -> DenseAttended:
        """Keep only one output of each prompt, by their (B,) indices."""
        return self._replace(
            predicted_iou=self.predicted_iou.gather(1, chosen[:, None]),
            outputs=self.outputs.gather(1, chosen[:, None]),
        )

    def draw(self) -> Tensor:
        """Return mask logits, (B, n, 4g, 4g)."""
        side = 4 * self.decoding.grid_size
        masks = torch.empty(*self.outputs.shape, side, side)

        def draw_one(i: int) -> None:
            masks[i] = self.decoding.draw(self.seen[i], self.outputs[i].tolist())

        work_side_by_side(draw_one, range(len(self.seen)))
        return masks


class DenseDecoding:
    """A decoder whose image places are made for each prompt, in memory that stays.

    Parameters
    ----------
    model : Sam
    """

    def __init__(self, model: Sam) -> None:
        self.grid_size = model.grid_size
        self._decoder = decoder = model.mask_decoder
        code = model.prompt_encoder.dense_pe().detach()
        code = code[0].flatten(1).t().contiguous()  # (N, C)
        transformer = cast("TwoWayTransformer", decoder.transformer)
        self._transformer = SpatialTransformer(transformer, code)
        self._hyper = OutputMlps(decoder.output_hypernetworks_mlps)
        self._drawing = SpatialDrawing(decoder.output_upscaling)
        self._maps = self._drawing.arrange(())
        self._scratch = OwnScratch()
        self._pool = Pool((len(code), code.shape[1]))

    @torch.inference_mode()
    def attend(self, embedding: Tensor, sparse: Tensor, dense: Tensor) -> DenseAttended:
        """Let prompts and image exchange information.

        Parameters
        ----------
        embedding : (1, C, g, g) tensor
            Of the image.
        sparse : (B, T, C) tensor
            Prompt tokens.
        dense : (B, C, g, g) tensor
            Added to the embedding.
        """
        decoder = self._decoder
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        # Of many prompts not all will be drawn.
        n_done = len(own) if len(sparse) == 1 else 1

        def see(i: int) -> Seen:
            lease = self._pool.lease()
            places = lease.tensor.t().view(embedding.shape[1:])
            torch.add(embedding[0], dense[i], out=places)
            tokens = torch.cat([own, sparse[i]])[None]
            return self._transformer.exchange(tokens, [lease], n_done, self._scratch)[0]

        seen = work_side_by_side(see, range(len(sparse)))
        first = torch.stack([one.done[0] for one in seen])
        iou = decoder.iou_prediction_head(first)
        outputs = torch.arange(N_MASK_TOKENS).expand(len(seen), -1)
        return DenseAttended(self, seen, iou, outputs)

    @torch.inference_mode()
    def draw(self, seen: Seen, outputs: list[int]) -> Tensor:
        """Draw outputs of one prompt, (n, 4g, 4g)."""
        numbers = [1 + output for output in outputs]
        queries = self._transformer.finish(seen, numbers, self._scratch)
        hyper = self._hyper(queries, outputs)
        return self._drawing.draw(seen.keys, hyper, self._maps, self._scratch)
