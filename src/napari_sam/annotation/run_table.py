# SPDX-License-Identifier: Apache-2.0
"""Runs of many masks in one table: painted and looked up without decoding any mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam.structures.rle import encode_window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.structures.arrays import BoolMask, HalfOpenBox
    from napari_sam.structures.candidates import MaskRecord
    from napari_sam.structures.rle import Rle

Indices = npt.NDArray[np.int64]

_AT_ONCE_PX = 1_000_000
"""Masks are painted in portions of about so many pixels, which bounds the memory."""


class RunTable:
    """Masks of one plane as runs down its columns.

    A few numbers per column of a mask are kept, whatever its area; painting thousands
    of masks is one assignment.

    Parameters
    ----------
    records : sequence of n MaskRecord
        In the plane's frame. Their order is the masks' numbering, from 0.
    shape : (H, W)
        Size of the plane.
    outline_px : int
        If not 0, only this much of each mask along its inner edge is in the table.
    """

    def __init__(
        self,
        records: Sequence[MaskRecord],
        shape: tuple[int, int],
        outline_px: int = 0,
    ) -> None:
        self.shape = shape
        rles = [_outline(r, outline_px) if outline_px else r.rle for r in records]
        runs = [_object_runs(rle) for rle in rles]
        counts = np.array([len(starts) for starts, _ in runs], dtype=np.int64)
        self._starts = _joined([starts for starts, _ in runs])
        self._stops = _joined([stops for _, stops in runs])
        self._firsts = np.concatenate(([0], np.cumsum(counts)))
        self._owners = np.repeat(np.arange(len(runs)), counts)
        self._boxes = np.array([r.bbox for r in records], np.int64).reshape(-1, 4)
        self.areas = np.array([record.area for record in records], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.areas)

    def touching(self, box: HalfOpenBox) -> list[int]:
        """Masks whose box has pixels in common with a box."""
        return np.flatnonzero(boxes_touch(self._boxes, box)).tolist()

    def paint(self, canvas: npt.NDArray[Any], values: npt.ArrayLike) -> None:
        """Draw masks, small ones over large ones, over what is there.

        Parameters
        ----------
        canvas : (H, W) array
            Changed in place. Drawing is fast if its memory runs down the columns
            (``order="F"``).
        values : (n,) array-like
            What each mask is drawn with; masks of value 0 are not drawn.
        """
        values = np.asarray(values)
        wanted = np.flatnonzero(values)
        order = wanted[np.argsort(-self.areas[wanted], kind="stable")]
        flat = canvas.T.reshape(-1)  # a view if the memory runs down the columns
        for part in self._portions(order):
            pixels, owners = self._pixels(part)
            flat[pixels] = values[owners]
        if not np.shares_memory(flat, canvas):
            canvas[...] = flat.reshape(canvas.T.shape).T

    def at(self, yx: tuple[int, int], is_wanted: BoolMask) -> int | None:
        """Find the mask under a pixel; of several, the smallest.

        Parameters
        ----------
        yx : (y, x)
            A pixel of the plane.
        is_wanted : (n,) bool array
            Masks that count.

        Returns
        -------
        int or None
            Its number.
        """
        y, x = yx
        if not (0 <= y < self.shape[0] and 0 <= x < self.shape[1]):
            return None
        y0, x0, y1, x1 = self._boxes.T
        is_near = is_wanted & (y0 <= y) & (y < y1) & (x0 <= x) & (x < x1)
        place = x * self.shape[0] + y
        near = np.flatnonzero(is_near)
        for number in near[np.argsort(self.areas[near], kind="stable")].tolist():
            first, last = self._firsts[number], self._firsts[number + 1]
            starts = self._starts[first:last]
            before = int(np.searchsorted(starts, place, side="right")) - 1
            if before >= 0 and place < self._stops[first + before]:
                return int(number)
        return None

    def count_inside(self, region: npt.NDArray[Any]) -> Indices:
        """Count the pixels of every mask where a (H, W) array is not 0, (n,)."""
        counts = np.zeros(len(self), dtype=np.int64)
        for part in self._portions(np.arange(len(self))):
            pixels, owners = self._pixels(part)
            columns, rows = np.divmod(pixels, self.shape[0])
            counts += np.bincount(
                owners[region[rows, columns] != 0], minlength=len(self)
            )
        return counts

    def _portions(self, numbers: Indices) -> list[Indices]:
        """Split masks, in their order, into groups of a bounded number of pixels."""
        portion = np.cumsum(self.areas[numbers]) // _AT_ONCE_PX
        return np.split(numbers, np.flatnonzero(np.diff(portion)) + 1)

    def _pixels(self, numbers: Indices) -> tuple[Indices, Indices]:
        """Places of all pixels of some masks, column by column, and whose they are."""
        n_runs = np.diff(self._firsts)[numbers]
        runs = _ranges(self._firsts[:-1][numbers], n_runs)
        lengths = (self._stops - self._starts)[runs]
        pixels = _ranges(self._starts[runs], lengths)
        return pixels, np.repeat(self._owners[runs], lengths)


def crop_of(record: MaskRecord) -> BoolMask:
    """Return a mask inside its box, at a cost that depends on its own area only."""
    y0, x0, y1, x1 = record.bbox
    starts, stops = _object_runs(record.rle)
    columns, rows = np.divmod(_ranges(starts, stops - starts), record.rle.size[0])
    crop: BoolMask = np.zeros((y1 - y0, x1 - x0), dtype=np.bool_)
    crop[rows - y0, columns - x0] = True
    return crop


def boxes_touch(boxes: Indices, box: HalfOpenBox) -> BoolMask:
    """Tell which half-open boxes, (n, 4), have pixels in common with one, (n,)."""
    y0, x0, y1, x1 = boxes.T
    is_beside = (y0 >= box[2]) | (y1 <= box[0]) | (x0 >= box[3]) | (x1 <= box[1])
    return np.asarray(~is_beside)


def _outline(record: MaskRecord, width: int) -> Rle:
    """Return the pixels of a mask that are near its edge."""
    crop = crop_of(record)
    if not crop.size:
        return record.rle
    y0, x0 = record.bbox[:2]
    depth = np.pad(crop, width)
    h, w = crop.shape
    inside = crop.copy()
    for dy, dx in ((0, width), (2 * width, width), (width, 0), (width, 2 * width)):
        inside &= depth[dy : dy + h, dx : dx + w]
    return encode_window(crop & ~inside, y0, x0, record.rle.size)


def _object_runs(rle: Rle) -> tuple[Indices, Indices]:
    """First places and places after the last of a mask's runs."""
    bounds = np.cumsum(rle.counts)
    starts, stops = bounds[:-1:2], bounds[1::2]
    return starts[: len(stops)], stops


def _joined(parts: list[Indices]) -> Indices:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _ranges(starts: Indices, lengths: Indices) -> Indices:
    """Whole numbers of many ranges, one range after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if ends.size else 0
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(total)
