# SPDX-License-Identifier: Apache-2.0
"""SAM's prompt encoder and mask decoder in low-rank form.

B prompts, T tokens, n outputs, C channels, g cells along a side of the feature grid.
The plain form is `PlainDecoding`; the formulas are in
docs/explanation/exact-speed-ups.md.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional

from napari_sam.acceleration.dense_decoding import DenseDecoding
from napari_sam.acceleration.folded_attention import layers_of
from napari_sam.acceleration.low_rank_attention import LowRankPlaces
from napari_sam.acceleration.low_rank_drawing import LowRankDrawing
from napari_sam.acceleration.low_rank_image import LowRankImage, make_tables
from napari_sam.acceleration.low_rank_weights import N_LAYERS, LowRankWeights
from napari_sam.acceleration.token_weights import OutputMlps
from napari_sam.acceleration.workers import work_side_by_side
from napari_sam.modeling.mask_decoder import N_MASK_TOKENS, MaskDecoder
from napari_sam.modeling.prompt_encoder import PromptEncoder
from napari_sam.modeling.two_way_transformer import TwoWayTransformer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.acceleration.decoding import Attended, Prompts
    from napari_sam.acceleration.low_rank_weights import LayerProjections
    from napari_sam.modeling.sam import ImageFeatures, Sam
    from napari_sam.modeling.two_way_transformer import TwoWayAttentionBlock

# Prompts at once: more do not share more, and their shares leave the cache.
_CHUNK = 8
# Rows of shares (heads times tokens) with which making the places is as fast.
_MANY_ROWS = 224


def is_low_rank(model: Sam) -> bool:
    """Tell whether a model's decoder has this form: SAM's own, on a CPU."""
    decoder = model.mask_decoder
    return (
        type(model.prompt_encoder) is PromptEncoder
        and isinstance(decoder, MaskDecoder)
        and isinstance(decoder.transformer, TwoWayTransformer)
        and len(decoder.transformer.layers) == N_LAYERS
        and model.device.type == "cpu"
        and not model.training
        and model.dtype == torch.float32
    )


class LowRankDecoding:
    """A decoder whose image places are never made for a prompt.

    Dense prompts (a mask input) and very many tokens take `DenseDecoding`.

    Parameters
    ----------
    model : Sam
        One of which `is_low_rank` holds.
    """

    def __init__(self, model: Sam) -> None:
        self._model = model
        self._dense = DenseDecoding(model)
        self._weights = LowRankWeights.of(model)
        self._tokens = _TokenSide(model, self._weights)

    def prepare(self, features: ImageFeatures) -> LowRankImage:
        """Make the tables of an image."""
        with torch.no_grad():
            return make_tables(self._weights, features.embedding)

    def attend(self, image: LowRankImage, prompts: Prompts) -> Attended:
        """Let prompts and image exchange information."""
        with torch.no_grad():
            sparse, dense = self._model.encode_prompts(*prompts)
            n_rows = self._weights.n_heads * (1 + N_MASK_TOKENS + sparse.shape[1])
            if prompts.masks is not None or n_rows > _MANY_ROWS:
                return self._dense.attend(image.embedding, sparse, dense)

            def see(part: Tensor) -> _Seen:
                return self._tokens.exchange(image, part)

            seen = work_side_by_side(see, _parts(sparse))
        return LowRankAttended.of_all(self._tokens, seen)


def _parts(sparse: Tensor) -> Sequence[Tensor]:
    """Share prompts (B, T, C) out: as many to each thread, but few at a time."""
    size = min(_CHUNK, -(-len(sparse) // torch.get_num_threads()))
    return sparse.split(size) if size else ()


class _Seen(NamedTuple):
    """Some prompts before the last attention.

    ``queries`` and ``tokens`` are (T, B, C); ``done`` (k, B, C) are the first k tokens
    after it.
    """

    places: LowRankPlaces
    queries: Tensor
    tokens: Tensor
    done: Tensor
    predicted_iou: Tensor  # (B, 4)


class LowRankAttended:
    """Answers of the low-rank form.

    Parameters
    ----------
    side : _TokenSide
        Finishes the tokens that masks are drawn from.
    prompts : sequence of B (_Seen, int)
        Where each prompt is.
    outputs : (B, n) tensor
        Numbers of the outputs kept.
    """

    def __init__(
        self,
        side: _TokenSide,
        prompts: Sequence[tuple[_Seen, int]],
        outputs: Tensor,
    ) -> None:
        self._side = side
        self._prompts = list(prompts)
        self._outputs = outputs

    @classmethod
    def of_all(cls, side: _TokenSide, seen: Sequence[_Seen]) -> LowRankAttended:
        """Keep all prompts and outputs."""
        prompts = [(part, row) for part in seen for row in range(len(part[-1]))]
        outputs = torch.arange(N_MASK_TOKENS).expand(len(prompts), -1)
        return cls(side, prompts, outputs)

    @property
    def predicted_iou(self) -> Tensor:
        """The model's own estimates, (B, n)."""
        if not self._prompts:
            return torch.zeros(self._outputs.shape)
        rows = [part.predicted_iou[row] for part, row in self._prompts]
        return torch.stack(rows).gather(1, self._outputs)

    def of_prompts(self, rows: Tensor) -> LowRankAttended:
        """Keep only the prompts of these (k,) indices."""
        prompts = [self._prompts[i] for i in rows.tolist()]
        return LowRankAttended(self._side, prompts, self._outputs[rows])

    def of_outputs(self, chosen: Tensor) -> LowRankAttended:
        """Keep only one output of each prompt, by their (B,) indices."""
        outputs = self._outputs.gather(1, chosen[:, None])
        return LowRankAttended(self._side, self._prompts, outputs)

    def draw(self) -> Tensor:
        """Return mask logits, (B, n, 4g, 4g)."""
        side = self._side.grid_size
        masks = torch.empty(*self._outputs.shape, 4 * side, 4 * side)

        def draw_some(part: tuple[_Seen, list[int], slice]) -> None:
            seen, rows, own = part
            self._side.draw(seen, rows, self._outputs[own], masks[own])

        work_side_by_side(draw_some, self._parts())
        return masks

    def _parts(self) -> list[tuple[_Seen, list[int], slice]]:
        """Gather neighbours that were seen together, with their place in a batch."""
        parts = []
        start = 0
        for _, prompts in groupby(self._prompts, key=lambda prompt: id(prompt[0])):
            together = list(prompts)
            stop = start + len(together)
            rows = [row for _, row in together]
            parts.append((together[0][0], rows, slice(start, stop)))
            start = stop
        return parts


class _TokenSide:
    """What happens to tokens; they come as (T, B, C), so that prompts lie between."""

    def __init__(self, model: Sam, weights: LowRankWeights) -> None:
        self.grid_size = model.grid_size
        self._weights = weights
        self._decoder = decoder = model.mask_decoder
        self._transformer = cast("TwoWayTransformer", decoder.transformer)
        self._hyper = OutputMlps(decoder.output_hypernetworks_mlps)
        self._drawing = LowRankDrawing(decoder.output_upscaling)
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        self._own = own.detach()[:, None]  # (5, 1, C)

    @torch.no_grad()
    def exchange(self, image: LowRankImage, sparse: Tensor) -> _Seen:
        """Let prompts (B, T, C) and image exchange information."""
        own = self._own.expand(-1, len(sparse), -1)
        tokens = torch.cat([own, sparse.transpose(0, 1)])
        places = LowRankPlaces(self._weights, image, len(sparse), len(tokens))
        first, second = layers_of(self._transformer)
        mine, others = self._weights.layers
        queries = first.norm1(self._attend_mine(mine, tokens, tokens))
        found = places.ask_first(mine.ask(queries + tokens))
        queries = _understand(first, mine, queries, found)
        coded = queries + tokens
        places.tell_first(mine.tell_key(coded), mine.tell_value(queries))
        queries = second.norm1(queries + self._attend_mine(others, coded, queries))
        found = places.ask_second(others.ask(queries + tokens))
        queries = _understand(second, others, queries, found)
        coded = queries + tokens
        places.tell_second(others.tell_key(coded), others.tell_value(queries))
        rows = list(range(len(sparse)))
        # Of many prompts not all will be drawn, and of those only some outputs.
        n_done = len(own) if len(rows) == 1 else 1
        done = self._finish(places, rows, queries[:n_done], tokens[:n_done])
        iou = self._decoder.iou_prediction_head(done[0])
        return _Seen(places, queries, tokens, done, iou)

    @torch.no_grad()
    def draw(self, seen: _Seen, rows: list[int], outputs: Tensor, out: Tensor) -> None:
        """Draw outputs (b, n) of prompts `rows` into (b, n, 4g, 4g)."""
        numbers = 1 + outputs.T  # of the tokens; the first tells how good they are
        if len(seen.done) > 1:
            last = seen.done[numbers, rows]  # (n, b, C)
        else:
            queries, tokens = (x[numbers, rows] for x in (seen.queries, seen.tokens))
            last = self._finish(seen.places, rows, queries, tokens)
        given = seen.places.upscaling_rows(rows)
        shared = seen.places.image.up
        for i, row in enumerate(rows):
            shares = seen.places.shares[:, row]
            hyper = self._hyper(last[:, i], outputs[i].tolist())
            out[i] = self._drawing.draw(shared, given[:, i], shares, hyper)

    def _finish(
        self, places: LowRankPlaces, rows: list[int], queries: Tensor, tokens: Tensor
    ) -> Tensor:
        """Update tokens (t, b, C) of prompts `rows` for the last time."""
        weights = self._weights
        found = places.ask_last(weights.last_ask(queries + tokens), rows)
        out: Tensor = self._transformer.norm_final_attn(
            queries + weights.last_out(found)
        )
        return out

    def _attend_mine(
        self, layer: LayerProjections, coded: Tensor, queries: Tensor
    ) -> Tensor:
        """Let the tokens of each prompt attend to each other."""
        width = queries.shape[-1]
        parts = (
            *layer.mine_coded(coded).split(width, dim=-1),
            layer.mine_value(queries),
        )
        q, k, v = (
            x.unflatten(-1, (self._weights.n_heads, -1)).permute(1, 2, 0, 3)
            for x in parts
        )  # (B, H, T, C/H)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return layer.mine_out(mixed.permute(2, 0, 1, 3).flatten(2))


def _understand(
    layer: TwoWayAttentionBlock,
    weights: LayerProjections,
    queries: Tensor,
    found: Tensor,
) -> Tensor:
    """Update tokens by what they found in the image."""
    queries = layer.norm2(queries + weights.ask_out(found))
    out: Tensor = layer.norm3(queries + weights.out(weights.hidden(queries).relu_()))
    return out
