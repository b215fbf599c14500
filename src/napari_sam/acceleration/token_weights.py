# SPDX-License-Identifier: Apache-2.0
"""A prompt's few tokens in plain products of matrices.

The tokens of a prompt are so few that calling an operation costs more than its work.
So there are few operations, with as little as possible in each: instead of being split
into heads, a token becomes one row a head, which is 0 outside that head's channels. B
prompts, T tokens, H heads, C channels, E channels of all heads together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import nn

    from napari_sam.modeling.common import MLP
    from napari_sam.modeling.two_way_transformer import Attention


class _Heads:
    """Rows of heads and back."""

    def __init__(self, attention: Attention) -> None:
        width = attention.q_proj.out_features
        self.n_heads = attention.num_heads
        self.scale = (width // self.n_heads) ** -0.5
        own = torch.eye(self.n_heads, dtype=attention.q_proj.weight.dtype)
        self._own: Tensor = own.repeat_interleave(
            width // self.n_heads, dim=1
        )  # (H, E)

    def rows(self, x: Tensor) -> Tensor:
        """Return (B, T, E) as (B, T H, E), each row with one head's channels only."""
        return (x[:, :, None] * self._own).flatten(1, 2)

    def merge(self, rows: Tensor) -> Tensor:
        """Take from (B, T H, E) of each row its own head: (B, T, E)."""
        by_head: Tensor = rows.unflatten(1, (-1, self.n_heads))
        return (by_head * self._own).sum(dim=2)


class SelfAttention:
    """Tokens of a prompt among themselves.

    Parameters
    ----------
    attention : Attention
    """

    def __init__(self, attention: Attention) -> None:
        self._heads = _Heads(attention)
        self._query = _Linear(attention.q_proj, self._heads.scale)
        self._key = _Linear(attention.k_proj)
        self._value = _Linear(attention.v_proj)
        self._out = _Linear(attention.out_proj)

    def __call__(self, coded: Tensor, tokens: Tensor) -> Tensor:
        """Attend with coded tokens (B, T, C) to tokens (B, T, C)."""
        asked = self._heads.rows(self._query(coded))  # (B, T H, E)
        scores = asked @ self._key(coded).transpose(1, 2)  # (B, T H, T)
        found = scores.softmax(dim=2) @ self._value(tokens)
        return self._out(self._heads.merge(found))


class TokensToPlaces:
    """What tokens ask thousands of places, and what they make of the answers.

    Parameters
    ----------
    attention : Attention
    """

    def __init__(self, attention: Attention) -> None:
        self._heads = _Heads(attention)
        self._query = _Linear(attention.q_proj, self._heads.scale)
        # The bias of the keys adds the same to all scores of a query.
        self._key = attention.k_proj.weight.detach()  # (E, C)
        self._value = _Linear(attention.v_proj)
        self._out = _Linear(attention.out_proj)

    def ask(self, coded: Tensor) -> Tensor:
        """Return (B, T H, C), whose products with coded places are the scores."""
        return self._heads.rows(self._query(coded)) @ self._key

    def understand(self, found: Tensor) -> Tensor:
        """Return (B, T, C) of the (B, T H, C) that each head of each token found."""
        return self._out(self._heads.merge(self._value(found)))


class PlacesToTokens:
    """What thousands of places are told by a few tokens.

    Parameters
    ----------
    attention : Attention
    """

    def __init__(self, attention: Attention) -> None:
        self._heads = _Heads(attention)
        self._key = _Linear(attention.k_proj, self._heads.scale)
        self._query = attention.q_proj.weight.detach()  # (E, C)
        self._query_bias = attention.q_proj.bias.detach()[:, None]
        self._value = _Linear(attention.v_proj)
        # Shares of a head add up to 1, so each may bring its part of the bias.
        self._out = attention.out_proj.weight.detach()
        self._out_bias = attention.out_proj.bias.detach() / self._heads.n_heads

    def ask(self, coded: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, T H, C) and biases (B, T H, 1) of the scores of coded places."""
        rows = self._heads.rows(self._key(coded))
        return rows @ self._query, rows @ self._query_bias

    def tell(self, tokens: Tensor) -> Tensor:
        """Return (B, T H, C): what a place gets of each row, by its share."""
        rows = self._heads.rows(self._value(tokens))
        return functional.linear(rows, self._out, self._out_bias)


class OutputMlps:
    """MLPs of the same widths, one for each output, as one.

    Parameters
    ----------
    mlps : iterable of MLP
    """

    def __init__(self, mlps: Iterable[nn.Module]) -> None:
        layers = zip(*(cast("MLP", mlp).layers for mlp in mlps), strict=True)
        self._layers = [
            (
                torch.stack([layer.weight.detach().t() for layer in same]),
                torch.stack([layer.bias.detach()[None] for layer in same]),
            )
            for same in layers
        ]

    def __call__(self, queries: Tensor, outputs: Sequence[int]) -> Tensor:
        """Map the tokens (k, C) of k outputs to (k, C/8)."""
        x = queries[:, None]
        first, stop = outputs[0], outputs[-1] + 1
        # A range is a view; others are copied, which takes longer than the products.
        is_range = list(outputs) == list(range(first, stop))
        chosen = slice(first, stop) if is_range else outputs
        for number, (weights, biases) in enumerate(self._layers):
            x = x if number == 0 else x.relu()
            x = torch.baddbmm(biases[chosen], x, weights[chosen])
        return x[:, 0]


class _Linear:
    """A linear layer times a factor, without what calling a module costs."""

    def __init__(self, layer: nn.Linear, factor: float = 1.0) -> None:
        self._weight = layer.weight.detach() * factor
        self._bias = layer.bias.detach() * factor

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, self._weight, self._bias)
