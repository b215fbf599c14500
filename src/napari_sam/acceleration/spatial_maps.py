# SPDX-License-Identifier: Apache-2.0
"""Where prompts lie, as hidden channels of each place: little work, no copies.

The plain form is `SpatialPromptEncoder`: 19 maps, a product, an activation, another
product. Here only maps that are not nothing are made, each in one row, and the second
product is left to whoever adds it to the image. N points, g cells along a side of the
grid, K maps, D hidden channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor

from napari_sam.modeling.prompt_encoder_spatial import (
    BOX_SCALES,
    OFFSET_SCALES,
    POINT_RADII,
)

if TYPE_CHECKING:
    from torch import nn

    from napari_sam.modeling.prompt_encoder_spatial import SpatialPromptEncoder

_N_RADII, _N_OFFSETS = len(POINT_RADII), len(OFFSET_SCALES)
_NEGATIVE = _N_RADII
_ACROSS = 2 * _N_RADII
_DOWN = _ACROSS + _N_OFFSETS
_BOX = _DOWN + _N_OFFSETS
_HAS_BOX = _BOX + 4 * len(BOX_SCALES)
_LEAST = -60.0


class Centres(NamedTuple):
    """Cell centres of a grid in pixels of the frame: ``y`` (h, 1) and ``x`` (1, w)."""

    y: Tensor
    x: Tensor


class SpatialMaps:
    """The first half of a spatial prompt encoder's dense output.

    Parameters
    ----------
    encoder : SpatialPromptEncoder
        Whose weights are used.

    Attributes
    ----------
    spread : (D, C) tensor
        The second product's weights.
    bias : (C,) tensor
        The second product's bias.
    """

    def __init__(self, encoder: SpatialPromptEncoder) -> None:
        first, _, second = cast(
            "tuple[nn.Conv2d, nn.GELU, nn.Conv2d]", tuple(encoder.spatial)
        )
        self._weight = first.weight.detach().flatten(1).t().contiguous()  # (19, D)
        self._first_bias = cast("Tensor", first.bias).detach()
        self.spread = second.weight.detach().flatten(1).t().contiguous()
        self.bias = cast("Tensor", second.bias).detach()
        stride = encoder.image_size / encoder.grid_size
        centres = torch.arange(encoder.grid_size) * stride + stride / 2
        self._centres = Centres(centres[:, None], centres[None])

    @property
    def width(self) -> int:
        """Number D of hidden channels."""
        return len(self.spread)

    def hidden(
        self,
        points: tuple[Tensor, Tensor] | None,
        box: Tensor | None,
        centres: Centres | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Return the hidden channels of one prompt.

        Parameters
        ----------
        points : ((N, 2), (N,)) tensors or None
            x, y in pixels of the frame, and labels.
        box : (4,) tensor or None
            x0, y0, x1, y1.
        centres : Centres or None
            Where the places are; None for the grid.
        out : (h w, D) tensor or None
            Memory for the result.

        Returns
        -------
        (h w, D) tensor
            After the activation.
        """
        places = self._centres if centres is None else centres
        rows: list[tuple[int, Tensor]] = []
        if points is not None:
            rows += _point_rows(points[0] + 0.5, points[1], places)
        bias = self._first_bias
        if box is not None:
            rows += _box_rows(box + 0.5, places)
            bias = bias + self._weight[_HAS_BOX]
        shape = (places.y.shape[0], places.x.shape[1])
        maps = bias.new_empty(len(rows), *shape)  # (K, h, w)
        for target, (_, values) in zip(maps, rows, strict=True):
            target.copy_(values)
        weight = self._weight[[number for number, _ in rows]]
        hidden = torch.addmm(bias, maps.flatten(1).t(), weight, out=out)
        return gelu_in_place(hidden)


def gelu_in_place(x: Tensor) -> Tensor:
    """Activate a tensor; the public form always takes new memory."""
    out: Tensor = torch.ops.aten.gelu_(x)
    return out


def _point_rows(
    coords: Tensor, labels: Tensor, places: Centres
) -> list[tuple[int, Tensor]]:
    """Return numbers and values of the maps of points that are not 0 everywhere."""
    rows: list[tuple[int, Tensor]] = []
    for label, first in ((1, 0), (0, _NEGATIVE)):
        of_label = coords[labels == label]
        if not len(of_label):
            continue
        dx = places.x - of_label[:, 0, None, None]  # (M, 1, w)
        dy = places.y - of_label[:, 1, None, None]  # (M, h, 1)
        if len(of_label) == 1:
            nearest = dx[0].square() + dy[0].square()
        else:
            nearest, index = (dx.square() + dy.square()).min(dim=0)  # (h, w)
        for i, radius in enumerate(POINT_RADII):
            rows.append((first + i, _nearness(nearest, radius)))
        if label == 0:
            continue
        if len(of_label) == 1:
            ways = [dx[0], dy[0]]
        else:
            ways = [_chosen(offset, index) for offset in (dx, dy)]
        for way, place in zip(ways, (_ACROSS, _DOWN), strict=True):
            for i, scale in enumerate(OFFSET_SCALES):
                rows.append((place + i, torch.tanh(way / scale)))
    return rows


def _nearness(squared: Tensor, radius: float) -> Tensor:
    """Return a Gaussian of squared distances, but nothing smaller than exp(-60).

    Denormal numbers would make the product that follows ten times as slow.
    """
    return squared.div(-2 * radius * radius).clamp_(min=_LEAST).exp_()


def _chosen(offset: Tensor, index: Tensor) -> Tensor:
    """Return each place's (h, w) offset to the point of its index."""
    whole = offset.expand(len(offset), *index.shape)
    return whole.gather(0, index[None])[0]


def _box_rows(box: Tensor, places: Centres) -> list[tuple[int, Tensor]]:
    """Return numbers and values of a box's maps; the constant one is left out."""
    x0, y0, x1, y1 = box
    sides = (places.x - x0, x1 - places.x, places.y - y0, y1 - places.y)
    return [
        (_BOX + 4 * i + k, torch.tanh(side / scale))
        for i, scale in enumerate(BOX_SCALES)
        for k, side in enumerate(sides)
    ]
