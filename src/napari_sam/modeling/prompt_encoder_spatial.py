# SPDX-License-Identifier: Apache-2.0
"""SAM's prompt encoder plus a map of where the prompts lie.

A small model trained for hours, not weeks, learns to look where a prompt points much
sooner when the dense prompt also says it (click maps as in Sofiiuk et al. 2022,
"RITM").
Sparse tokens and mask inputs are as in SAM. B prompts, N points, C channels, h and w
cells of the feature grid.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sam.modeling.prompt_encoder import PromptEncoder

POINT_RADII = (4.0, 12.0, 40.0)  # pixels of the frame
OFFSET_SCALES = (12.0, 48.0)
BOX_SCALES = (6.0, 32.0)
N_MAPS = 2 * len(POINT_RADII) + 2 * len(OFFSET_SCALES) + 4 * len(BOX_SCALES) + 1


class GridWindow(NamedTuple):
    """A part of the feature grid, in cells: first row and column, height and width."""

    row: int
    column: int
    height: int
    width: int


class SpatialPromptEncoder(PromptEncoder):
    """A prompt encoder whose dense output also carries clicks and boxes.

    Parameters are those of
    :class:`~napari_sam.modeling.prompt_encoder.PromptEncoder`.
    """

    def __init__(
        self,
        embed_dim: int,
        grid_size: int,
        image_size: int,
        mask_in_chans: int = 16,
        pe_scale: float = 1.0,
        hidden_dim: int = 64,
    ) -> None:
        super().__init__(embed_dim, grid_size, image_size, mask_in_chans, pe_scale)
        self.spatial = nn.Sequential(
            nn.Conv2d(N_MAPS, hidden_dim, kernel_size=1),
            nn.GELU(),
            nn.Conv2d(hidden_dim, embed_dim, kernel_size=1),
        )

    def dense_pe(self, window: GridWindow | None = None) -> Tensor:
        """Position code of the feature grid or of a window of it, (1, C, h, w)."""
        code = super().dense_pe()
        if window is None:
            return code
        return code[
            ...,
            window.row : window.row + window.height,
            window.column : window.column + window.width,
        ]

    def forward(
        self,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        masks: Tensor | None,
        window: GridWindow | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode B prompts; see the base class.

        ``window`` restricts the dense output to a part of the grid, for training on
        crops of the frame; ``masks`` then covers just that part.
        """
        sparse, dense = super().forward(points, boxes, masks)
        if window is None:
            window = GridWindow(0, 0, self.grid_size, self.grid_size)
        if masks is None:
            dense = dense[..., : window.height, : window.width]
        maps = self._maps(points, boxes, window, len(sparse))
        return sparse, dense + self._spread(maps)

    def _spread(self, maps: Tensor) -> Tensor:
        """Make C channels of the maps: ``self.spatial(maps)``, channels last in memory.

        Convolutions of single cells are products, and the decoder wants the channels
        of a place side by side.
        """
        first, gelu, second = self.spatial
        places = maps.permute(0, 2, 3, 1)  # (B, h, w, maps)
        hidden = gelu(_at_each_place(first, places))
        return _at_each_place(second, hidden).permute(0, 3, 1, 2)

    def _maps(
        self,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        window: GridWindow,
        n_prompts: int,
    ) -> Tensor:
        weight = self.no_mask_embed.weight
        stride = self.image_size / self.grid_size
        rows = torch.arange(window.height, device=weight.device) + window.row
        columns = torch.arange(window.width, device=weight.device) + window.column
        y = (rows * stride + stride / 2).to(weight.dtype)[:, None]  # (h, 1)
        x = (columns * stride + stride / 2).to(weight.dtype)[None]  # (1, w)
        maps = weight.new_zeros(n_prompts, N_MAPS, window.height, window.width)
        n_point_maps = 2 * len(POINT_RADII) + 2 * len(OFFSET_SCALES)
        if points is not None:
            maps[:, :n_point_maps] = _point_maps(
                points[0].to(weight.dtype) + 0.5, points[1], y, x
            )
        if boxes is not None:
            maps[:, n_point_maps:] = _box_maps(boxes.to(weight.dtype) + 0.5, y, x)
        return maps


def _at_each_place(conv: nn.Module, places: Tensor) -> Tensor:
    """Apply a convolution of kernel size 1 to (..., channels)."""
    weight = conv.get_parameter("weight")
    return functional.linear(places, weight.flatten(1), conv.get_parameter("bias"))


def _point_maps(coords: Tensor, labels: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Nearness to the closest click of each kind, the way to the closest positive."""
    dx = x - coords[..., 0, None, None]  # (B, N, 1, w)
    dy = y - coords[..., 1, None, None]  # (B, N, h, 1)
    squared = dx.square() + dy.square()  # (B, N, h, w)
    far = torch.full_like(squared, 1e9)
    positive = torch.where(labels[..., None, None] == 1, squared, far)
    negative = torch.where(labels[..., None, None] == 0, squared, far)
    nearest, index = positive.min(dim=1)  # (B, h, w)
    maps = [torch.exp(-nearest / (2 * r * r)) for r in POINT_RADII]
    least = negative.amin(dim=1)
    maps += [torch.exp(-least / (2 * r * r)) for r in POINT_RADII]
    has_positive = (nearest < 1e9).to(dx.dtype)
    for offset in (dx, dy):
        chosen = offset.expand_as(squared).gather(1, index[:, None])[:, 0]
        maps += [torch.tanh(chosen / scale) * has_positive for scale in OFFSET_SCALES]
    return torch.stack(maps, dim=1)


def _box_maps(boxes: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Signed distance to each side at two scales, and whether there is a box."""
    x0, y0, x1, y1 = (side[:, None, None] for side in boxes.unbind(dim=1))
    shape = (len(boxes), y.shape[0], x.shape[1])
    sides = torch.stack(
        [side.expand(shape) for side in (x - x0, x1 - x, y - y0, y1 - y)], dim=1
    )  # (B, 4, h, w)
    maps = [torch.tanh(sides / scale) for scale in BOX_SCALES]
    return torch.cat([*maps, torch.ones_like(maps[0][:, :1])], dim=1)
