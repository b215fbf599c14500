# SPDX-License-Identifier: Apache-2.0
"""The maps of one prompt without those that say nothing.

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
    rows: tuple[list[int], list[int]]
    box: Tensor | None
    mask: Tensor | None


def columns_of(places: Tensor, mask: Tensor | None) -> Columns:
    """Sort the places (T, 3) of one prompt; pixel indices become pixel centres."""
    labels = places[:, 2].tolist()
    positive, negative = (
        [row for row, label in enumerate(labels) if label == wanted]
        for wanted in (1, 0)
    )
    corners = [
        row
        for row, label in enumerate(labels)
        if label in (BOX_TOP_LEFT, BOX_BOTTOM_RIGHT)
    ]
    centres = places[:, :2] + 0.5
    box = centres[corners].flatten() if corners else None
    kind = Kind(bool(positive), bool(negative), box is not None, mask is not None)
    clicks = (centres[positive], centres[negative])
    return Columns(kind, clicks, (positive, negative), box, mask)


class PromptColumns:
    """Fills the maps of one prompt.

    Parameters
    ----------
    side : int
        Cells h = w along a side of the feature grid.
    """

    def __init__(self, side: int) -> None:
        self._side = side
        self._centres = torch.arange(side, dtype=torch.float32) * STRIDE + STRIDE / 2
        radii, scales = torch.tensor(POINT_RADII), torch.tensor(OFFSET_SCALES)
        self._narrowness = -0.5 / radii.square()[:, None]
        self._scales = scales[:, None, None]

    def fill(
        self, prompt: Columns, queries: Tensor, keys: Tensor, scratch: OwnScratch
    ) -> Tensor:
        """Return (k, h, w) maps, k as in `Kind.columns`, and a last one of ones.

        ``queries`` (HEADS, T, d) and ``keys`` (HEADS, d, h w) are of unit length.
        """
        side = self._side
        n_columns = len(prompt.kind.columns()) + 1
        stack = scratch.get("stack", n_columns, side, side)
        stack[-1] = 1
        at = 0
        for clicks in prompt.clicks:
            if len(clicks):
                self._nearness(clicks, stack[at : at + _N_RADII])
                at += _N_RADII
        if prompt.kind.has_positive:
            n = len(OFFSET_SCALES)
            dx, dy = self._way(prompt.clicks[0])
            stack[at : at + n] = torch.tanh(dx / self._scales)
            stack[at + n : at + 2 * n] = torch.tanh(dy / self._scales)
            at += 2 * n
        if prompt.box is not None:
            at = self._box(stack, at, prompt.box)
        if prompt.mask is not None:
            stack[at : at + MASK_CHANNELS] = prompt.mask
            at += MASK_CHANNELS
        for rows in prompt.rows:
            if rows:
                likeness = stack[at : at + HEADS].flatten(1)
                torch.amax(torch.matmul(queries[:, rows], keys), dim=1, out=likeness)
                at += HEADS
        return stack

    def _offsets(self, clicks: Tensor) -> tuple[Tensor, Tensor]:
        """Return the way of columns and of rows to clicks: (p, w), (p, h)."""
        return self._centres - clicks[:, :1], self._centres - clicks[:, 1:]

    def _nearest(self, clicks: Tensor) -> tuple[Tensor, Tensor]:
        """Squared distance (h, w) to the closest click, and which one it is."""
        dx, dy = self._offsets(clicks)
        every = dy.square()[:, :, None] + dx.square()[:, None]  # (p, h, w)
        squared, index = every.min(dim=0)
        return squared, index

    def _way(self, clicks: Tensor) -> tuple[Tensor, Tensor]:
        """Return the way to the closest click in x and in y, as far as it varies."""
        dx, dy = self._offsets(clicks)
        if len(clicks) == 1:
            return dx, dy.t()
        index = self._nearest(clicks)[1]
        columns = torch.arange(self._side)
        return dx[index, columns], dy[index, columns[:, None]]

    def _nearness(self, clicks: Tensor, out: Tensor) -> None:
        """Write nearness to the closest click, (radii, h, w)."""
        if len(clicks) == 1:
            dx, dy = self._offsets(clicks)
            across, down = (
                torch.exp(way.square() * self._narrowness) for way in (dx, dy)
            )
            torch.mul(down[:, :, None], across[:, None], out=out)
            return
        squared = self._nearest(clicks)[0]
        torch.exp(squared * self._narrowness[..., None], out=out)

    def _box(self, stack: Tensor, at: int, box: Tensor) -> int:
        x0, y0, x1, y1 = box
        across, down = self._centres, self._centres[:, None]
        for scale in BOX_SCALES:
            for side in (across - x0, x1 - across, down - y0, y1 - down):
                stack[at] = torch.tanh(side / scale)
                at += 1
        stack[at] = 1
        return at + 1


def constants(nothing: Tensor) -> Tensor:
    """Say what every map is where nothing is said, in the plain order."""
    points = nothing.new_zeros(N_POINT_MAPS + N_BOX_MAPS)
    likeness = nothing.new_full((2 * HEADS,), _NO_LIKENESS)
    return torch.cat([points, nothing, likeness])
