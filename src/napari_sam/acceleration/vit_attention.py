# SPDX-License-Identifier: Apache-2.0
"""Attention with relative positions in pieces that stay near the processor.

The fast form of `napari_sam.modeling.vit_blocks.RelativeAttention`; no gradients. Of a
query at row i and column j of a grid and a key at (a, c), with logits
``q k / sqrt(d) + q r_h[i - a] + q r_w[j - c]``, the products with the two tables are
taken for all offsets at once; `relative_terms` then looks at the same numbers from
every query. Their sum is laid down where the product of queries and keys will be added
to it. g is the side of the token grid, s that of a window, h heads of d channels.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_sam.acceleration.products import Product
from napari_sam.acceleration.workers import spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam.acceleration.scratch import Scratch, ScratchPool
    from napari_sam.modeling.vit_blocks import RelativeAttention

# Queries that meet all keys of the image at once: with 4096 keys 4 MB of logits.
QUERIES = 256


def offset_products(attention: RelativeAttention, dtype: torch.dtype) -> Product:
    """Return the product of queries, scaled already, with both tables of offsets.

    It maps (..., d) to (..., 2 (2s - 1)). Entry n of either half belongs to the key
    that lies n - (s - 1) after the query.
    """
    tables = torch.cat([attention.rel_pos_h.flip(0), attention.rel_pos_w.flip(0)])
    return Product(tables * tables.shape[1] ** 0.5, dtype=dtype)


def relative_terms(
    offsets: Tensor, rows: int, columns: int, top: int = 0
) -> tuple[Tensor, Tensor]:
    """View the result of `offset_products` as terms of each query's logits.

    Parameters
    ----------
    offsets : (n, rows * columns, 2 (2s - 1)) tensor
        Contiguous.
    rows, columns : int
        Of the part of a grid that the queries fill.
    top : int
        Row of the grid in which the queries begin.

    Returns
    -------
    of_rows, of_columns : (n, rows, columns, s) tensors
        Views: the terms of the s rows and of the s columns of keys.
    """
    n, _, width = offsets.shape
    side = (width // 2 + 1) // 2
    size = n, rows, columns, side
    # One row further down, the same key is one entry earlier; so with columns.
    down = rows * columns * width, columns * width - 1, width, 1
    across = rows * columns * width, columns * width, width - 1, 1
    start = offsets.storage_offset() + side - 1
    return (
        offsets.as_strided(size, down, start - top),
        offsets.as_strided(size, across, start + 2 * side - 1),
    )


def softmax_in_place(logits: Tensor) -> Tensor:
    """Turn contiguous logits (..., k) into weights, within the same memory.

    PyTorch works row by row and reads a row before it writes it. A second block of this
    size would push the first one out of the cache.
    """
    return torch.softmax(logits, dim=-1, out=logits)


class WindowAttention:
    """Attention within the windows of one line of windows.

    Parameters
    ----------
    attention : RelativeAttention
        The plain form.
    size : int
        Side s of a window.
    dtype : torch.dtype
        Precision of products and of the logits; softmax sums in float32.
    """

    def __init__(
        self, attention: RelativeAttention, size: int, dtype: torch.dtype
    ) -> None:
        self._size = size
        self._dtype = dtype
        self._offsets = offset_products(attention, dtype)
        heads = attention.num_heads
        # Keys and values of the padding, which is zero when it meets the weights.
        bias = attention.qkv.bias.detach().to(dtype)
        self._padding = bias.view(3, heads, 1, 1, -1)[1:]
        # Which row and which column a key is in: its terms meet a one, others zeros.
        rows, columns = torch.eye(size, dtype=dtype).expand(2, size, size, size)
        self._places = torch.cat([rows.transpose(0, 1), columns], dim=-1)

    def __call__(
        self, qkv: Tensor, out: Tensor, pool: ScratchPool, check: Callable[[], None]
    ) -> None:
        """Fill ``out`` (g, g, h, d) from qkv (g, g, 3, h, d)."""

        def attend(window: tuple[slice, slice]) -> None:
            with pool.lend() as scratch:
                self._attend(
                    qkv[window].permute(2, 3, 0, 1, 4),
                    out[window].permute(2, 0, 1, 3),
                    scratch,
                )

        sides = [
            slice(start, start + self._size) for start in range(0, len(qkv), self._size)
        ]
        spread(attend, itertools.product(sides, sides), check)

    def _attend(self, qkv: Tensor, out: Tensor, scratch: Scratch) -> None:
        """Fill ``out`` (h, rows, columns, d) from qkv (3, h, rows, columns, d)."""
        _, heads, rows, columns, width = qkv.shape
        size = self._size
        n_queries, n_keys = rows * columns, size * size
        q = scratch("q", heads, rows, columns, width)
        torch.mul(qkv[0], width**-0.5, out=q)
        offsets = scratch("offsets", heads, n_queries, self._offsets.width)
        self._offsets(q.view(heads, n_queries, width), out=offsets)

        # Queries and keys of d + 2s channels, whose products are the logits.
        wide = width + 2 * size
        q_wide = scratch("q_wide", heads, rows, columns, wide)
        torch.cat([q, *relative_terms(offsets, rows, columns)], dim=-1, out=q_wide)
        k_wide = scratch("k_wide", heads, size, size, wide)
        k_wide[..., width:] = self._places
        self._fill(qkv[1], self._padding[0], k_wide[..., :width])
        v = scratch("v", heads, size, size, width)
        self._fill(qkv[2], self._padding[1], v)

        logits = scratch("logits", heads, n_queries, n_keys)
        torch.bmm(
            q_wide.view(heads, n_queries, wide),
            k_wide.view(heads, n_keys, wide).transpose(1, 2),
            out=logits,
        )
        mixed = scratch("heads", heads, n_queries, width)
        torch.bmm(softmax_in_place(logits), v.view(heads, n_keys, width), out=mixed)
        out.copy_(mixed.view(heads, rows, columns, width))

    def _fill(self, tokens: Tensor, padding: Tensor, window: Tensor) -> None:
        """Put tokens (h, rows, columns, d) into a window (h, s, s, d) and pad them."""
        rows, columns = tokens.shape[1:3]
        if tokens.shape != window.shape:
            window.copy_(padding)
        window[:, :rows, :columns] = tokens


class GlobalAttention:
    """Attention over the whole grid, head after head.

    Parameters
    ----------
    attention : RelativeAttention
        The plain form.
    dtype : torch.dtype
        Precision of products and of the logits; softmax sums in float32.
    """

    def __init__(self, attention: RelativeAttention, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._offsets = offset_products(attention, dtype)

    def __call__(
        self, qkv: Tensor, out: Tensor, pool: ScratchPool, check: Callable[[], None]
    ) -> None:
        """Fill ``out`` (g, g, h, d) from qkv (g, g, 3, h, d)."""
        side, heads = len(qkv), qkv.shape[3]
        # With many threads there are too few heads to keep all of them busy.
        n_parts = -(-torch.get_num_threads() // 4)
        lines = max(1, -(-side // n_parts))

        def attend(piece: tuple[int, int]) -> None:
            head, top = piece
            part = slice(top, min(top + lines, side))
            with pool.lend() as scratch:
                self._attend(qkv[:, :, :, head], part, out[part, :, head], scratch)

        spread(attend, itertools.product(range(heads), range(0, side, lines)), check)

    def _attend(self, qkv: Tensor, part: slice, out: Tensor, scratch: Scratch) -> None:
        """Fill ``out`` (rows, g, d) of the queries in some rows of qkv (g, g, 3, d)."""
        side, _, _, width = qkv.shape
        n_keys = side * side
        q = scratch("q", *out.shape)
        torch.mul(qkv[part, :, 0], width**-0.5, out=q)
        kv = scratch("kv", 2, side, side, width)
        kv.copy_(qkv[:, :, 1:].permute(2, 0, 1, 3))
        k, v = kv.view(2, n_keys, width)
        keys, values = (
            Product(weight, rows=QUERIES, dtype=self._dtype) for weight in (k, v.t())
        )
        offsets = scratch("offsets", 1, len(q) * side, self._offsets.width)
        self._offsets(q, out=offsets)
        of_rows, of_columns = relative_terms(offsets, len(q), side, part.start)
        lines = max(1, QUERIES // side)
        for top in range(0, len(q), lines):
            few = slice(top, top + lines)
            queries = q[few].view(-1, width)
            logits = scratch("logits", len(queries), n_keys)
            torch.add(
                of_rows[0, few, :, :, None],
                of_columns[0, few, :, None, :],
                out=logits.view(-1, side, side, side),
            )
            logits = keys.plus(queries, logits)
            values(softmax_in_place(logits), out=out[few].view(-1, width))
