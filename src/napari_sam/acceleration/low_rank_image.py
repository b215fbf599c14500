# SPDX-License-Identifier: Apache-2.0
"""What all prompts on an image share in the low-rank form of the decoder.

C channels, H heads of d channels each (I = H d), N places of the grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from napari_sam.acceleration.low_rank_weights import centre

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sam.acceleration.low_rank_weights import LowRankWeights

PLACES_AT_ONCE = 512  # of the upscaling: what they need fits into a core's cache


class LowRankImage(NamedTuple):
    """Tables of an image, (H, d, N) keys and asking places, (H, N, d) values.

    ``up`` is (N / n, C, n): places of the first step of the upscaling, n at a time.
    """

    embedding: Tensor  # (1, C, g, g) as it came
    first_keys: Tensor
    first_values: Tensor
    first_asking: Tensor
    given_first: Tensor  # what is given times centred places, for the variances
    given_on: Tensor
    given_second: Tensor
    keys: Tensor  # of the second layer
    asking: Tensor
    values: Tensor
    last_keys: Tensor
    last_values: Tensor
    up: Tensor
    variance: Tensor  # (N,) of the centred places
    variance_on: Tensor  # (N,) and as the second layer's norm sees them
    drift: Tensor  # (N,) twice their mean product with the drift

    @property
    def nbytes(self) -> int:
        """Memory of all tables."""
        return sum(tensor.element_size() * tensor.nelement() for tensor in self)

    @property
    def side(self) -> int:
        """Cells along a side of the grid."""
        return int(self.embedding.shape[-1])


def centred_places(
    weights: LowRankWeights, embedding: Tensor, chosen: Tensor | None = None
) -> Tensor:
    """Return the shared part of places before the first norm, (C, N).

    ``chosen`` (k,) are indices of those wanted, (C, k).
    """
    table = weights.tables
    places = embedding[0].flatten(1)
    if chosen is not None:
        places = places[:, chosen]
    return centre(places + table.no_mask) + table.shift


def centred_on(weights: LowRankWeights, centred: Tensor) -> Tensor:
    """Return centred places as the second layer's norm sees them."""
    return centre(centred * weights.tables.gain)


def make_tables(weights: LowRankWeights, embedding: Tensor) -> LowRankImage:
    """Project the places of an image, (1, C, g, g), once for all prompts."""
    table = weights.tables
    n_heads = weights.n_heads
    places = embedding[0].flatten(1) + table.no_mask  # (C, N)
    centred = centred_places(weights, embedding)
    plain = torch.addmm(table.plain_position, table.plain, places)
    rest = table.centred @ centred
    values = centred.T @ table.centred_values
    on = centred_on(weights, centred)
    n_channels, n_places = places.shape
    step = places_at_once(embedding.shape[-1])
    up = centred.new_empty(n_places // step, n_channels, step)
    for part, some in zip(up, centred.split(step, dim=1), strict=True):
        torch.mm(table.up, some, out=part)

    def by_head(rows: Tensor, n_parts: int) -> list[Tensor]:
        heads = rows.view(n_parts, n_heads, -1, n_places)
        return list(heads.unbind())

    def values_by_head(columns: Tensor, n_parts: int) -> list[Tensor]:
        heads = columns.view(n_places, n_parts, n_heads, -1).permute(1, 2, 0, 3)
        return list(heads.contiguous().unbind())

    first_keys, first_asking = by_head(plain, 2)
    given_first, given_on, given_second, keys, asking, last_keys = by_head(rest, 6)
    second_values, last_values = values_by_head(values, 2)
    (first_values,) = values_by_head(places.T @ table.plain_values, 1)
    return LowRankImage(
        embedding,
        first_keys,
        first_values,
        first_asking,
        given_first,
        given_on,
        given_second,
        keys,
        asking,
        second_values,
        last_keys,
        last_values,
        up,
        variance=centred.square().mean(dim=0),
        variance_on=on.square().mean(dim=0),
        drift=(table.drift @ on) * (2 / n_channels),
    )


def places_at_once(side: int) -> int:
    """Return how many places are upscaled at once: whole rows of the grid."""
    rows = max(1, min(side, PLACES_AT_ONCE // side))
    while side % rows:
        rows -= 1
    return rows * side
