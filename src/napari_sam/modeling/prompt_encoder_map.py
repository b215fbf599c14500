# SPDX-License-Identifier: Apache-2.0
"""Points, boxes and masks as maps over the feature grid.

A convolutional decoder reads prompts best where they lie: nearness to clicks (Sofiiuk
et al. 2022, "RITM"), the way to the closest one, signed distances to the sides of the
box, an earlier mask. B prompts, N points, h and w cells of the feature grid, S pixels
along a side of the frame.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sam.modeling.prompt_encoder import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT

STRIDE = 8  # pixels of the frame for a cell
POINT_RADII = (4.0, 12.0, 40.0)  # pixels of the frame
OFFSET_SCALES = (12.0, 48.0)
BOX_SCALES = (6.0, 32.0)
N_POINT_MAPS = 2 * len(POINT_RADII) + 2 * len(OFFSET_SCALES)
N_BOX_MAPS = 4 * len(BOX_SCALES) + 1
MASK_CHANNELS = 16
N_MAPS = N_POINT_MAPS + N_BOX_MAPS + MASK_CHANNELS
LOGIT_SCALE = 4.0  # of an earlier mask, squashed so that any model's logits will do
FINE_STRIDE = 4  # pixels of the frame for a cell where masks get their outline
FINE_POINT_RADII = (3.0, 10.0)
FINE_BOX_SCALES = (3.0, 12.0)
N_FINE_MAPS = 2 * len(FINE_POINT_RADII) + len(FINE_BOX_SCALES)
FAR = 1e9  # squared pixels to a click that is not there


class MapPromptEncoder(nn.Module):
    """Prompts as a list of places and a stack of maps.

    Parameters
    ----------
    grid_size : int
        Cells g along a side of the feature grid.
    image_size : int
        Pixels S along a side of the frame, ``STRIDE * grid_size``.
    """

    def __init__(self, grid_size: int, image_size: int) -> None:
        super().__init__()
        self.grid_size = grid_size
        self.image_size = image_size
        self.no_mask_embed = nn.Parameter(torch.zeros(MASK_CHANNELS))
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, MASK_CHANNELS // 2, kernel_size=2, stride=2),
            nn.ReLU(),
            nn.Conv2d(MASK_CHANNELS // 2, MASK_CHANNELS, kernel_size=2, stride=2),
        )

    def forward(
        self,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        masks: Tensor | None,
        shape: tuple[int, int] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode B prompts.

        Parameters
        ----------
        points : ((B, N, 2), (B, N)) tensors or None
            Positions (x, y) in pixels of the frame, and labels: 1 foreground, 0
            background, -1 padding.
        boxes : (B, 4) tensor or None
            x0, y0, x1, y1 in pixels of the frame.
        masks : (B, 1, 4h, 4w) tensor or None
            Logits of an earlier prediction.
        shape : (h, w), optional
            Cells of a frame that is not the usual one.

        Returns
        -------
        places : (B, N + 2, 3) tensor
            x, y, label of each point, and of two box corners if there is a box.
        maps : (B, N_MAPS, h, w) tensor
        """
        height, width = shape or (self.grid_size, self.grid_size)
        given = [
            part for part in (points and points[0], boxes, masks) if part is not None
        ]
        n_prompts = len(given[0]) if given else 1
        like = self.no_mask_embed
        centres = [
            (torch.arange(n, device=like.device) * STRIDE + STRIDE / 2).to(like.dtype)
            for n in (height, width)
        ]
        y, x = centres[0][:, None], centres[1][None]
        parts = []
        if points is None:
            parts.append(like.new_zeros(n_prompts, N_POINT_MAPS, height, width))
        else:
            parts.append(_point_maps(points[0].to(like.dtype) + 0.5, points[1], y, x))
        if boxes is None:
            parts.append(like.new_zeros(n_prompts, N_BOX_MAPS, height, width))
        else:
            parts.append(_box_maps(boxes.to(like.dtype) + 0.5, y, x))
        if masks is None:
            nothing = self.no_mask_embed[None, :, None, None]
            parts.append(nothing.expand(n_prompts, -1, height, width))
        else:
            parts.append(self.read_masks(masks))
        return self.list_places(points, boxes, n_prompts), torch.cat(parts, dim=1)

    def read_masks(self, masks: Tensor) -> Tensor:
        """Make maps (B, MASK_CHANNELS, h, w) of earlier masks (B, 1, 4h, 4w)."""
        out: Tensor = self.mask_downscaling(torch.tanh(masks / LOGIT_SCALE))
        return functional.relu(out)

    def list_places(
        self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, n_prompts: int
    ) -> Tensor:
        """List x, y, label of points and box corners, (B, T, 3)."""
        like = self.no_mask_embed
        parts = [like.new_zeros(n_prompts, 0, 3)]
        if points is not None:
            labels = points[1].to(like.dtype)[..., None]
            parts.append(torch.cat([points[0].to(like.dtype), labels], dim=-1))
        if boxes is not None:
            labels = like.new_tensor([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT])[None, :, None]
            corners = boxes.to(like.dtype).reshape(-1, 2, 2)
            labels = labels.expand(len(boxes), 2, 1)
            parts.append(torch.cat([corners, labels], dim=-1))
        return torch.cat(parts, dim=1)


def _point_maps(coords: Tensor, labels: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Nearness to the closest click of each kind, the way to the closest positive."""
    dx = x - coords[..., 0, None, None]  # (B, N, 1, w)
    dy = y - coords[..., 1, None, None]  # (B, N, h, 1)
    squared = dx.square() + dy.square()  # (B, N, h, w)
    far = torch.full_like(squared, FAR)
    positive = torch.where(labels[..., None, None] == 1, squared, far)
    negative = torch.where(labels[..., None, None] == 0, squared, far)
    nearest, index = positive.min(dim=1)  # (B, h, w)
    maps = [torch.exp(-nearest / (2 * r * r)) for r in POINT_RADII]
    least = negative.amin(dim=1)
    maps += [torch.exp(-least / (2 * r * r)) for r in POINT_RADII]
    has_positive = (nearest < FAR).to(dx.dtype)
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


def fine_maps(places: Tensor, shape: tuple[int, int]) -> Tensor:
    """Where prompts lie among the cells at stride 4, for what is smaller than a cell.

    Nearness to clicks of either kind, and how far inside the box a cell lies.

    Parameters
    ----------
    places : (B, T, 3) tensor
        As from :class:`MapPromptEncoder`.
    shape : (H, W)
        Cells of the map.

    Returns
    -------
    (B, N_FINE_MAPS, H, W) tensor
    """
    y, x = (
        (torch.arange(n, device=places.device) + 0.5).to(places.dtype) * FINE_STRIDE
        for n in shape
    )
    labels = places[..., 2]
    dx = x - (places[..., :1] + 0.5)  # (B, T, W)
    dy = y - (places[..., 1:2] + 0.5)
    maps = []
    for kind in (1, 0):
        # A click that is not of this kind is too far away to count.
        away = torch.where(labels == kind, 0.0, FAR)[..., None]
        for radius in FINE_POINT_RADII:
            across = torch.exp((dx.square() + away) / (-2 * radius**2))
            down = torch.exp(dy.square() / (-2 * radius**2))
            near = down[..., None] * across[:, :, None]  # (B, T, H, W)
            maps.append(functional.pad(near, (0, 0, 0, 0, 0, 1)).amax(dim=1))
    inside = _depth_in_box(dx, dy, labels)
    maps += [torch.tanh(inside / scale) for scale in FINE_BOX_SCALES]
    return torch.stack(maps, dim=1)


def _depth_in_box(dx: Tensor, dy: Tensor, labels: Tensor) -> Tensor:
    """Distance to the closest side, negative outside, 0 everywhere without a box."""
    left_top = (labels == BOX_TOP_LEFT).to(dx.dtype)[..., None]
    right_bottom = (labels == BOX_BOTTOM_RIGHT).to(dx.dtype)[..., None]
    across, down = (
        torch.minimum((d * left_top).sum(dim=1), -(d * right_bottom).sum(dim=1))
        for d in (dx, dy)
    )
    return torch.minimum(across[:, None], down[..., None])
