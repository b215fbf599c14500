# SPDX-License-Identifier: Apache-2.0
"""Image encoder of SAM ViT-B, ViT-L and ViT-H.

Kirillov et al. 2023, appendix A ("Image encoder"). B images, S pixels along a side of
the frame, g = S / patch tokens along a side of the grid, E encoder and C output
channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_sam.modeling.common import LayerNorm2d
from napari_sam.modeling.device import compute_in
from napari_sam.modeling.vit_blocks import Block, PatchEmbed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def encoder_neck(in_chans: int, out_chans: int) -> nn.Sequential:
    """Two convolutions from encoder channels to those of the image embedding."""
    return nn.Sequential(
        nn.Conv2d(in_chans, out_chans, kernel_size=1, bias=False),
        LayerNorm2d(out_chans),
        nn.Conv2d(out_chans, out_chans, kernel_size=3, padding=1, bias=False),
        LayerNorm2d(out_chans),
    )


class ImageEncoderViT(nn.Module):
    """A plain vision transformer with windowed and a few global blocks.

    Parameters
    ----------
    image_size, patch_size : int
        Sides of the frame and of a patch in pixels.
    embed_dim, depth, num_heads, mlp_dim : int
        Width E, number of blocks, heads per block, hidden width of the MLPs.
    out_chans : int
        Channels C of the image embedding.
    global_attn_indexes : sequence of int
        Blocks (from 0) that attend over the whole grid.
    window_size : int
        Side of the windows of all other blocks, in tokens.

    Attributes
    ----------
    compute_dtype : torch.dtype
        Precision of matrix products in the blocks. The residual stream, norms, softmax,
        relative positions and the neck stay in float32, and so does the output.
    """

    def __init__(
        self,
        *,
        image_size: int,
        patch_size: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_dim: int,
        out_chans: int,
        global_attn_indexes: Sequence[int],
        window_size: int,
    ) -> None:
        super().__init__()
        self.compute_dtype = torch.float32
        grid = image_size // patch_size
        self.patch_embed = PatchEmbed(patch_size, embed_dim)
        self.pos_embed = nn.Parameter(torch.empty(1, grid, grid, embed_dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.ModuleList(
            Block(
                embed_dim,
                num_heads,
                mlp_dim,
                grid_size=grid,
                window_size=0 if i in global_attn_indexes else window_size,
            )
            for i in range(depth)
        )
        self.neck = encoder_neck(embed_dim, out_chans)

    def forward(self, x: Tensor, check: Callable[[], None] | None = None) -> Tensor:
        """Embed normalised and padded images.

        Parameters
        ----------
        x : (B, 3, S, S) tensor
            Frames.
        check : callable, optional
            Called before each block; whatever it raises ends the encoding.

        Returns
        -------
        (B, C, g, g) float32 tensor
        """
        with compute_in(self.compute_dtype, x.device):
            tokens = self.patch_embed(x).float() + self.pos_embed  # (B, g, g, E)
            for block in self.blocks:
                if check is not None:
                    check()
                tokens = block(tokens)
        with compute_in(torch.float32, x.device):
            out: Tensor = self.neck(tokens.permute(0, 3, 1, 2))
        return out.contiguous()
