# SPDX-License-Identifier: Apache-2.0
"""Attention with relative positions as one fused kernel of a GPU.

The fast form of `napari_sam.modeling.vit_blocks.RelativeAttention`; no gradients. Fused
kernels know no relative positions, and a bias for every pair of tokens would have to be
written out. But a key's row and column are few: of a query at (i, j) and a key at
(a, c), the logit ``q k / sqrt(d) + q r_h[i - a] + q r_w[j - c]`` is one product of
longer vectors,

    [q, sqrt(d) q r_h[i - .], sqrt(d) q r_w[j - .]] [k, e_a, e_c] / sqrt(d),

in which e_a is 1 at place a and 0 elsewhere. s is the side of a window or grid, h heads
of d channels; the vectors have d + 2 s numbers, 208 in the global blocks of ViT-H.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from napari_sam.acceleration.vit_attention import relative_terms

if TYPE_CHECKING:
    from napari_sam.modeling.vit_blocks import RelativeAttention

_MULTIPLE = 8  # fused kernels take vectors of so many numbers, or twice that, ...
_FUSED = [
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
]


class FusedAttention:
    """Attention within windows, or over the whole grid.

    Parameters
    ----------
    attention : RelativeAttention
        The plain form.
    dtype : torch.dtype
        Precision of all that comes and goes; softmax and sums are in float32.
    """

    def __init__(self, attention: RelativeAttention, dtype: torch.dtype) -> None:
        tables = torch.cat([attention.rel_pos_h.flip(0), attention.rel_pos_w.flip(0)])
        n_offsets, depth = tables.shape
        size = (n_offsets // 2 + 1) // 2
        self._size, self._depth = size, depth
        self._dtype = dtype
        # Entry n of either half belongs to the key that lies n - (s - 1) after a query.
        self._tables = (tables.detach() * depth**0.5).to(dtype).T.contiguous()
        places = tables.new_zeros(size, size, -(-2 * size // _MULTIPLE) * _MULTIPLE)
        eye = torch.eye(size, device=tables.device)
        places[..., :size] = eye[:, None]
        places[..., size : 2 * size] = eye
        self._places = places.detach().to(dtype)
        self._wide = depth + places.shape[-1]

    def __call__(self, qkv: Tensor) -> Tensor:
        """Mix values (..., s, s, h, d) as qkv (..., s, s, 3, h, d) say."""
        *lead, size, _, _, heads, depth = qkv.shape
        n_lead = len(lead)
        q, k, v = qkv.movedim((-3, -2), (0, n_lead + 1))  # each (..., h, s, s, d)
        q_wide = qkv.new_empty(*lead, heads, size, size, self._wide)
        q_wide[..., :depth] = q
        self._add_relative(q_wide)
        k_wide = torch.empty_like(q_wide)
        k_wide[..., :depth] = k
        k_wide[..., depth:] = self._places
        values = qkv.new_empty(*v.shape[:-1], self._value_width)
        values[..., :depth] = v
        values[..., depth:] = 0
        q_flat, k_flat, v_flat = (
            x.view(-1, heads, size * size, x.shape[-1])
            for x in (q_wide, k_wide, values)
        )
        mixed = functional.scaled_dot_product_attention(
            q_flat, k_flat, v_flat, scale=depth**-0.5
        )
        in_order: Tensor = mixed[..., :depth].reshape(*lead, heads, size, size, depth)
        return in_order.movedim(n_lead, -2)

    def _add_relative(self, q_wide: Tensor) -> None:
        """Complete queries (..., h, s, s, wide), of which d numbers are there."""
        size, depth = self._size, self._depth
        rows = q_wide.view(-1, self._wide)
        offsets = torch.mm(rows[:, :depth], self._tables)
        of_rows, of_columns = relative_terms(
            offsets.view(-1, size * size, offsets.shape[-1]), size, size
        )
        grids = q_wide.view(-1, size, size, self._wide)
        grids[..., depth : depth + size] = of_rows
        grids[..., depth + size : depth + 2 * size] = of_columns
        grids[..., depth + 2 * size :] = 0

    @property
    def _value_width(self) -> int:
        """Width of values: the kernel of low precision wants that of the queries."""
        return self._depth if self._dtype is torch.float32 else self._wide

    def check_kernel(self) -> None:
        """Raise RuntimeError where a GPU has no fused kernel for these sizes.

        PyTorch would then write all logits out without a word: gigabytes of them.
        """
        device = self._tables.device
        q = torch.zeros(1, 1, 64, self._wide, dtype=self._dtype, device=device)
        with sdpa_kernel(_FUSED):
            functional.scaled_dot_product_attention(q, q, q[..., : self._value_width])
