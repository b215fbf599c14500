# SPDX-License-Identifier: Apache-2.0
"""The masks of all tiles: facts in memory, pixels read when they are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.structures.geometry import intersect_boxes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_sam.prediction.tiling import TilePlan
    from napari_sam.structures.arrays import BoolMask, HalfOpenBox
    from napari_sam.structures.candidates import MaskRecord
    from napari_sam.structures.tile_result import TileResults

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Parts:
    """Facts about the n masks of all tiles, tile by tile, without their pixels.

    Attributes
    ----------
    first : (n_tiles + 1,) int array
        Masks of tile t are ``first[t]`` to ``first[t + 1]``.
    tile : (n,) int array
        Number of the tile.
    bbox : (n, 4) int array
        Half-open boxes in the image.
    area : (n,) int array
        Pixels.
    scores : (n, 2) float array
        Predicted IoU and stability score.
    is_cut, is_doubtful : (n,) bool array
        See `TileResult`.
    """

    first: Ints
    tile: Ints
    bbox: Ints
    area: Ints
    scores: Floats
    is_cut: Flags
    is_doubtful: Flags

    def of_tile(self, number: int) -> range:
        """Return the masks of a tile."""
        return range(int(self.first[number]), int(self.first[number + 1]))


class PartMasks:
    """Pixels of masks, read from the results of their tiles when they are wanted."""

    def __init__(self, results: TileResults, parts: Parts) -> None:
        self._results = results
        self._parts = parts

    def record(self, part: int) -> tuple[MaskRecord, HalfOpenBox]:
        """Return a mask in the frame of its tile, and the tile's box."""
        tile = int(self._parts.tile[part])
        result = self._results.get(tile)
        if result is None:
            msg = f"The result of tile {tile} was there and is gone."
            raise LookupError(msg)
        return result.records[part - int(self._parts.first[tile])], result.box

    def window(self, part: int, box: HalfOpenBox) -> BoolMask:
        """Return the pixels of a mask in a box of the image, (h, w) bool."""
        return self.union([part], box)

    def union(self, parts: Sequence[int], box: HalfOpenBox) -> BoolMask:
        """Return the pixels of several masks together in a box of the image."""
        window = np.zeros((box[2] - box[0], box[3] - box[1]), dtype=np.bool_)
        for part in parts:
            record, tile = self.record(part)
            _add_window(window, box, record, tile)
        return window


def _add_window(
    window: BoolMask, box: HalfOpenBox, record: MaskRecord, tile: HalfOpenBox
) -> None:
    """Set the pixels of a tile's mask in a window of the image that lies at a box."""
    y, x = tile[:2]
    y0, x0, y1, x1 = record.bbox
    shared = intersect_boxes(box, (y0 + y, x0 + x, y1 + y, x1 + x))
    if shared is None:
        return
    y0, x0, y1, x1 = shared
    here = window[y0 - box[0] : y1 - box[0], x0 - box[1] : x1 - box[1]]
    here |= record.rle.decode_window((y0 - y, x0 - x, y1 - y, x1 - x))


def list_parts(plan: TilePlan, results: TileResults) -> Parts:
    """Collect what is known of the masks of all tiles.

    Parameters
    ----------
    plan : TilePlan
        Where the tiles lie.
    results : TileResults
        Tiles without a result count as empty.

    Returns
    -------
    Parts
    """
    counts = np.zeros(len(plan), dtype=np.int64)
    bboxes = [np.zeros((0, 4), dtype=np.int64)]
    areas = [np.zeros(0, dtype=np.int64)]
    scores = [np.zeros((0, 2), dtype=np.float64)]
    flags = [np.zeros((0, 2), dtype=np.bool_)]
    for number in range(len(plan)):
        result = results.get(number)
        if result is None or not result.records:
            continue
        records = result.records
        counts[number] = len(records)
        corner = np.array(result.box[:2] * 2)
        bboxes.append(np.array([record.bbox for record in records]) + corner)
        areas.append(np.array([record.area for record in records]))
        scores.append(np.array([(r.predicted_iou, r.stability_score) for r in records]))
        flags.append(np.stack([result.is_cut, result.is_doubtful], axis=-1))
    is_cut, is_doubtful = np.concatenate(flags).T
    return Parts(
        first=np.concatenate([[0], np.cumsum(counts)]),
        tile=np.repeat(np.arange(len(plan)), counts),
        bbox=np.concatenate(bboxes),
        area=np.concatenate(areas),
        scores=np.concatenate(scores),
        is_cut=is_cut,
        is_doubtful=is_doubtful,
    )


def as_box(sides: Ints) -> HalfOpenBox:
    """Return a row of a table of boxes as a box."""
    y0, x0, y1, x1 = sides.tolist()
    return y0, x0, y1, x1
