# SPDX-License-Identifier: Apache-2.0
"""The image encoder of SAM ViT-B, L and H on the processor.

The fast form of `napari_sam.modeling.image_encoder_vit.ImageEncoderViT`: the same sums
in another order. A page of memory that is touched for the first time costs as much as
thousands of products, so nothing of full size is made anew: results go to memory that
stays, and what lies between two products is made and used up in pieces. Tokens that
only pad a window are never computed. g is the side of the token grid, E the encoder's
width, C its output channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from napari_sam.acceleration.products import Product, best_dtype
from napari_sam.acceleration.scratch import Scratch, ScratchPool
from napari_sam.acceleration.vit_attention import GlobalAttention, WindowAttention
from napari_sam.acceleration.workers import spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from napari_sam.modeling.common import LayerNorm2d
    from napari_sam.modeling.image_encoder_vit import ImageEncoderViT
    from napari_sam.modeling.vit_blocks import Block

# Tokens that go through a pair of products at a time.
ROWS = 512


class FastViT:
    """A ViT image encoder on the CPU.

    Parameters
    ----------
    encoder : ImageEncoderViT
        With float32 weights. Its `compute_dtype` may be bfloat16; where this processor
        multiplies no faster in it, float32 is used.
    """

    def __init__(self, encoder: ImageEncoderViT) -> None:
        dtype = self._dtype = best_dtype(encoder.compute_dtype)
        patches = encoder.patch_embed.proj
        self._grid = encoder.pos_embed.shape[1]
        self._patch = patches.kernel_size[0]
        self._embed = Product(patches.weight.flatten(1), patches.bias, dtype=dtype)
        self._position = encoder.pos_embed.detach()[0]
        self._blocks = [
            FastBlock(block, dtype)  # type: ignore[arg-type]
            for block in encoder.blocks
        ]
        self._neck = FastNeck(encoder.neck)
        # One for each thread that encodes at the same time as others, and one for each
        # of their workers.
        self._grids, self._scratches = ScratchPool(dtype), ScratchPool(dtype)

    @torch.no_grad()
    def __call__(self, x: Tensor, check: Callable[[], None] | None = None) -> Tensor:
        """Embed normalised and padded images.

        Parameters
        ----------
        x : (B, 3, S, S) float32 tensor
            Frames.
        check : callable, optional
            Called several times in each block; whatever it raises ends the encoding.

        Returns
        -------
        (B, C, g, g) float32 tensor
        """
        with self._grids.lend() as scratch:
            images = [self._encode(image, scratch, check or _go_on) for image in x]
        return torch.stack(images)

    def _encode(
        self, image: Tensor, scratch: Scratch, check: Callable[[], None]
    ) -> Tensor:
        """Embed one frame (3, S, S): (C, g, g)."""
        grid, patch = self._grid, self._patch
        patches = image.detach().reshape(3, grid, patch, grid, patch)
        patches = patches.permute(1, 3, 0, 2, 4)  # (g, g, 3, patch, patch)
        tokens = scratch("tokens", *self._position.shape, dtype=torch.float32)
        tokens.copy_(self._position)

        def embed(line: int) -> None:
            self._embed.add(patches[line].reshape(grid, -1), to=tokens[line])

        spread(embed, range(grid), check)
        for block in self._blocks:
            block(tokens, scratch, self._scratches, check)
        check()
        return self._neck(tokens, scratch)


class FastBlock:
    """A transformer block that changes its tokens in place.

    Parameters
    ----------
    block : Block
        The plain form.
    dtype : torch.dtype
        Precision of products.
    """

    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        self._norm1, self._norm2 = _norm(block.norm1), _norm(block.norm2)
        attention, mlp = block.attn, block.mlp
        self._qkv = _product(attention.qkv, dtype)
        self._proj = _product(attention.proj, dtype)
        self._lin1 = Product(
            mlp.lin1.weight, mlp.lin1.bias, activation="gelu", rows=ROWS, dtype=dtype
        )
        self._lin2 = _product(mlp.lin2, dtype)
        self._heads = attention.num_heads
        self._attention = (
            WindowAttention(attention, block.window_size, dtype)
            if block.window_size
            else GlobalAttention(attention, dtype)
        )

    def __call__(
        self,
        tokens: Tensor,
        scratch: Scratch,
        pool: ScratchPool,
        check: Callable[[], None],
    ) -> None:
        """Map contiguous tokens (g, g, E) to the same shape, in place.

        ``scratch`` holds what belongs to the whole grid, ``pool`` what to a piece.
        """
        grid = tokens.shape[:2]
        flat = tokens.view(-1, tokens.shape[-1])
        qkv = scratch("qkv", len(flat), self._qkv.width)
        mixed = scratch("mixed", *flat.shape)

        def look(rows: slice) -> None:
            self._qkv(self._norm1(flat[rows]), out=qkv[rows])

        def think(rows: slice) -> None:
            few = flat[rows]
            self._proj.add(mixed[rows], to=few)
            with pool.lend() as own:
                hidden = own("hidden", len(few), self._lin1.width)
                self._lin1(self._norm2(few), out=hidden)
                self._lin2.add(hidden, to=few)

        pieces = [slice(i, i + ROWS) for i in range(0, len(flat), ROWS)]
        spread(look, pieces, check)
        self._attention(
            qkv.view(*grid, 3, self._heads, -1),
            mixed.view(*grid, self._heads, -1),
            pool,
            check,
        )
        spread(think, pieces, check)


class FastNeck:
    """From encoder to output channels; its convolutions are products with tokens.

    Parameters
    ----------
    neck : nn.Sequential
        Made by `encoder_neck`.
    """

    def __init__(self, neck: nn.Sequential) -> None:
        parts: list[Any] = list(neck)
        narrow, norm1, mix, norm2 = parts
        self._narrow = Product(narrow.weight.flatten(1))
        # The weights of each of the nine neighbours.
        self._mix = [Product(w) for w in mix.weight.detach().flatten(2).unbind(2)]
        self._norm1, self._norm2 = _norm(norm1), _norm(norm2)

    def __call__(self, tokens: Tensor, scratch: Scratch) -> Tensor:
        """Map (g, g, E) to (C, g, g)."""
        grid = len(tokens)
        narrow = self._norm1(self._narrow(tokens))  # (g, g, C)
        # With a frame of zeros, a neighbour's values are the same tokens read from a
        # later place. One more line is there for what is read past the end.
        framed = functional.pad(narrow, (0, 0, 1, 1, 1, 2)).flatten(0, 1)
        wide = grid + 2
        mixed = scratch("neck", grid * wide, narrow.shape[-1], dtype=torch.float32)
        mixed.zero_()
        for place, product in enumerate(self._mix):
            start = place // 3 * wide + place % 3
            product.add(framed[start : start + len(mixed)], to=mixed)
        real = mixed.view(grid, wide, -1)[:, :grid]
        return self._norm2(real).permute(2, 0, 1).contiguous()


def _go_on() -> None:
    """Do nothing: nobody wants to stop the encoding."""


def _product(linear: nn.Linear, dtype: torch.dtype) -> Product:
    return Product(linear.weight, linear.bias, rows=ROWS, dtype=dtype)


def _norm(norm: nn.LayerNorm | LayerNorm2d) -> Callable[[Tensor], Tensor]:
    """Return layer normalisation over the last axis."""
    weight, bias, eps = norm.weight.detach(), norm.bias.detach(), norm.eps

    def normalise(x: Tensor) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], weight, bias, eps)

    return normalise
