# SPDX-License-Identifier: Apache-2.0
"""Points, boxes and masks to sparse tokens and a dense map.

Kirillov et al. 2023, appendix A ("Prompt encoder"). B prompts, N points, T tokens,
C channels, g cells along a side of the feature grid, S pixels along a side of the
frame.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from napari_sam.modeling.common import LayerNorm2d

BOX_TOP_LEFT = 2  # labels 0 and 1 are background and foreground points
BOX_BOTTOM_RIGHT = 3


class PositionEmbeddingRandom(nn.Module):
    """Random Fourier features of a position (Tancik et al. 2020)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, num_pos_feats: int, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer(
            "positional_encoding_gaussian_matrix", scale * torch.randn(2, num_pos_feats)
        )

    def forward(self, positions: Tensor) -> Tensor:
        """Encode positions (..., 2), x before y, each in [0, 1], as (..., C)."""
        matrix = self.positional_encoding_gaussian_matrix
        angles = 2 * math.pi * ((2 * positions.to(matrix.dtype) - 1) @ matrix)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def grid(self, rows: int, columns: int) -> Tensor:
        """Encode the cell centres of a grid over the frame as (C, rows, columns)."""
        device = self.positional_encoding_gaussian_matrix.device
        y = (torch.arange(rows, device=device, dtype=torch.float32) + 0.5) / rows
        x = (torch.arange(columns, device=device, dtype=torch.float32) + 0.5) / columns
        yy, xx = torch.meshgrid(y, x, indexing="ij")
        code: Tensor = self(torch.stack([xx, yy], dim=-1))
        return code.permute(2, 0, 1)


class PromptEncoder(nn.Module):
    """SAM's prompt encoder.

    Parameters
    ----------
    embed_dim : int
        Channels C of tokens and dense map.
    grid_size : int
        Cells g along a side of the image embedding.
    image_size : int
        Pixels S along a side of the frame.
    mask_in_chans : int
        Hidden channels of the mask branch.
    pe_scale : float
        Standard deviation of the random frequencies at initialisation; published
        weights replace them.
    """

    def __init__(
        self,
        embed_dim: int,
        grid_size: int,
        image_size: int,
        mask_in_chans: int = 16,
        pe_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.grid_size = grid_size
        self.image_size = image_size
        self.pe_layer = PositionEmbeddingRandom(embed_dim // 2, pe_scale)
        self.point_embeddings = nn.ModuleList(
            nn.Embedding(1, embed_dim) for _ in range(4)
        )
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.no_mask_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_in_chans // 4, kernel_size=2, stride=2),
            LayerNorm2d(mask_in_chans // 4),
            nn.GELU(),
            nn.Conv2d(mask_in_chans // 4, mask_in_chans, kernel_size=2, stride=2),
            LayerNorm2d(mask_in_chans),
            nn.GELU(),
            nn.Conv2d(mask_in_chans, embed_dim, kernel_size=1),
        )

    def dense_pe(self) -> Tensor:
        """Position code of the feature grid, (1, C, g, g)."""
        return self.pe_layer.grid(self.grid_size, self.grid_size)[None]

    def forward(
        self,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        masks: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Encode B prompts of one image.

        Parameters
        ----------
        points : ((B, N, 2), (B, N)) tensors or None
            Positions (x, y) in pixels of the frame, and labels: 1 foreground, 0
            background, -1 padding.
        boxes : (B, 4) tensor or None
            x0, y0, x1, y1 in pixels of the frame.
        masks : (B, 1, 4g, 4g) tensor or None
            Logits of an earlier prediction.

        Returns
        -------
        sparse : (B, T, C) tensor
            Points, one padding token if there are points but no box, box corners.
        dense : (B, C, g, g) tensor
        """
        tokens = []
        if points is not None:
            coords, labels = points
            tokens.append(self._embed_points(coords, labels, pad=boxes is None))
        if boxes is not None:
            corner_labels = torch.tensor(
                [[BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]], device=boxes.device
            ).expand(len(boxes), 2)
            tokens.append(
                self._embed_points(boxes.reshape(-1, 2, 2), corner_labels, pad=False)
            )
        n_prompts = self._n_prompts(points, boxes, masks)
        weight = self.no_mask_embed.weight
        sparse = (
            torch.cat(tokens, dim=1)
            if tokens
            else weight.new_zeros(n_prompts, 0, self.embed_dim)
        )
        return sparse, self._embed_dense(masks, n_prompts)

    def _embed_points(self, coords: Tensor, labels: Tensor, *, pad: bool) -> Tensor:
        if pad:
            coords = torch.cat([coords, coords.new_zeros(len(coords), 1, 2)], dim=1)
            labels = torch.cat([labels, -labels.new_ones(len(labels), 1)], dim=1)
        # +0.5 moves from pixel index to pixel centre; the dtype that came is kept until
        # the position code, as in the reference.
        code = self.pe_layer((coords + 0.5) / self.image_size)  # (B, N, C)
        kind = labels[..., None]
        code = torch.where(kind == -1, self.not_a_point_embed.weight, code)
        for label, embedding in enumerate(self.point_embeddings):
            shifted = code + embedding.get_parameter("weight")
            code = torch.where(kind == label, shifted, code)
        return code

    def _embed_dense(self, masks: Tensor | None, n_prompts: int) -> Tensor:
        if masks is not None:
            out: Tensor = self.mask_downscaling(masks)
            return out
        return self.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(
            n_prompts, -1, self.grid_size, self.grid_size
        )

    @staticmethod
    def _n_prompts(
        points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> int:
        if points is not None:
            return len(points[0])
        for given in (boxes, masks):
            if given is not None:
                return len(given)
        return 1
