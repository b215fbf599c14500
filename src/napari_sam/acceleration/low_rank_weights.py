# SPDX-License-Identifier: Apache-2.0
"""The decoder's weights, multiplied out for its low-rank form.

The formulas are in docs/explanation/exact-speed-ups.md. C channels, H heads of d
channels each (I = H d), g cells along a side of the grid, N = g * g places. A table has
one row for each of I channels and one column for each place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor

from napari_sam.acceleration.folded_attention import layers_of

if TYPE_CHECKING:
    from torch import nn

    from napari_sam.modeling.sam import Sam
    from napari_sam.modeling.two_way_transformer import (
        Attention,
        TwoWayAttentionBlock,
        TwoWayTransformer,
    )

N_LAYERS = 2  # the form is written for this depth


class Projection(NamedTuple):
    """Linear layers of the same input, side by side: ``x @ matrix + bias``.

    ``matrix`` (inputs, outputs) lies the other way round than in a linear layer, which
    is faster for few rows.
    """

    matrix: Tensor
    bias: Tensor

    @classmethod
    def of(cls, *layers: nn.Linear, scale: float = 1.0) -> Projection:
        """Put layers side by side; `scale` is multiplied to the first one."""
        scales = [scale, *[1.0] * (len(layers) - 1)]
        parts = list(zip(layers, scales, strict=True))
        matrix = torch.cat([layer.weight.detach() * s for layer, s in parts])
        bias = torch.cat([layer.bias.detach() * s for layer, s in parts])
        return cls(matrix.T.contiguous(), bias)

    def __call__(self, x: Tensor) -> Tensor:
        """Project x (..., inputs) to (..., outputs)."""
        rows = torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.matrix)
        return rows.view(*x.shape[:-1], -1)


@dataclass(frozen=True)
class LayerProjections:
    """Projections of tokens in one layer."""

    mine_coded: Projection  # queries and keys of the self-attention
    mine_value: Projection
    mine_out: Projection
    ask: Projection  # tokens ask the image
    ask_out: Projection
    hidden: Projection
    out: Projection
    tell_key: Projection  # tokens answer the image
    tell_value: Projection

    @classmethod
    def of(cls, layer: TwoWayAttentionBlock) -> LayerProjections:
        """Read the weights of a layer."""
        mine, ask, tell = (
            layer.self_attn,
            layer.cross_attn_token_to_image,
            layer.cross_attn_image_to_token,
        )
        return cls(
            mine_coded=Projection.of(mine.q_proj, mine.k_proj),
            mine_value=Projection.of(mine.v_proj),
            mine_out=Projection.of(mine.out_proj),
            ask=Projection.of(ask.q_proj, scale=score_scale(ask)),
            ask_out=Projection.of(ask.out_proj),
            hidden=Projection.of(layer.mlp.lin1),
            out=Projection.of(layer.mlp.lin2),
            tell_key=Projection.of(tell.k_proj, scale=score_scale(tell)),
            tell_value=Projection.of(tell.v_proj),
        )


@dataclass(frozen=True)
class TableWeights:
    """From the places of an image to tables that all prompts share."""

    no_mask: Tensor  # (C, 1) dense prompt where there is no mask
    shift: Tensor  # (C, 1) added to the centred places
    gain: Tensor  # (C, 1) of the first layer's last norm
    drift: Tensor  # (C,) d of the second layer
    plain: Tensor  # (2 I, C) keys and asking places of the first layer
    plain_position: Tensor  # (2 I, N) and what position code and bias add
    plain_values: Tensor  # (C, I)
    centred: Tensor  # (6 I, C) tables of centred places, see `LowRankImage`
    centred_values: Tensor  # (C, 2 I)
    up: Tensor  # (C, C) first step of the upscaling


@dataclass(frozen=True)
class GivenWeights:
    """From values of tokens to what they give to places, and to its projections.

    Of values v (H, ., d), ``v @ first`` has these parts side by side: what is given,
    centred; the same after gain and centring; that projected to keys, values and asking
    places of the second layer; to keys and values of the last attention. ``v @ second +
    second_bias``: what is given, centred, with its part of the drift; projected to keys
    and values of the last attention.
    """

    first: Tensor  # (H, d, 2 C + 5 I)
    second: Tensor  # (H, d, C + 2 I)
    second_bias: Tensor  # (1, 1, C + 2 I)
    up_first: Tensor  # (H, d, C) projected by the upscaling's first step
    up_second: Tensor
    up_second_bias: Tensor  # (1, 1, C)
    up_bias: Tensor  # (1, C)


@dataclass(frozen=True)
class LowRankWeights:
    """All weights of the low-rank form; made once per model."""

    n_heads: int
    eps: tuple[float, float]  # of the last norms of both layers
    layers: tuple[LayerProjections, LayerProjections]
    last_ask: Projection
    last_out: Projection
    values_bias: tuple[Tensor, Tensor, Tensor]  # (I,) of the three attentions
    tables: TableWeights
    given: GivenWeights
    position: tuple[Tensor, Tensor, Tensor]  # (H, d, N): keys, asking places, last keys

    @classmethod
    def of(cls, model: Sam) -> LowRankWeights:
        """Multiply the weights of a model, without gradients."""
        with torch.no_grad():
            return _Products(model).collect()


def score_scale(attention: Attention) -> float:
    """Return what scores are multiplied with before they become shares."""
    width: int = attention.q_proj.out_features
    return float((width // attention.num_heads) ** -0.5)


def centre(x: Tensor) -> Tensor:
    """Subtract the mean over channels, which come first."""
    return x - x.mean(dim=0, keepdim=True)


class _Products:
    """The work of `LowRankWeights.of`."""

    def __init__(self, model: Sam) -> None:
        decoder = model.mask_decoder
        transformer = cast("TwoWayTransformer", decoder.transformer)
        first, second = layers_of(transformer)
        self.layers = (first, second)
        self.tell = (first.cross_attn_image_to_token, second.cross_attn_image_to_token)
        self.ask = (first.cross_attn_token_to_image, second.cross_attn_token_to_image)
        self.last = transformer.final_attn_token_to_image
        self.n_heads = self.last.num_heads
        self.gain = [_fixed(layer.norm4.weight) for layer in self.layers]
        self.bias = [_fixed(layer.norm4.bias) for layer in self.layers]
        self.no_mask = model.prompt_encoder.no_mask_embed.weight.detach()[0]
        self.code = _fixed(model.prompt_encoder.dense_pe())[0].flatten(1)  # (C, N)
        self.given = [centre(_fixed(tell.out_proj.weight)) for tell in self.tell]
        # What the first layer gave, as the second layer's norm sees it.
        self.given_on = centre(self.gain[0][:, None] * self.given[0])
        drift = self.bias[0] + _fixed(self.tell[1].out_proj.bias)
        self.drift = centre(drift[:, None])[:, 0]
        self.up, self.up_bias = self._upscaling(decoder.output_upscaling)

    def _upscaling(self, upscaling: nn.Module) -> tuple[Tensor, Tensor]:
        """Return the first step as a (C, C) matrix of outputs and inputs, and its bias.

        An output is a channel of one of four places, the channel first. The norm that
        follows subtracts the mean over channels; here it is gone already.
        """
        conv = cast("nn.ConvTranspose2d", upscaling.get_submodule("0"))
        weight = _fixed(conv.weight).permute(1, 2, 3, 0).flatten(1, 2)  # (c, 4, C)
        weight = centre(weight).flatten(0, 1)
        bias = centre(_fixed(cast("Tensor", conv.bias))[:, None]).expand(-1, 4)
        return weight, bias.flatten()

    def collect(self) -> LowRankWeights:
        """Put all products together."""
        keys = _fixed(self.ask[1].k_proj.weight) @ self.code
        asking = _fixed(self.tell[1].q_proj.weight) @ (
            self.code + self.bias[0][:, None]
        ) + _column(self.tell[1].q_proj.bias)
        last_keys = _fixed(self.last.k_proj.weight) @ self.code
        return LowRankWeights(
            n_heads=self.n_heads,
            eps=(self.layers[0].norm4.eps, self.layers[1].norm4.eps),
            layers=(
                LayerProjections.of(self.layers[0]),
                LayerProjections.of(self.layers[1]),
            ),
            last_ask=Projection.of(self.last.q_proj, scale=score_scale(self.last)),
            last_out=Projection.of(self.last.out_proj),
            values_bias=(
                self.ask[0].v_proj.bias.detach(),
                self._changed_bias(self.ask[1].v_proj, self.bias[0]),
                self._changed_bias(self.last.v_proj, self.bias[1]),
            ),
            tables=self._tables(),
            given=self._given(),
            position=(
                self._by_head(keys),
                self._by_head(asking),
                self._by_head(last_keys),
            ),
        )

    @staticmethod
    def _changed_bias(layer: nn.Linear, x: Tensor) -> Tensor:
        """Return the projection of what is the same at all places."""
        return _fixed(layer.weight) @ x + _fixed(layer.bias)

    def _tables(self) -> TableWeights:
        gain = self.gain[0]
        first_keys, first_asking = self.ask[0].k_proj, self.tell[0].q_proj
        plain = torch.cat([_fixed(first_keys.weight), _fixed(first_asking.weight)])
        position = plain @ self.code
        # The same is added to all scores of a token by its keys' bias: it is left out.
        position[len(position) // 2 :] += _column(first_asking.bias)
        centred = [
            self.given[0].T,
            self.given_on.T * gain,
            self.given[1].T * gain,
            _fixed(self.ask[1].k_proj.weight) * gain,
            _fixed(self.tell[1].q_proj.weight) * gain,
            self._of_last(self.last.k_proj.weight),
        ]
        values = [
            _fixed(self.ask[1].v_proj.weight) * gain,
            self._of_last(self.last.v_proj.weight),
        ]
        return TableWeights(
            no_mask=self.no_mask[:, None],
            shift=centre(_column(self.tell[0].out_proj.bias)),
            gain=gain[:, None],
            drift=self.drift,
            plain=plain,
            plain_position=position,
            plain_values=_fixed(self.ask[0].v_proj.weight).T.contiguous(),
            centred=torch.cat(centred),
            centred_values=torch.cat(values).T.contiguous(),
            up=self._of_last(self.up),
        )

    def _of_last(self, weight: Tensor) -> Tensor:
        """Return a projection (k, C) of the last keys as one of centred places."""
        scaled = _fixed(weight) * self.gain[1]
        return (scaled - scaled.mean(dim=1, keepdim=True)) * self.gain[0]

    def _given(self) -> GivenWeights:
        first, on, second = (
            self._by_head(x.T) for x in (self.given[0], self.given_on, self.given[1])
        )  # (H, d, C)
        inner = [
            (_fixed(weight) * self.gain[0]).T
            for weight in (
                self.ask[1].k_proj.weight,
                self.ask[1].v_proj.weight,
                self.tell[1].q_proj.weight,
            )
        ]
        last = [
            (_fixed(weight) * self.gain[1]).T
            for weight in (self.last.k_proj.weight, self.last.v_proj.weight)
        ]
        up = (self.up * self.gain[1]).T
        # Shares of a head add up to 1, so each head may bring its part of the drift.
        drift = (self.drift / self.n_heads)[None, None]
        return GivenWeights(
            first=torch.cat(
                [first, on, *(first @ x for x in inner), *(on @ x for x in last)], -1
            ),
            second=torch.cat([second, *(second @ x for x in last)], -1),
            second_bias=torch.cat([drift, *(drift @ x for x in last)], -1),
            up_first=(on @ up),
            up_second=(second @ up),
            up_second_bias=(drift @ up),
            up_bias=(self.up @ self.bias[1] + self.up_bias)[None],
        )

    def _by_head(self, x: Tensor) -> Tensor:
        """Return (I, .) as (H, d, .)."""
        heads: Tensor = x.unflatten(0, (self.n_heads, -1)).contiguous()
        return heads


def _fixed(x: Tensor) -> Tensor:
    return x.detach()


def _column(x: Tensor) -> Tensor:
    return _fixed(x)[:, None]
