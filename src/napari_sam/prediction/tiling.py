# SPDX-License-Identifier: Apache-2.0
"""Large images as overlapping tiles: where they lie, and which show the same pixels."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from napari_sam.prediction.label_painting import touched_sides
from napari_sam.structures.arrays import HalfOpenBox
from napari_sam.structures.settings import LabelSettings

# Images whose long side exceeds the model's frame by this factor are cut into tiles.
TILE_FROM = 1.5

_Range = tuple[int, int]


@dataclass(frozen=True)
class TilePlan:
    """Square tiles of one size that cover an image; they are numbered row by row.

    Attributes
    ----------
    shape : (H, W)
        Size of the image.
    rows, columns : tuple of (start, stop)
        Where the tiles lie along each side, in rising order.
    """

    shape: tuple[int, int]
    rows: tuple[_Range, ...]
    columns: tuple[_Range, ...]

    def __len__(self) -> int:
        """Return the number of tiles."""
        return len(self.rows) * len(self.columns)

    def box(self, number: int) -> HalfOpenBox:
        """Return the half-open box of a tile."""
        row, column = divmod(number, len(self.columns))
        (y0, y1), (x0, x1) = self.rows[row], self.columns[column]
        return y0, x0, y1, x1

    @property
    def tile_size(self) -> tuple[int, int]:
        """Height and width of every tile."""
        (y0, y1), (x0, x1) = self.rows[0], self.columns[0]
        return y1 - y0, x1 - x0

    def touching(self, box: HalfOpenBox) -> list[int]:
        """Return the numbers of the tiles that show a part of a box, rising."""
        y0, x0, y1, x1 = box
        rows = _between(self._row_ends, (y0, y1))
        columns = _between(self._column_ends, (x0, x1))
        return [row * len(self.columns) + column for row in rows for column in columns]

    def later_neighbours(self, number: int) -> Iterator[int]:
        """Yield the tiles of higher number that show pixels of this one, rising."""
        return (other for other in self.touching(self.box(number)) if other > number)

    @cached_property
    def _row_ends(self) -> tuple[list[int], list[int]]:
        return [start for start, _ in self.rows], [stop for _, stop in self.rows]

    @cached_property
    def _column_ends(self) -> tuple[list[int], list[int]]:
        return [start for start, _ in self.columns], [stop for _, stop in self.columns]


def plan_tiles(shape: tuple[int, int], side: int | None, overlap_px: int) -> TilePlan:
    """Lay out square tiles that cover an image.

    Parameters
    ----------
    shape : (H, W)
        Size of the image.
    side : int or None
        Side of a tile in pixels; shorter where the image is. None makes one tile of the
        whole image.
    overlap_px : int
        Least overlap of neighbours; less than `side`.

    Returns
    -------
    TilePlan
    """
    if side is None:
        return TilePlan(shape, ((0, shape[0]),), ((0, shape[1]),))
    rows, columns = (_tile_ranges(length, side, overlap_px) for length in shape)
    return TilePlan(shape, tuple(rows), tuple(columns))


def plan_for(shape: tuple[int, int], settings: LabelSettings, frame: int) -> TilePlan:
    """Lay out the tiles that settings ask for.

    Parameters
    ----------
    shape : (H, W)
        Size of the image.
    settings : LabelSettings
        Side and overlap of the tiles.
    frame : int
        Side of the frame that the model sees, for ``tile="auto"``.

    Returns
    -------
    TilePlan
    """
    side = settings.tile
    if side == "auto":
        side = frame if max(shape) > TILE_FROM * frame else None
    return plan_tiles(shape, side, int(settings.tile_overlap * (side or 0)))


def tile_boxes(shape: tuple[int, int], side: int, overlap_px: int) -> list[HalfOpenBox]:
    """Return the boxes of `plan_tiles`, row by row."""
    plan = plan_tiles(shape, side, overlap_px)
    return [plan.box(number) for number in range(len(plan))]


def is_cut_by_tile(
    bbox: HalfOpenBox, tile: HalfOpenBox, shape: tuple[int, int]
) -> bool:
    """Tell whether a mask reaches a border of its tile that is not the image's.

    Parameters
    ----------
    bbox, tile : (y0, x0, y1, x1)
        Half-open boxes in the image.
    shape : (H, W)
        Size of the image.

    Returns
    -------
    bool
    """
    at_tile = touched_sides(bbox, tile)
    inner = _inner_sides(tile, shape)
    return any(near and inside for near, inside in zip(at_tile, inner, strict=True))


def leaves_tile_only(
    bbox: HalfOpenBox, tile: HalfOpenBox, shape: tuple[int, int]
) -> bool:
    """Tell whether all sides of its tile that a mask reaches are inside the image.

    Parameters
    ----------
    bbox, tile : (y0, x0, y1, x1)
        Half-open boxes in the image.
    shape : (H, W)
        Size of the image.

    Returns
    -------
    bool
    """
    at_tile = touched_sides(bbox, tile)
    inner = _inner_sides(tile, shape)
    return all(inside for near, inside in zip(at_tile, inner, strict=True) if near)


def _inner_sides(tile: HalfOpenBox, shape: tuple[int, int]) -> list[bool]:
    """Tell which sides of a tile are not the image's: top, left, bottom, right."""
    return [side != end for side, end in zip(tile, (0, 0, *shape), strict=True)]


def _tile_ranges(length: int, side: int, overlap_px: int) -> list[_Range]:
    """Cut one side of an image into evenly spaced ranges of a tile's length."""
    if length <= side:
        return [(0, length)]
    n_tiles = int(np.ceil((length - overlap_px) / (side - overlap_px)))
    starts = np.linspace(0, length - side, n_tiles).round().astype(int).tolist()
    return [(start, start + side) for start in starts]


def _between(ends: tuple[list[int], list[int]], wanted: _Range) -> range:
    """Return which of several rising ranges overlap another one."""
    starts, stops = ends
    return range(bisect_right(stops, wanted[0]), bisect_left(starts, wanted[1]))
