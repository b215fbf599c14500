# SPDX-License-Identifier: Apache-2.0
"""Masks of one prompt from its cells at stride 8, on a CPU.

The plain form is `ConvMaskDecoder.draw`. n = h w cells at stride 8, k masks. Somebody
who wants to know only where logits exceed a threshold is drawn a window; what lies
outside is not computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

from napari_sam.acceleration.conv_stages import FastBlock, as_map
from napari_sam.acceleration.workers import work_with_help
from napari_sam.modeling.prompt_encoder_map import (
    FINE_POINT_RADII,
    FINE_STRIDE,
    fine_maps,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_sam.modeling.mask_decoder_conv import ConvMaskDecoder

# Pixels of the finest map that are made at once: a band stays in the cache.
_BAND_PX = 32 * 256

MARGIN = 4.0
"""Logits by which the coarse map has to stay below a threshold, in a cell and all
around it, for the cell not to be drawn: more than the finer maps usually add."""

LIMIT = 3.5
"""If inside a window the finer maps add more than this, everything is drawn."""

# Sides of windows are multiples of so many cells: oneDNN prepares itself for each size.
_STEP = 8


class FineMaps(NamedTuple):
    """The image's finer maps, channels side by side: (2h, 2w, C4), (4h, 4w, C2)."""

    fine: Tensor
    finest: Tensor


class Window(NamedTuple):
    """Rows top to bottom and columns left to right of a map, half-open."""

    top: int
    left: int
    bottom: int
    right: int

    def of(self, x: Tensor) -> Tensor:
        """Return this part of a map (H, W, C)."""
        return x[self.top : self.bottom, self.left : self.right]

    def within(self, other: Window) -> Window:
        """Return where it lies in another window that it is a part of."""
        y0, x0 = other.top, other.left
        return Window(self.top - y0, self.left - x0, self.bottom - y0, self.right - x0)

    def times(self, factor: int) -> Window:
        """Return the same part of a finer map."""
        return Window(*(factor * edge for edge in self))

    def grown(self, cells: int, side: int) -> Window:
        """Return it with more on each side, as far as the map reaches."""
        top, left = max(self.top - cells, 0), max(self.left - cells, 0)
        return Window(
            top, left, min(self.bottom + cells, side), min(self.right + cells, side)
        )

    def shrunk(self, cells: int, side: int) -> Window:
        """Return it with less on each side but where the map ends."""
        top, left = (edge + cells * (edge > 0) for edge in self[:2])
        bottom, right = (edge - cells * (edge < side) for edge in self[2:])
        return Window(top, left, bottom, right)


class ConvDrawing:
    """Draws masks of one prompt.

    Parameters
    ----------
    decoder : ConvMaskDecoder
    side : int
        Cells h = w along a side of the feature grid.
    """

    def __init__(self, decoder: ConvMaskDecoder, side: int) -> None:
        self._side = side
        self._to_fine = _weight(decoder.near_to_fine)
        self._to_finest = _weight(decoder.fine_to_finest)
        # A bias is the same on all cells, so it may be added after doubling.
        self._biases = tuple(
            layer.get_parameter("bias").detach()
            for layer in (decoder.near_to_fine, decoder.fine_to_finest)
        )
        self._weight = _weight(decoder.fine_prompts)
        self._centres = (torch.arange(2 * side) + 0.5) * FINE_STRIDE
        radii = torch.tensor(FINE_POINT_RADII)[:, None, None]
        self._narrowness = -0.5 / radii.square()
        self._block = FastBlock(decoder.fine_block)

    def arrange(self, high_res: Sequence[Tensor]) -> FineMaps:
        """Put the finer maps (1, C, H, W) of an image in order."""
        fine, finest = (
            part[0].permute(1, 2, 0) + bias
            for part, bias in zip(high_res, self._biases, strict=True)
        )
        return FineMaps(fine.contiguous(), finest.contiguous())

    def __call__(
        self,
        maps: FineMaps,
        cells: Tensor,
        coarse: Tensor,
        hyper: Tensor,
        places: Tensor,
        above: float | None = None,
    ) -> Tensor:
        """Draw k masks.

        Parameters
        ----------
        maps : FineMaps
            Of the image.
        cells : (n, C8) tensor
            What the prompts made of the image.
        coarse : (k, n) tensor
            Logits at stride 8.
        hyper : (k, C2 + 1) tensor
            Weights and bias of each mask.
        places : (T, 3) tensor
            x, y, label of the prompts.
        above : float or None
            If given, logits up to it may come out as any others up to it: what is
            unlikely to be above is not drawn. See `MARGIN`.

        Returns
        -------
        (k, 4h, 4w) tensor
        """
        side = self._side
        cells, coarse = cells.view(side, side, -1), coarse.view(-1, side, side)
        whole = Window(0, 0, side, side)
        wide = whole if above is None else _window(coarse, above - MARGIN)
        if above is None or wide == whole:
            return self._draw(maps, cells, coarse, hyper, places, whole)
        logits = coarse.new_full((len(coarse), 4 * side, 4 * side), above)
        if wide is None:
            return logits
        drawn = self._draw(maps, cells, coarse, hyper, places, wide)
        # At its rim a window lacks what lies beyond; there it is wrong.
        inner = wide.shrunk(1, side)
        if _adds_much(drawn, coarse, wide, inner):
            return self._draw(maps, cells, coarse, hyper, places, whole)
        top, left, bottom, right = inner.times(4)
        logits[:, top:bottom, left:right] = drawn
        return logits

    def _draw(
        self,
        maps: FineMaps,
        cells: Tensor,
        coarse: Tensor,
        hyper: Tensor,
        places: Tensor,
        wide: Window,
    ) -> Tensor:
        """Draw the inside of a window of cells, all but what is one cell from its rim.

        Cells are (h, w, C8), coarse logits (k, h, w).
        """
        inner = wide.shrunk(1, self._side)
        fine = self._fine(maps.fine, cells, places, wide)
        step = (fine.view(-1, fine.shape[-1]) @ self._to_finest).view(
            *fine.shape[:2], -1
        )
        weights, bias = hyper[:, :-1], hyper[:, -1]
        part = coarse[:, wide.top : wide.bottom, wide.left : wide.right]
        start = (part + bias[:, None, None])[None]
        logits = functional.interpolate(start, scale_factor=4.0, mode="bilinear")[0]
        top, left, bottom, right = inner.within(wide).times(4)
        logits = logits[:, top:bottom, left:right]
        finest_map = inner.times(4).of(maps.finest)
        rows, columns = inner.within(wide).times(2), logits.shape[2]
        n_rows = max(_BAND_PX // (2 * columns), 1)

        def draw_band(first: int) -> None:
            last = min(first + n_rows, rows.bottom)
            finest = _doubled(step, Window(first, rows.left, last, rows.right))
            band = slice(2 * (first - rows.top), 2 * (last - rows.top))
            finest += finest_map[band]
            finest.clamp_(min=0)
            pixels = finest.reshape(-1, finest.shape[-1])
            logits[:, band] += (weights @ pixels.t()).view(len(hyper), -1, columns)

        work_with_help(draw_band, range(rows.top, rows.bottom, n_rows))
        return logits

    def _fine(
        self, fine_map: Tensor, cells: Tensor, places: Tensor, wide: Window
    ) -> Tensor:
        """Make a window of the map at stride 4, (2h, 2w, C4).

        What lies beyond the window is nothing to the block's filter, as beyond the map:
        the outermost row is right only where the map ends.
        """
        around = wide.grown(1, self._side)
        near = around.of(cells)
        step = (near.reshape(-1, near.shape[-1]) @ self._to_fine).view(
            *near.shape[:2], -1
        )
        fine = _doubled(step, wide.within(around)).contiguous()
        fine += wide.times(2).of(fine_map)
        flat = fine.view(-1, fine.shape[-1])
        shown, weight = self._shown(places, wide)
        flat.addmm_(shown.flatten(1).t(), weight)
        self._block(as_map(fine), flat)
        return fine

    def _shown(self, places: Tensor, wide: Window) -> tuple[Tensor, Tensor]:
        """Prompts in a window at stride 4, (k, H, W) without maps of zeros; weights."""
        window = wide.times(2)
        listed = places.tolist()
        if len(listed) != 1 or listed[0][2] not in (0.0, 1.0):
            origin = places.new_tensor([window.left, window.top, 0]) * FINE_STRIDE
            shape = (window.bottom - window.top, window.right - window.left)
            return fine_maps((places - origin)[None], shape)[0], self._weight
        # What a single click shows is a row times a column, and nothing else.
        x, y, label = listed[0]
        ways = self._centres - self._centres.new_tensor([[x + 0.5], [y + 0.5]])
        across, down = torch.exp(ways.square() * self._narrowness).unbind(dim=1)
        shown = (
            down[:, window.top : window.bottom, None]
            * across[:, None, window.left : window.right]
        )
        first = 0 if label == 1.0 else len(FINE_POINT_RADII)
        return shown, self._weight[first : first + len(FINE_POINT_RADII)]


def _window(coarse: Tensor, above: float) -> Window | None:
    """Find what to draw of maps (k, h, w), with a rim; None if nothing is above."""
    side = coarse.shape[1]
    is_above = (coarse > above).any(dim=0)
    edges = []
    for axis in (1, 0):
        used = is_above.any(dim=axis).nonzero()[:, 0].tolist()
        if not used:
            return None
        # Coarse logits reach into the next cell, a mask's pixels are made of its
        # neighbours' logits, and the outermost cells of a window are wrong.
        edges.append(_rounded(used[0] - 3, used[-1] + 4, side))
    (top, bottom), (left, right) = edges
    return Window(top, left, bottom, right)


def _rounded(first: int, last: int, side: int) -> tuple[int, int]:
    """Make a range as long as one of few lengths, inside of 0 to side."""
    length = min(-(-(last - first) // _STEP) * _STEP, side)
    first = max(min(first, side - length), 0)
    return first, first + length


def _adds_much(drawn: Tensor, coarse: Tensor, wide: Window, inner: Window) -> bool:
    """Tell whether logits (k, 4h, 4w) exceed those of the cells around by much."""
    part = coarse[:, wide.top : wide.bottom, wide.left : wide.right]
    around = functional.max_pool2d(part, 3, stride=1, padding=1)
    top, left, bottom, right = inner.within(wide)
    height, width = bottom - top, right - left
    rows = drawn.reshape(-1, height, 4, 4 * width).amax(dim=2)
    finer = rows.view(-1, height, width, 4).amax(dim=3)
    return bool((finer - around[:, top:bottom, left:right]).max() > LIMIT)


def _doubled(x: Tensor, inner: Window) -> Tensor:
    """Double a part of x (H, W, C), as if all of it were there."""
    around = inner.grown(1, max(x.shape[:2]))  # slices end where x does
    part = as_map(around.of(x))
    out = functional.interpolate(part, scale_factor=2.0, mode="bilinear")
    return inner.within(around).times(2).of(out.permute(0, 2, 3, 1)[0])


def _weight(layer: torch.nn.Conv2d) -> Tensor:
    """Weight of a convolution of single pixels, (inputs, outputs)."""
    return layer.weight.detach().flatten(1).t().contiguous()
