# SPDX-License-Identifier: Apache-2.0
"""Image encoder of MobileSAM: TinyViT with 5 million parameters.

Zhang et al. 2023 (MobileSAM), Wu et al. 2022 (TinyViT). B images or windows, H and W
rows and columns of a map, N tokens of a window, D channels of a stage, C output
channels. Maps are (B, D, H, W) in channels-last memory: seen as (B, H, W, D) by
attention and MLP they are contiguous, and nothing is copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sam.modeling.device import compute_in
from napari_sam.modeling.image_encoder_vit import encoder_neck
from napari_sam.modeling.vit_blocks import merge_windows, split_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HEAD_DIM = 32  # in every stage; the reference calls it key_dim
# Widths whose patch merging keeps the resolution (the reference's rule).
UNSTRIDED_WIDTHS = (320, 448, 576)


class ConvNorm(nn.Module):
    """Convolution without bias, then batch normalisation; published as c and bn."""

    def __init__(
        self,
        in_chans: int,
        out_chans: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(
            in_chans, out_chans, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(out_chans)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D, H, W) to (B, D', H / stride, W / stride)."""
        out: Tensor = self.bn(self.c(x))
        return out


class InvertedResidual(nn.Module):
    """Widen, mix each channel over 3 x 3, narrow; GELU comes after the shortcut."""

    def __init__(self, dim: int, expansion: int = 4) -> None:
        super().__init__()
        hidden = dim * expansion
        self.conv1 = ConvNorm(dim, hidden, 1)
        self.conv2 = ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3 = ConvNorm(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D, H, W) to the same shape."""
        y = functional.gelu(self.conv1(x))
        y = functional.gelu(self.conv2(y))
        return functional.gelu(x + self.conv3(y))


class PatchMerging(nn.Module):
    """Change the width between stages and, as a rule, halve the resolution."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        stride = 1 if out_dim in UNSTRIDED_WIDTHS else 2
        self.conv1 = ConvNorm(dim, out_dim, 1)
        self.conv2 = ConvNorm(out_dim, out_dim, 3, stride, groups=out_dim)
        self.conv3 = ConvNorm(out_dim, out_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D, H, W) to (B, D', H / stride, W / stride)."""
        y = functional.gelu(self.conv1(x))
        out: Tensor = self.conv3(functional.gelu(self.conv2(y)))
        return out


class BiasedAttention(nn.Module):
    """Self-attention in a window with a learned bias for each distance."""

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * num_heads * HEAD_DIM)
        self.proj = nn.Linear(num_heads * HEAD_DIM, dim)
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, window_size**2))

    def bias(self) -> Tensor:
        """Bias of every query and key, (1, heads, N, N).

        Gathered at each use: a copy kept in the module would survive the loading of
        weights and silently be the one of the initialisation.
        """
        side = self.window_size
        place = torch.arange(side**2, device=self.attention_biases.device)
        row, column = place // side, place % side
        offset = (row[:, None] - row).abs() * side + (column[:, None] - column).abs()
        return self.attention_biases[None, :, offset]

    def forward(self, x: Tensor) -> Tensor:
        """Let the tokens x (B, N, D) attend to each other; returns the same shape."""
        # Inside each head come its q, k and v: not the layout of SAM's ViT.
        qkv = self.qkv(self.norm(x)).unflatten(-1, (self.num_heads, 3, HEAD_DIM))
        q, k, v = qkv.permute(3, 0, 2, 1, 4)  # each (B, heads, N, 32)
        mixed = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=self.bias().to(q.dtype)
        )
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class NormedMlp(nn.Module):
    """Layer norm and a two-layer perceptron."""

    def __init__(self, dim: int, expansion: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, dim * expansion)
        self.fc2 = nn.Linear(dim * expansion, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        out: Tensor = self.fc2(functional.gelu(self.fc1(self.norm(x))))
        return out


class TinyViTBlock(nn.Module):
    """Windowed attention, a depthwise convolution, an MLP."""

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.window_size = window_size
        self.attn = BiasedAttention(dim, num_heads, window_size)
        self.local_conv = ConvNorm(dim, dim, 3, groups=dim)
        self.mlp = NormedMlp(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D, H, W) in channels-last memory to the same."""
        tokens = x.permute(0, 2, 3, 1)  # (B, H, W, D)
        # Padding comes before the norm of the attention, so padded tokens are its bias.
        windows = split_windows(tokens, self.window_size)
        attended = self.attn(windows.flatten(1, 2)).reshape(windows.shape)
        tokens = tokens + merge_windows(attended, (x.shape[2], x.shape[3]))
        tokens = self.local_conv(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out: Tensor = tokens + self.mlp(tokens)
        return out.permute(0, 3, 1, 2)


class Stage(nn.Module):
    """Blocks of one width and the merging that leads to the next, if there is one.

    ``check`` is as in :meth:`ImageEncoderTinyViT.forward`.
    """

    def __init__(
        self, blocks: Sequence[nn.Module], downsample: nn.Module | None
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor, check: Callable[[], None] | None) -> Tensor:
        """Map (B, D, H, W) to the input of the next stage."""
        for block in self.blocks:
            if check is not None:
                check()
            x = block(x)
        if self.downsample is not None:
            x = self.downsample(x)
        return x


class ConvStem(nn.Module):
    """Two strided convolutions from pixels to the first stage."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvNorm(3, dim // 2, 3, stride=2), nn.GELU(), ConvNorm(dim // 2, dim, 3, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, S, S) to (B, D, S / 4, S / 4)."""
        out: Tensor = self.seq(x)
        return out


class ImageEncoderTinyViT(nn.Module):
    """TinyViT followed by SAM's neck.

    Parameters
    ----------
    embed_dims, depths : sequences of 4 int
        Width and number of blocks of each stage; the first stage is convolutional.
    num_heads, window_sizes : sequences of 3 int
        Heads and side of the windows (in tokens) of the later stages.
    out_chans : int
        Channels C of the image embedding.
    num_classes : int
        Outputs of the classification head. Published files hold it; nothing uses it.

    Attributes
    ----------
    compute_dtype : torch.dtype
        Precision of matrix products and convolutions before the neck; the output is
        float32.
    """

    def __init__(
        self,
        *,
        embed_dims: Sequence[int],
        depths: Sequence[int],
        num_heads: Sequence[int],
        window_sizes: Sequence[int],
        out_chans: int = 256,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        self.compute_dtype = torch.float32
        self.patch_embed = ConvStem(embed_dims[0])
        first: list[nn.Module] = [
            InvertedResidual(embed_dims[0]) for _ in range(depths[0])
        ]
        self.layers = nn.ModuleList(
            [Stage(first, PatchMerging(embed_dims[0], embed_dims[1]))]
        )
        later = zip(embed_dims[1:], depths[1:], num_heads, window_sizes, strict=True)
        for (dim, depth, heads, window), next_dim in zip(
            later, (*embed_dims[2:], None), strict=True
        ):
            merging = None if next_dim is None else PatchMerging(dim, next_dim)
            blocks = [TinyViTBlock(dim, heads, window) for _ in range(depth)]
            self.layers.append(Stage(blocks, merging))
        self.norm_head = nn.LayerNorm(embed_dims[-1])
        self.head = nn.Linear(embed_dims[-1], num_classes)
        self.neck = encoder_neck(embed_dims[-1], out_chans)

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
        (B, C, S / 16, S / 16) float32 tensor
        """
        with compute_in(self.compute_dtype, x.device):
            x = self.patch_embed(x.contiguous(memory_format=torch.channels_last))
            for stage in self.layers:
                x = stage(x, check)
        with compute_in(torch.float32, x.device):
            out: Tensor = self.neck(x.float())
        return out.contiguous()
