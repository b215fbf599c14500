# SPDX-License-Identifier: Apache-2.0
"""The maps of one prompt, side by side for each cell, without those that say nothing.

A click's nearness is a product of a row and a column, and so cheaper to make than to
read; a map that is the same everywhere is left out and becomes part of a bias. h and w
cells, T places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from napari_sam.modeling.mask_decoder_conv import HEADS
from napari_sam.modeling.prompt_encoder import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT
from napari_sam.modeling.prompt_encoder_map import (
    BOX_SCALES,
    MASK_CHANNELS,
    N_BOX_MAPS,
    N_POINT_MAPS,
    OFFSET_SCALES,
    POINT_RADII,
    STRIDE,
)

if TYPE_CHECKING:
    from napari_sam.acceleration.scratch import OwnScratch

_N_RADII = len(POINT_RADII)
_NO_LIKENESS = -1.0


class Kind(NamedTuple):
    """Which prompts there are: clicks on the object, clicks beside it, box, mask."""

    has_positive: bool
    has_negative: bool
    has_box: bool
    has_mask: bool

    def columns(self) -> list[int]:
        """List the maps that are not the same everywhere, in their plain order."""
        box = N_POINT_MAPS
        mask = box + N_BOX_MAPS
        likeness = mask + MASK_CHANNELS
        chosen: list[int] = []
        if self.has_positive:
            chosen += range(_N_RADII)
        if self.has_negative:
            chosen += range(_N_RADII, 2 * _N_RADII)
        if self.has_positive:
            chosen += range(2 * _N_RADII, N_POINT_MAPS)
        if self.has_box:
            chosen += range(box, mask)
        if self.has_mask:
            chosen += range(mask, likeness)
        if self.has_positive:
            chosen += range(likeness, likeness + HEADS)
        if self.has_negative:
            chosen += range(likeness + HEADS, likeness + 2 * HEADS)
        return chosen


class Columns(NamedTuple):
    """One prompt: clicks (p, 2) and (q, 2), box (4,), mask maps (c, h, w).

    ``rows`` are the places of the clicks of either kind among all of the prompt.
    """

    kind: Kind
    clicks: tuple[Tensor, Tensor]
    rows: tuple[Tensor, Tensor]
    box: Tensor | None
    mask: Tensor | None


def columns_of(places: Tensor, mask: Tensor | None) -> Columns:
    """Sort the places (T, 3) of one prompt; pixel indices become pixel centres."""
    labels = places[:, 2]
    rows = tuple((labels == wanted).nonzero()[:, 0] for wanted in (1, 0))
    centres = places[:, :2] + 0.5
    corners = centres[(labels == BOX_TOP_LEFT) | (labels == BOX_BOTTOM_RIGHT)]
    box = corners.flatten() if len(corners) else None
    kind = Kind(len(rows[0]) > 0, len(rows[1]) > 0, box is not None, mask is not None)
    clicks = (centres[rows[0]], centres[rows[1]])
    return Columns(kind, clicks, (rows[0], rows[1]), box, mask)


class PromptColumns:
    """Fills the maps of one prompt.

    Parameters
    ----------
    side : int
        Cells h = w along a side of the feature grid.
    nothing : (c,) tensor
        The mask maps without a mask.
    """

    def __init__(self, side: int, nothing: Tensor) -> None:
        self._side = side
        centres = torch.arange(side, dtype=torch.float32) * STRIDE + STRIDE / 2
        self._centres = centres
        self._nothing = nothing

    def fill(
        self, prompt: Columns, queries: Tensor, keys: Tensor, scratch: OwnScratch
    ) -> Tensor:
        """Return (h, w, k) maps, k as in `Kind.columns`, and a last one of ones.

        ``queries`` (HEADS, T, d) and ``keys`` (HEADS, d, h w) are of unit length.
        """
        side = self._side
        n_columns = len(prompt.kind.columns()) + 1
        stack = scratch.get("stack", side, side, n_columns)
        stack[..., -1] = 1
        at = 0
        positive, negative = prompt.clicks
        if len(positive):
            squared, way = self._way(positive)
            at = self._nearness(stack, at, squared)
        if len(negative):
            at = self._nearness(stack, at, self._way(negative)[0])
        if len(positive):
            for offset in way:
                for scale in OFFSET_SCALES:
                    stack[..., at] = torch.tanh(offset / scale)
                    at += 1
        if prompt.box is not None:
            at = self._box(stack, at, prompt.box)
        if prompt.mask is not None:
            stack[..., at : at + MASK_CHANNELS] = prompt.mask.permute(1, 2, 0)
            at += MASK_CHANNELS
        for rows in prompt.rows:
            if len(rows):
                scores = torch.matmul(queries[:, rows], keys).amax(dim=1)
                stack[..., at : at + HEADS] = scores.t().view(side, side, HEADS)
                at += HEADS
        return stack

    def _way(self, clicks: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Squared distance to the closest click, and the way to it in x and y."""
        dx = self._centres - clicks[:, :1]  # (p, w)
        dy = self._centres - clicks[:, 1:]  # (p, h)
        if len(clicks) == 1:
            squared = dy.square().t() + dx.square()
            return squared, (dx, dy.t())
        every = dy.square()[:, :, None] + dx.square()[:, None]  # (p, h, w)
        squared, index = every.min(dim=0)
        columns = torch.arange(self._side)
        return squared, (dx[index, columns], dy[index, columns[:, None]])

    @staticmethod
    def _nearness(stack: Tensor, at: int, squared: Tensor) -> int:
        for radius in POINT_RADII:
            stack[..., at] = torch.exp(squared * (-0.5 / radius**2))
            at += 1
        return at

    def _box(self, stack: Tensor, at: int, box: Tensor) -> int:
        x0, y0, x1, y1 = box
        across, down = self._centres, self._centres[:, None]
        for scale in BOX_SCALES:
            for side in (across - x0, x1 - across, down - y0, y1 - down):
                stack[..., at] = torch.tanh(side / scale)
                at += 1
        stack[..., at] = 1
        return at + 1


def constants(nothing: Tensor) -> Tensor:
    """Say what every map is where nothing is said, in the plain order."""
    points = nothing.new_zeros(N_POINT_MAPS + N_BOX_MAPS)
    likeness = nothing.new_full((2 * HEADS,), _NO_LIKENESS)
    return torch.cat([points, nothing, likeness])
