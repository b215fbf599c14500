# SPDX-License-Identifier: Apache-2.0
"""The decoder's attention where few tokens meet many places.

Thousands of places need not be projected if the few tokens that they meet are: the
scores ``q (k W)^T`` are ``(q W^T) k^T``. Each head of each token is then a column. B
prompts, T tokens, N places, C channels, d channels of a head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from napari_sam.modeling.two_way_transformer import (
        Attention,
        TwoWayAttentionBlock,
        TwoWayTransformer,
    )

FEW = 16  # tokens are few when there are more than this many places for each


def transform(
    transformer: TwoWayTransformer, keys: Tensor, key_pe: Tensor, tokens: Tensor
) -> tuple[Tensor, Tensor]:
    """Let tokens and image exchange information, as `transformer` does.

    Parameters
    ----------
    transformer : TwoWayTransformer
        Whose weights are used.
    keys : (B, N, C) tensor
        The image's places, each with its channels side by side.
    key_pe : (1 or B, N, C) tensor
        Their position code.
    tokens : (B, T, C) tensor
        Output tokens followed by prompt tokens.

    Returns
    -------
    queries : (B, T, C) tensor
    keys : (B, N, C) tensor
        Updated tokens and places.
    """
    queries = tokens
    for layer in layers_of(transformer):
        mine = layer.self_attn
        if layer.skip_first_layer_pe:
            queries = mine(q=queries, k=queries, v=queries)
        else:
            q = queries + tokens
            queries = queries + mine(q=q, k=q, v=queries)
        queries = layer.norm1(queries)
        with_pe = keys + key_pe
        found = attend(layer.cross_attn_token_to_image, queries + tokens, with_pe, keys)
        queries = layer.norm2(queries + found)
        queries = layer.norm3(queries + layer.mlp(queries))
        told = attend(
            layer.cross_attn_image_to_token, with_pe, queries + tokens, queries
        )
        keys = layer.norm4(told.add_(keys))
    last = transformer.final_attn_token_to_image
    found = attend(last, queries + tokens, keys + key_pe, keys)
    return transformer.norm_final_attn(queries + found), keys


def layers_of(transformer: TwoWayTransformer) -> list[TwoWayAttentionBlock]:
    """Return the layers, which a list of modules does not tell apart."""
    return cast("list[TwoWayAttentionBlock]", list(transformer.layers))


def attend(attention: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend from q (B, Tq, C) to k and v (B, Tk, C); returns (B, Tq, C).

    The plain form answers where neither side is few or folding does not pay.
    """
    n_queries, n_keys = q.shape[1], k.shape[1]
    # Few tokens have to be fewer columns than a projection has.
    n_columns = min(n_queries, n_keys) * attention.num_heads
    if n_columns <= attention.q_proj.out_features:
        if n_queries * FEW < n_keys:
            return attend_to_many(attention, q, k, v)
        if n_keys * FEW < n_queries:
            return attend_to_few(attention, q, k, v)
    out: Tensor = attention(q, k, v)
    return out


def attend_to_many(attention: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend from few tokens to many places, projecting tokens only."""
    queries = split(attention, attention.q_proj(q))  # (B, heads, Tq, d)
    # The bias of the keys adds the same to all scores of a query.
    asked = queries @ by_head(attention, attention.k_proj.weight)  # (B, heads, Tq, C)
    asked = asked.flatten(1, 2) * queries.shape[-1] ** -0.5
    scores = asked @ k.transpose(1, 2)  # (B, heads Tq, Tk)
    shares = without_denormals(scores.softmax(dim=-1))
    found = (shares @ v).unflatten(1, (attention.num_heads, -1))  # (B, heads, Tq, C)
    into_values = by_head(attention, attention.v_proj.weight)
    mixed = found @ into_values.transpose(1, 2)
    # Shares add up to 1, and so does what they weigh of the values' bias.
    mixed = mixed.transpose(1, 2).flatten(2) + attention.v_proj.bias
    out: Tensor = attention.out_proj(mixed)
    return out


def attend_to_few(attention: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend from many places to few tokens, projecting tokens only."""
    asked, bias, given = fold_tokens(attention, k, v)
    # Places last: a softmax over 7 neighbouring numbers does not fill a processor's
    # vectors, one over 7 rows of 4096 does.
    scores = torch.baddbmm(bias, asked, q.transpose(1, 2))  # (B, heads Tk, Tq)
    n_keys = k.shape[1]
    shares = scores.unflatten(1, (-1, n_keys)).softmax(dim=2).flatten(1, 2)
    shares = without_denormals(shares)
    return torch.baddbmm(attention.out_proj.bias, shares.transpose(1, 2), given)


def fold_tokens(
    attention: Attention, k: Tensor, v: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Fold the projections of asking places into the tokens that answer.

    Parameters
    ----------
    attention : Attention
        Whose weights are used.
    k, v : (B, T, C) tensors
        The tokens.

    Returns
    -------
    asked : (B, heads T, C) tensor
        Their products with places are the scores, but for the next.
    bias : (B, heads T, 1) tensor
        Added to the scores.
    given : (B, heads T, C) tensor
        What a place gets of each head of each token, weighed by its share.
    """
    keys = split(attention, attention.k_proj(k))  # (B, heads, T, d)
    keys = keys * keys.shape[-1] ** -0.5
    values = split(attention, attention.v_proj(v))  # (B, heads, T, d)
    asked = keys @ by_head(attention, attention.q_proj.weight)  # (B, heads, T, C)
    bias = keys @ attention.q_proj.bias.reshape(attention.num_heads, -1, 1)
    weight = attention.out_proj.weight
    into_out = weight.T.reshape(attention.num_heads, -1, len(weight))  # (heads, d, C)
    given = values @ into_out  # (B, heads, T, C)
    return asked.flatten(1, 2), bias.flatten(1, 2), given.flatten(1, 2)


def by_head(attention: Attention, weight: Tensor) -> Tensor:
    """Return the weight of a projection into heads as (heads, d, C)."""
    heads: Tensor = weight.unflatten(0, (attention.num_heads, -1))
    return heads


def split(attention: Attention, x: Tensor) -> Tensor:
    """Return (B, T, heads d) as (B, heads, T, d)."""
    heads: Tensor = x.unflatten(-1, (attention.num_heads, -1))
    return heads.transpose(1, 2)


def without_denormals(shares: Tensor) -> Tensor:
    """Make shares of less than 1e-30 nothing: they double the time of a product."""
    return functional.threshold(shares, 1e-30, 0.0)
