# SPDX-License-Identifier: Apache-2.0
"""The places of an image as a few prompts change them, never made in full.

After each image-to-token attention the places are ``shared + given^T shares``, with a
row of shares for each head of each token; everything that the tokens ask of them
follows from the shared tables and from products with the shares. The formulas are in
docs/explanation/exact-speed-ups.md. B prompts, T tokens, C channels, H heads of d
channels each (I = H d), N places, R = H T rows. Tokens are (T, B, .), places (., B, N),
so that prompts lie between and one product with a table serves all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from torch import Tensor

from napari_sam.acceleration.low_rank_image import centred_on, centred_places
from napari_sam.acceleration.workers import n_helpers, work_with_help

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam.acceleration.low_rank_image import LowRankImage
    from napari_sam.acceleration.low_rank_weights import LowRankWeights

# A variance this much smaller than what it is the sum of has lost digits.
_CANCELLED = 1 / 64
_NOTHING = 1e-30  # smaller shares double the time of a product (denormal numbers)


Result = TypeVar("Result")


class _Given(NamedTuple):
    """What tokens give to places, (B, R, C), and its projections, (B, R, I)."""

    centred: Tensor
    on: Tensor  # as the second layer's norm sees it
    keys: Tensor
    values: Tensor
    asking: Tensor
    last_keys: Tensor
    last_values: Tensor


class LowRankPlaces:
    """What B prompts make of the places of an image.

    Call the methods in their order, each once; only `ask_last` may be repeated.

    Parameters
    ----------
    weights : LowRankWeights
    image : LowRankImage
    n_prompts, n_tokens : int
        B and T.

    Attributes
    ----------
    shares : (2 R + 1, B, N) tensor
        Of the first layer, of the second times sigma of the first, and in the last row
        sigma of the second.
    inverse : (B, N) tensor
        1 / sigma of the second layer.
    """

    def __init__(
        self,
        weights: LowRankWeights,
        image: LowRankImage,
        n_prompts: int,
        n_tokens: int,
    ) -> None:
        self.weights = weights
        self.image = image
        self.shares = image.first_keys.new_empty(
            2 * weights.n_heads * n_tokens + 1, n_prompts, image.first_keys.shape[-1]
        )
        self.inverse = self.shares[-1]
        self._n_prompts, self._n_tokens = n_prompts, n_tokens
        self._n_rows = weights.n_heads * n_tokens

    def ask_first(self, q: Tensor) -> Tensor:
        """Let tokens (T, B, I) attend to the places that all prompts share."""
        queries, image = self._by_head(q), self.image

        def ask(heads: slice) -> Tensor:
            scores = torch.bmm(queries[heads], image.first_keys[heads])
            _to_shares(scores, dim=-1)
            return torch.bmm(scores, image.first_values[heads])

        found = torch.cat(self._share(ask))  # (H, T B, d)
        return found.transpose(0, 1).reshape(q.shape) + self.weights.values_bias[0]

    def tell_first(self, k: Tensor, v: Tensor) -> None:
        """Let places attend to tokens: keys and values (T, B, I)."""
        image, n_channels = self.image, len(self.weights.tables.shift)
        self._first_values = v
        given = self._given(v, self.weights.given.first, None)
        sizes = [n_channels] * 2 + [v.shape[-1]] * 5
        self._first = _Given(*given.split(sizes, dim=-1))
        shares, keys = self.shares[: self._n_rows], self._by_head(k)

        def weigh(heads: slice) -> None:
            out = self._heads(shares)[heads]
            torch.bmm(keys[heads], image.first_asking[heads], out=out)
            _to_shares(self._tokens(shares)[heads], dim=1)

        self._share(weigh)
        mean = 1 / n_channels
        gram = self._first.centred @ self._first.centred.transpose(1, 2) * mean
        values = self._by_head(v * (2 * mean))

        def measure(heads: slice) -> Tensor:
            part = values[heads], image.given_first[heads]
            return self._squares(part, gram, shares, shares, heads)

        variance = _total(self._share(measure)).add_(image.variance)
        self._repair(variance, image.variance, (self._first.centred,), gram)
        variance.clamp_(min=0).add_(self.weights.eps[0])
        self._sigma = variance.sqrt()  # (B, N)
        self.inverse = variance.rsqrt_()

    def ask_second(self, q: Tensor) -> Tensor:
        """Let tokens (T, B, I) attend to the places after the first layer."""
        tables = self.image.keys, self.image.values, self.weights.position[0]
        shares = self.shares[: self._n_rows]
        found = self._ask(q, tables, shares, self._first.keys, self._first.values)
        return found + self.weights.values_bias[1]

    def tell_second(self, k: Tensor, v: Tensor) -> None:
        """Let places attend to tokens once more."""
        image, weights, n = self.image, self.weights, self._n_rows
        n_channels = len(weights.tables.shift)
        self._second_values = v
        given = self._given(v, weights.given.second, weights.given.second_bias)
        own, *last = given.split([n_channels] + [v.shape[-1]] * 2, dim=-1)
        self._last_given = [
            torch.cat(pair, dim=1)
            for pair in zip(
                (self._first.last_keys, self._first.last_values), last, strict=True
            )
        ]
        first, second, both = self.shares[:n], self.shares[n:-1], self.shares[:-1]
        tables = image.asking, weights.position[1]

        def weigh(heads: slice) -> None:
            out = second[self._rows_of(heads)]
            self._score(k, tables, first, self._first.asking, out, heads)
            _to_shares(self._tokens(second)[heads], dim=1)
            out.mul_(self._sigma)

        self._share(weigh)
        # With the rows of both layers; sigma comes along.
        mean = 1 / n_channels
        on, own_t = self._first.on, own.transpose(1, 2)
        gram = torch.cat([on @ on.transpose(1, 2), on @ own_t * 2], dim=2) * mean
        gram_own = own @ own_t * mean
        values = [self._by_head(x * (2 * mean)) for x in (self._first_values, v)]

        def measure(heads: slice) -> Tensor:
            part = values[0][heads], image.given_on[heads]
            own_part = values[1][heads], image.given_second[heads]
            squares = self._squares(part, gram, both, first, heads)
            return squares.add_(
                self._squares(own_part, gram_own, second, second, heads)
            )

        variance = _total(self._share(measure)).add_(image.variance_on)
        variance.addcmul_(self._sigma, image.drift)
        self._repair(variance, image.variance_on, (on, own), gram_own)
        variance.clamp_(min=0)
        variance.addcmul_(self._sigma, self._sigma, value=weights.eps[1])
        torch.sqrt(variance, out=self.shares[-1])
        self.inverse = variance.rsqrt_()

    def ask_last(self, q: Tensor, rows: list[int]) -> Tensor:
        """Let some tokens (t, b, I) of prompts `rows` attend to the final places."""
        image, weights = self.image, self.weights
        tables = image.last_keys, image.last_values, weights.position[2]
        keys, values = (given[rows] for given in self._last_given)
        found = self._ask(q, tables, self.shares[:-1], keys, values, rows)
        return found + weights.values_bias[2]

    def upscaling_rows(self, rows: list[int]) -> Tensor:
        """Return what prompts `rows` give the upscaling's first step, (2 R + 1, b, C).

        The products with `shares` are to be added to the shared part.
        """
        given = self.weights.given
        first, second = (
            self._by_head(v[:, rows]) for v in (self._first_values, self._second_values)
        )
        parts = [
            torch.bmm(first, given.up_first),
            torch.baddbmm(
                given.up_second_bias.expand(len(second), -1, -1),
                second,
                given.up_second,
            ),
        ]
        both = [part.view(self._n_rows, len(rows), -1) for part in parts]
        return torch.cat([*both, given.up_bias.expand(1, len(rows), -1)])

    def _ask(
        self,
        q: Tensor,
        tables: tuple[Tensor, Tensor, Tensor],
        shares: Tensor,
        keys: Tensor,
        values: Tensor,
        rows: list[int] | None = None,
    ) -> Tensor:
        """Attend from tokens (t, b, I) to places of rank `shares`.

        Tables are shared keys, shared values and the position code's keys; `keys` and
        `values` (b, rows of shares, I) are what the tokens gave, projected.
        """
        rows = list(range(self._n_prompts)) if rows is None else rows
        n_tokens, n_prompts = q.shape[:2]
        table_keys, table_values, position = tables
        by_head = values.unflatten(-1, (-1, self._d)).transpose(1, 2)  # (b, H, ., d)

        def ask(heads: slice) -> Tensor:
            scores = table_keys.new_empty(
                (heads.stop - heads.start) * n_tokens, n_prompts, table_keys.shape[-1]
            )
            of_heads = scores.view(heads.stop - heads.start, -1, scores.shape[-1])
            self._score(q, (table_keys, position), shares, keys, scores, heads, rows)
            _to_shares(of_heads, dim=-1)
            scores.mul_(self._inverse_of(rows))
            found = torch.bmm(of_heads, table_values[heads])
            mixed = shares.new_empty(n_prompts, len(scores), len(shares))
            for b, row in enumerate(rows):
                torch.mm(scores[:, b], shares[:, row].T, out=mixed[b])
            of_tokens = mixed.view(n_prompts, -1, n_tokens, len(shares))
            more: Tensor = (of_tokens @ by_head[:, heads]).permute(2, 0, 1, 3)
            found = found.view(-1, n_tokens, n_prompts, self._d)
            return found.permute(1, 2, 0, 3) + more

        return torch.cat(self._share(ask), dim=2).flatten(2)

    def _score(
        self,
        x: Tensor,
        tables: tuple[Tensor, Tensor],
        shares: Tensor,
        given: Tensor,
        out: Tensor,
        heads: slice,
        rows: list[int] | None = None,
    ) -> None:
        """Write the scores of some heads of tokens (t, b, I) and places: (h t, b, N).

        Tables are shared keys and the position code's.
        """
        rows = list(range(self._n_prompts)) if rows is None else rows
        n_tokens, n_prompts = x.shape[:2]
        by_head = self._by_head(x)[heads]
        of_heads = out.view(len(by_head), -1, out.shape[-1])
        table, position = (part[heads] for part in tables)
        torch.bmm(by_head, table, out=of_heads)
        mine = x.view(n_tokens, n_prompts, -1, self._d).permute(1, 2, 0, 3)
        theirs = given.unflatten(-1, (-1, self._d)).permute(0, 2, 3, 1)
        # (b, h t, rows of shares)
        folded = (mine[:, heads] @ theirs[:, heads]).flatten(1, 2)
        for b, row in enumerate(rows):
            out[:, b].addmm_(folded[b], shares[:, row])
        out.mul_(self._inverse_of(rows))
        of_heads.baddbmm_(by_head, position)

    def _squares(
        self,
        tables: tuple[Tensor, Tensor],
        gram: Tensor,
        shares: Tensor,
        mine: Tensor,
        heads: slice,
    ) -> Tensor:
        """Return what some heads add to |shared + given^T shares|^2, (B, N).

        Place by place and without making the sum. `tables` are values (h, T B, d) and
        what the image has for them (h, d, N), `gram` is (B, R, rows of `shares`),
        `mine` (R, B, N) those of the layer.
        """
        rows = self._rows_of(heads)
        product = torch.bmm(*tables).view(-1, *shares.shape[1:])
        for b in range(self._n_prompts):
            product[:, b].addmm_(gram[b, rows], shares[:, b])
        return product.mul_(mine[rows]).sum(dim=0)

    def _share(self, work: Callable[[slice], Result]) -> list[Result]:
        """Call `work` with ranges of heads: one of all, or one for each who helps."""
        n_heads = self.weights.n_heads
        size = -(-n_heads // min(1 + n_helpers(), n_heads))
        starts = range(0, n_heads, size)
        parts = [slice(start, min(start + size, n_heads)) for start in starts]
        return work_with_help(work, parts)

    def _rows_of(self, heads: slice) -> slice:
        """Return the rows of shares of some heads."""
        return slice(heads.start * self._n_tokens, heads.stop * self._n_tokens)

    def _given(self, v: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return what values (T, B, I) give, with its projections: (B, R, .)."""
        heads = self._by_head(v)
        if bias is None:
            out = torch.bmm(heads, weight)
        else:
            out = torch.baddbmm(bias.expand(len(heads), -1, -1), heads, weight)
        return out.view(self._n_rows, self._n_prompts, -1).transpose(0, 1)

    def _repair(
        self,
        variance: Tensor,
        shared: Tensor,
        given: tuple[Tensor, ...],
        gram: Tensor,
    ) -> None:
        """Compute variances (B, N) that are small differences of large sums anew.

        Then the sum itself is made, for those places only. `given` is of one layer or
        of both.
        """
        largest = gram.diagonal(dim1=1, dim2=2).amax(dim=1, keepdim=True)  # (B, 1)
        is_lost = variance < (shared + largest) * _CANCELLED
        if not is_lost.any():
            return
        n_rows = sum(part.shape[1] for part in given)
        for b in is_lost.any(dim=1).nonzero()[:, 0].tolist():
            chosen = is_lost[b].nonzero()[:, 0]
            places = centred_places(self.weights, self.image.embedding, chosen)
            if len(given) > 1:
                places = centred_on(self.weights, places)
            rows = torch.cat([part[b] for part in given])  # (rows, C)
            places.addmm_(rows.T, self.shares[:n_rows, b, chosen])
            variance[b, chosen] = places.square().mean(dim=0)

    def _inverse_of(self, rows: list[int]) -> Tensor:
        """Return 1 / sigma of prompts `rows`, (b, N); no copy where they are all."""
        is_all = rows == list(range(self._n_prompts))
        return self.inverse if is_all else self.inverse[rows]

    @property
    def _d(self) -> int:
        """Channels of a head."""
        return int(self.image.first_keys.shape[1])

    def _by_head(self, x: Tensor) -> Tensor:
        """Return (t, b, I) as (H, t b, d)."""
        return x.reshape(-1, self.weights.n_heads, self._d).transpose(0, 1)

    def _heads(self, x: Tensor) -> Tensor:
        """Return (H t, b, N) as (H, t b, N)."""
        return x.view(self.weights.n_heads, -1, x.shape[-1])

    def _tokens(self, x: Tensor) -> Tensor:
        """Return (R, B, N) as (H, T, B N)."""
        return x.view(self.weights.n_heads, self._n_tokens, -1)


def _total(parts: list[Tensor]) -> Tensor:
    """Add up, in memory of the first."""
    for part in parts[1:]:
        parts[0].add_(part)
    return parts[0]


def _to_shares(scores: Tensor, dim: int) -> None:
    """Make scores shares that add up to 1, in place."""
    torch.softmax(scores, dim, out=scores)
    torch.threshold_(scores, _NOTHING, 0.0)
