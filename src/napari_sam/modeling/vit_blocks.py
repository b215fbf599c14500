# SPDX-License-Identifier: Apache-2.0
"""Transformer blocks of the ViT image encoder: windows and relative positions.

Kirillov et al. 2023 with the backbone of Li et al. 2022 (ViTDet). B images or windows,
H and W rows and columns of a token grid, S its side where it is square, C channels,
h heads, d = C / h.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sam.modeling.common import MLPBlock
from napari_sam.modeling.device import compute_in

# Largest number of attention logits alive at once. A global block of vit_b has 201
# million; in slices of this size they stay near the processor and memory is bounded.
MAX_LOGITS = 1 << 23


def split_windows(x: Tensor, size: int) -> Tensor:
    """Cut a grid of tokens into square windows.

    The grid is zero-padded at the bottom and right to a multiple of ``size``. Nothing
    masks the padding: published weights were trained with it.

    Parameters
    ----------
    x : (B, H, W, C) tensor
        Tokens.
    size : int
        Side s of a window in tokens.

    Returns
    -------
    (B * n, s, s, C) tensor
        The n windows of each image, rows first.
    """
    batch, height, width, channels = x.shape
    x = functional.pad(x, (0, 0, 0, -width % size, 0, -height % size))
    rows, columns = x.shape[1] // size, x.shape[2] // size
    x = x.reshape(batch, rows, size, columns, size, channels)
    return x.transpose(2, 3).reshape(-1, size, size, channels)


def merge_windows(windows: Tensor, grid: tuple[int, int]) -> Tensor:
    """Undo :func:`split_windows`: (B * n, s, s, C) to (B, H, W, C) with grid (H, W)."""
    height, width = grid
    size, channels = windows.shape[1], windows.shape[-1]
    rows, columns = -(-height // size), -(-width // size)
    x = windows.reshape(-1, rows, columns, size, size, channels).transpose(2, 3)
    return x.reshape(-1, rows * size, columns * size, channels)[:, :height, :width]


def relative_table(rel_pos: Tensor) -> Tensor:
    """Expand a table of offsets (2S - 1, d) to every query and key: (S, S, d)."""
    size = (len(rel_pos) + 1) // 2
    place = torch.arange(size, device=rel_pos.device)
    return rel_pos[place[:, None] - place[None, :] + size - 1]


class PatchEmbed(nn.Module):
    """Cut an image into patches and map each to a token."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, 3, S, S) to tokens (B, S / patch, S / patch, C)."""
        tokens: Tensor = self.proj(x)
        return tokens.permute(0, 2, 3, 1)


class RelativeAttention(nn.Module):
    """Self-attention over a square grid with decomposed relative positions.

    Parameters
    ----------
    dim : int
        Width C.
    num_heads : int
        Number of heads h.
    size : int
        Side S of the grid: of a window, or of the whole image in a global block.
    """

    def __init__(self, dim: int, num_heads: int, size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        table = 2 * size - 1, dim // num_heads
        self.rel_pos_h = nn.Parameter(torch.empty(table))
        self.rel_pos_w = nn.Parameter(torch.empty(table))
        nn.init.trunc_normal_(self.rel_pos_h, std=0.02)
        nn.init.trunc_normal_(self.rel_pos_w, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Let the tokens x (B, S, S, C) attend to each other; keeps the shape."""
        batch, rows, columns, _ = x.shape
        qkv = self.qkv(x).reshape(batch, rows * columns, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).flatten(1, 2)  # each (B*h, S*S, d)
        # The relative terms take q before it is scaled.
        grid_q = q.float().view(len(q), rows, columns, -1)  # (B*h, S, S, d)
        table_h, table_w = (
            relative_table(self.rel_pos_h),
            relative_table(self.rel_pos_w),
        )
        with compute_in(torch.float32, x.device):
            rel_h = torch.einsum("nijd,iad->nija", grid_q, table_h.float())
            rel_w = torch.einsum("nijd,jcd->nijc", grid_q, table_w.float())

        q, k = q * q.shape[-1] ** -0.5, k.transpose(1, 2)
        step = max(1, MAX_LOGITS // (len(q) * columns * k.shape[-1]))  # rows of queries
        slices = []
        for top in range(0, rows, step):
            part = slice(top, top + step)
            logits = (q[:, top * columns : (top + step) * columns] @ k).float()
            grid = logits.view(len(q), -1, columns, rows, columns)
            grid += rel_h[:, part, :, :, None]
            grid += rel_w[:, part, :, None, :]
            slices.append(logits.softmax(dim=-1) @ v)
        mixed = torch.cat(slices, dim=1)  # (B*h, S*S, d)
        heads = mixed.reshape(batch, self.num_heads, rows, columns, -1)
        out: Tensor = self.proj(heads.permute(0, 2, 3, 1, 4).flatten(3))
        return out


class Block(nn.Module):
    """Pre-norm transformer block, attending inside windows or over the whole grid.

    Parameters
    ----------
    dim, num_heads, mlp_dim : int
        Width C, heads and hidden width of the MLP.
    grid_size : int
        Side of the whole token grid.
    window_size : int
        Side of a window; 0 attends globally.
    """

    def __init__(
        self, dim: int, num_heads: int, mlp_dim: int, grid_size: int, window_size: int
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = RelativeAttention(dim, num_heads, window_size or grid_size)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLPBlock(dim, mlp_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens x (B, H, W, C) to the same shape."""
        normed = self.norm1(x)
        if self.window_size:
            windows = self.attn(split_windows(normed, self.window_size))
            attended = merge_windows(windows, (x.shape[1], x.shape[2]))
        else:
            attended = self.attn(normed)
        x = x + attended
        out: Tensor = x + self.mlp(self.norm2(x))
        return out
