# SPDX-License-Identifier: Apache-2.0
"""The two-way transformer for a few prompts, block by block of their places.

The plain form is `TwoWayTransformer`. Places are not projected where few tokens meet
them: the scores ``q (k W)^T`` are ``(q W^T) k^T``, and each head of each token is a
row. Each layer goes once through the places: a block is told by the tokens and asked
by the tokens of the next layer while it is in the cache, and the softmax over all
places is put together from blocks. B prompts, T tokens, H heads, n places, C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from napari_sam.acceleration import folded_attention
from napari_sam.acceleration.folded_attention import layers_of
from napari_sam.acceleration.token_weights import (
    PlacesToTokens,
    SelfAttention,
    TokensToPlaces,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.acceleration.scratch import Lease, OwnScratch
    from napari_sam.modeling.two_way_transformer import (
        TwoWayAttentionBlock,
        TwoWayTransformer,
    )

# A megabyte of keys: they and what is made of them stay near the core.
_BLOCK = 2048
# Scores so far from each other are as good as infinitely far: exp(-60) is nothing
# beside 1. Smaller numbers end in denormal ones, which slow products down tenfold.
_FAR = 60.0
# Rows of more tokens would be wider than the projections that they save.
_MANY_TOKENS = 12


class Seen(NamedTuple):
    """One prompt before its last attention.

    ``queries`` and ``tokens`` are (T, C); ``done`` (k, C) are the first k tokens after
    it; ``lease`` holds the places.
    """

    queries: Tensor
    tokens: Tensor
    done: Tensor
    lease: Lease

    @property
    def keys(self) -> Tensor:
        """What the prompt made of the image, (n, C)."""
        return self.lease.tensor


class SpatialTransformer:
    """A two-way transformer for few prompts at a time.

    Parameters
    ----------
    transformer : TwoWayTransformer
    code : (n, C) tensor
        Position code of the places.
    """

    def __init__(self, transformer: TwoWayTransformer, code: Tensor) -> None:
        self._plain = transformer
        self._layers = [_Layer(layer) for layer in layers_of(transformer)]
        self._last = TokensToPlaces(transformer.final_attn_token_to_image)
        self._norm = transformer.norm_final_attn
        self._code = code

    def exchange(
        self,
        tokens: Tensor,
        leases: Sequence[Lease],
        n_done: int,
        scratch: OwnScratch,
    ) -> list[Seen]:
        """Let tokens and image exchange information.

        Parameters
        ----------
        tokens : (B, T, C) tensor
            Output tokens followed by prompt tokens.
        leases : sequence of B Lease
            Places (n, C) of each prompt; they are overwritten.
        n_done : int
            For how many tokens the last attention is done as well.
        scratch : OwnScratch
            For what is made on the way.
        """
        if tokens.shape[1] > _MANY_TOKENS:
            return [self._transform(*own) for own in zip(tokens, leases, strict=True)]
        coded = scratch.get("coded", len(tokens), *self._code.shape)
        prompts = [
            _blocks(lease.tensor, own, self._code)
            for lease, own in zip(leases, coded, strict=True)
        ]
        queries = self._layers[0].consider(tokens, tokens)
        answers = _ask(self._layers[0].ask, queries + tokens, scratch)
        for blocks, answer in zip(prompts, answers, strict=True):
            for block in blocks:
                torch.add(block.keys, block.code, out=block.coded)
                answer.add(block)
        for number, layer in enumerate(self._layers):
            queries = layer.understand(queries, _found(answers))
            told = layer.tell_of(queries, tokens, scratch)
            if number + 1 < len(self._layers):
                following = self._layers[number + 1]
                queries = following.consider(queries, tokens)
                answers = _ask(following.ask, queries + tokens, scratch)
            else:
                answers = _ask(self._last, (queries + tokens)[:, :n_done], scratch)
            for blocks, tell, answer in zip(prompts, told, answers, strict=True):
                for block in blocks:
                    tell.update(block)
                    torch.add(block.keys, block.code, out=block.coded)
                    answer.add(block)
        done = self._understand(queries[:, :n_done], _found(answers))
        parts = zip(queries, tokens, done, leases, strict=True)
        return [Seen(*part) for part in parts]

    def _transform(self, tokens: Tensor, lease: Lease) -> Seen:
        """Do the same for one prompt of many tokens (T, C), projecting the places."""
        keys = lease.tensor
        done, updated = folded_attention.transform(
            self._plain, keys[None], self._code[None], tokens[None]
        )
        keys.copy_(updated[0])
        return Seen(tokens, tokens, done[0], lease)

    def finish(self, seen: Seen, numbers: Sequence[int], scratch: OwnScratch) -> Tensor:
        """Return some of a prompt's tokens after the last attention, (k, C)."""
        if max(numbers) < len(seen.done):
            return seen.done[numbers]
        queries = seen.queries[numbers][None]
        coded = scratch.get("coded", *seen.keys.shape)
        answers = _ask(self._last, queries + seen.tokens[numbers], scratch)
        for block in _blocks(seen.keys, coded, self._code):
            torch.add(block.keys, block.code, out=block.coded)
            answers[0].add(block)
        return self._understand(queries, _found(answers))[0]

    def _understand(self, queries: Tensor, found: Tensor) -> Tensor:
        """Update tokens by what they found in the end."""
        out: Tensor = self._norm(queries + self._last.understand(found))
        return out


class _Block(NamedTuple):
    """A block of m places, (m, C) each."""

    keys: Tensor
    coded: Tensor
    code: Tensor


def _blocks(keys: Tensor, coded: Tensor, code: Tensor) -> list[_Block]:
    """Cut the places of a prompt into blocks."""
    parts = (part.split(_BLOCK) for part in (keys, coded, code))
    return [_Block(*block) for block in zip(*parts, strict=True)]


class _Layer:
    """The weights of one layer."""

    def __init__(self, layer: TwoWayAttentionBlock) -> None:
        self._is_first = layer.skip_first_layer_pe
        self._mine = SelfAttention(layer.self_attn)
        self.ask = TokensToPlaces(layer.cross_attn_token_to_image)
        self._tell = PlacesToTokens(layer.cross_attn_image_to_token)
        self._mlp = layer.mlp
        self._norms = layer.norm1, layer.norm2, layer.norm3
        self._norm_places = layer.norm4

    def consider(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Let the tokens (B, T, C) of each prompt attend to each other."""
        if self._is_first:
            queries = self._mine(queries, queries)
        else:
            queries = queries + self._mine(queries + tokens, queries)
        out: Tensor = self._norms[0](queries)
        return out

    def understand(self, queries: Tensor, found: Tensor) -> Tensor:
        """Update tokens by what they found."""
        queries = self._norms[1](queries + self.ask.understand(found))
        out: Tensor = self._norms[2](queries + self._mlp(queries))
        return out

    def tell_of(
        self, queries: Tensor, tokens: Tensor, scratch: OwnScratch
    ) -> list[_Telling]:
        """Return what the tokens of each prompt have to tell."""
        asked, biases = self._tell.ask(queries + tokens)
        given = self._tell.tell(queries)
        scores = scratch.get("told", asked.shape[1], _BLOCK)
        return [
            _Telling(*prompt, tokens.shape[1], self._norm_places, scores)
            for prompt in zip(asked, biases, given, strict=True)
        ]


class _Telling:
    """What tokens tell all places of a prompt, block by block."""

    def __init__(
        self,
        asked: Tensor,
        bias: Tensor,
        given: Tensor,
        n_tokens: int,
        norm: torch.nn.LayerNorm,
        scores: Tensor,
    ) -> None:
        self._asked, self._bias, self._given = asked, bias, given
        self._n_tokens = n_tokens
        self._norm = norm
        self._scores = scores

    def update(self, block: _Block) -> None:
        """Update a block's keys; their code is not added anew."""
        scores = self._scores[:, : len(block.keys)]
        torch.mm(self._asked, block.coded.t(), out=scores)
        scores.add_(self._bias)
        # Tokens first: a softmax over 7 rows fills a processor's vectors.
        by_token = scores.unflatten(0, (self._n_tokens, -1))
        by_token.sub_(by_token.amax(dim=0)).clamp_(min=-_FAR).exp_()
        by_token.div_(by_token.sum(dim=0))
        keys = block.keys.addmm_(scores.t(), self._given)
        norm = self._norm
        shape = norm.normalized_shape
        keys.copy_(functional.layer_norm(keys, shape, norm.weight, norm.bias, norm.eps))


class _Answer:
    """What rows (R, C) of questions find in all places of a prompt."""

    def __init__(self, asked: Tensor, scores: Tensor) -> None:
        self._asked = asked
        self._scores = scores
        self._highest = asked.new_full((len(asked), 1), -torch.inf)
        self._total = asked.new_zeros(len(asked), 1)
        self._found = torch.zeros_like(asked)

    def add(self, block: _Block) -> None:
        """Ask a block; what was found before is weighed by the new highest score."""
        scores = self._scores[:, : len(block.keys)]
        torch.mm(self._asked, block.coded.t(), out=scores)
        highest = torch.maximum(self._highest, scores.amax(dim=1, keepdim=True))
        weight = (self._highest - highest).exp_()
        scores.sub_(highest).clamp_(min=-_FAR).exp_()
        self._total.mul_(weight).add_(scores.sum(dim=1, keepdim=True))
        self._found.mul_(weight).addmm_(scores, block.keys)
        self._highest = highest

    def result(self) -> Tensor:
        """Return the mean of all places for each row, (R, C)."""
        return self._found.div_(self._total)


def _ask(
    attention: TokensToPlaces, coded: Tensor, scratch: OwnScratch
) -> list[_Answer]:
    """Begin to ask the places of each prompt with coded tokens (B, T, C)."""
    asked = attention.ask(coded)
    scores = scratch.get("scores", asked.shape[1], _BLOCK)
    return [_Answer(rows, scores) for rows in asked]


def _found(answers: Sequence[_Answer]) -> Tensor:
    """Return what was found for each prompt, (B, R, C)."""
    return torch.stack([answer.result() for answer in answers])
