# SPDX-License-Identifier: Apache-2.0
"""Dense prompts of single points that differ only by whole cells.

A point's dense prompt depends on nothing but the way from each place to the point. So
points at the same offset inside their cells, such as those of a grid, have the same
one, moved: windows of one map that reaches as far as any place is from any point. g
cells along a side of the grid, C channels.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_sam.acceleration.spatial_maps import Centres
from napari_sam.structures.lru_cache import LruCache

if TYPE_CHECKING:
    from napari_sam.acceleration.spatial_maps import SpatialMaps

# A map costs as much as four prompts: it is made for offsets that come again.
_ENOUGH = 3
_MAX_MAPS = 9  # of 8 MB each for the embedded model
_MAX_COUNTED = 4096
# Offsets are equal if they are so but for the rounding of coordinates in float32.
_PER_PIXEL = 2.0**14

_Offset = tuple[int, int]


class PointWindows:
    """Maps of offsets that came often.

    Parameters
    ----------
    maps : SpatialMaps
    grid_size : int
        Cells g along a side.
    stride : float
        Pixels of the frame along a side of a cell.
    """

    def __init__(self, maps: SpatialMaps, grid_size: int, stride: float) -> None:
        self._maps = maps
        self._grid_size = grid_size
        self._stride = stride
        self._counts: Counter[_Offset] = Counter()
        self._made: LruCache[Tensor] = LruCache(_MAX_MAPS)

    def find(self, point_xy: Tensor) -> Tensor | None:
        """Return the dense prompt of one foreground point, less its constant part.

        Parameters
        ----------
        point_xy : (2,) tensor
            In pixels of the frame.

        Returns
        -------
        (g, g, C) tensor or None
            None if the offset is rare or the point outside the frame.
        """
        size, stride = self._grid_size, self._stride
        x, y = (value + 0.5 for value in point_xy.tolist())
        column, row = int(x // stride), int(y // stride)
        if not (0 <= column < size and 0 <= row < size):
            return None
        across, down = x - column * stride, y - row * stride
        offset = round(across * _PER_PIXEL), round(down * _PER_PIXEL)
        whole = self._made.get(offset)
        if whole is None:
            if not self._is_frequent(offset):
                return None
            whole = self._make(across, down)
            self._made.put(offset, whole)
        top, left = size - 1 - row, size - 1 - column
        return whole[top : top + size, left : left + size]

    def _is_frequent(self, offset: _Offset) -> bool:
        """Count an offset; tell whether it came often enough for a map."""
        if len(self._counts) > _MAX_COUNTED:
            self._counts.clear()
        self._counts[offset] += 1
        return self._counts[offset] >= _ENOUGH

    def _make(self, across: float, down: float) -> Tensor:
        """Return the map (2g - 1, 2g - 1, C) around a point in the middle cell."""
        size, stride = self._grid_size, self._stride
        side = 2 * size - 1
        centres = (torch.arange(side) - (size - 1)) * stride + stride / 2
        # The point's own coordinates are those of the first cell's corner.
        point = torch.tensor([[across - 0.5, down - 0.5]])
        hidden = self._maps.hidden(
            (point, torch.ones(1, dtype=torch.int64)),
            None,
            Centres(centres[:, None], centres[None]),
        )
        return (hidden @ self._maps.spread).view(side, side, -1)
