# SPDX-License-Identifier: Apache-2.0
"""Run-length encoded masks in the COCO order.

Pixels are read down the columns first. Counts alternate between background and object
and begin with background, so a mask whose first pixel is set begins with 0. A record of
the automatic mode costs a few hundred bytes this way, whatever the size of its image.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam.structures.arrays import BoolMask, HalfOpenBox

_Indices = npt.NDArray[np.int64]
_STRIP_PX = 1 << 17  # pixels of a window that are looked at together


@dataclass(frozen=True, eq=False)
class Rle:
    """One mask as runs.

    Attributes
    ----------
    size : (H, W)
        Shape of the plane.
    counts : (n,) int64 array
        Lengths of the runs, background first; they add up to ``H * W``.
    """

    size: tuple[int, int]
    counts: _Indices

    def __post_init__(self) -> None:
        """Refuse counts that do not describe a plane of this size."""
        total = int(self.counts.sum())
        if total != self.size[0] * self.size[1] or bool((self.counts < 0).any()):
            msg = (
                f"Run lengths add up to {total} pixels, but a mask of shape "
                f"{self.size} has {self.size[0] * self.size[1]}."
            )
            raise ValueError(msg)

    def __eq__(self, other: object) -> bool:
        """Compare sizes and runs."""
        if not isinstance(other, Rle):
            return NotImplemented
        return self.size == other.size and np.array_equal(self.counts, other.counts)

    def __hash__(self) -> int:
        """Hash of size and runs."""
        return hash((self.size, self.counts.tobytes()))

    @cached_property
    def area(self) -> int:
        """Number of object pixels."""
        return int(self.counts[1::2].sum())

    def decode(self) -> BoolMask:
        """Return the whole mask, ``(H, W)`` bool."""
        return self.decode_window((0, 0, *self.size))

    def decode_window(self, box_yx: HalfOpenBox) -> BoolMask:
        """Return the part of the mask in a box, without making the rest.

        Parameters
        ----------
        box_yx : (y0, x0, y1, x1)
            Half-open box inside the plane.

        Returns
        -------
        (y1 - y0, x1 - x0) bool array
        """
        y0, x0, y1, x1 = box_yx
        height = self.size[0]
        starts, stops = self._object_runs()
        first, last = x0 * height, x1 * height
        steps = np.zeros(last - first + 1, dtype=np.int8)
        wanted = (stops > first) & (starts < last)
        # Foreign counts may hold empty gaps: a stop and a start then share a place.
        np.add.at(steps, np.maximum(starts[wanted], first) - first, 1)
        np.add.at(steps, np.minimum(stops[wanted], last) - first, -1)
        columns = np.cumsum(steps[:-1], dtype=np.int8).astype(np.bool_)
        return np.ascontiguousarray(columns.reshape(x1 - x0, height)[:, y0:y1].T)

    def bounding_box(self) -> HalfOpenBox | None:
        """Return the smallest half-open box around the object, None if empty."""
        starts, stops = self._object_runs()
        if starts.size == 0:
            return None
        height = self.size[0]
        x0, x1 = int(starts[0]) // height, (int(stops[-1]) - 1) // height + 1
        first_rows, last_rows = starts % height, (stops - 1) % height
        # A run that goes on in the next column reaches the bottom and the top.
        if bool((starts // height != (stops - 1) // height).any()):
            return 0, x0, height, x1
        return int(first_rows.min()), x0, int(last_rows.max()) + 1, x1

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"size": [H, W], "counts": [...]}`` of plain integers."""
        return {"size": list(self.size), "counts": self.counts.tolist()}

    def to_coco(self) -> dict[str, Any]:
        """Return ``{"size": [H, W], "counts": "..."}`` with COCO's compressed text."""
        return {"size": list(self.size), "counts": _compress_counts(self.counts)}

    def _object_runs(self) -> tuple[_Indices, _Indices]:
        """Return where object runs start and stop in the column-major plane."""
        ends = np.cumsum(self.counts)
        stops = ends[1::2]
        starts = ends[0::2][: stops.size]
        filled = stops > starts
        return starts[filled], stops[filled]


def encode(mask: BoolMask) -> Rle:
    """Encode a whole mask.

    Parameters
    ----------
    mask : (H, W) bool array
        One mask.

    Returns
    -------
    Rle
    """
    return encode_window(mask, 0, 0, (mask.shape[0], mask.shape[1]))


def encode_window(window: BoolMask, y0: int, x0: int, size: tuple[int, int]) -> Rle:
    """Encode a mask that is empty outside a window, without making the whole plane.

    Parameters
    ----------
    window : (h, w) bool array
        Content of the window; it must lie inside the plane.
    y0, x0 : int
        Upper left pixel of the window.
    size : (H, W)
        Shape of the plane.

    Returns
    -------
    Rle
    """
    height, width = size
    h, w = window.shape
    if y0 < 0 or x0 < 0 or y0 + h > height or x0 + w > width:
        msg = f"A window of {(h, w)} at {(y0, x0)} does not lie in a plane of {size}."
        raise ValueError(msg)
    rows, columns = _edges_down(np.ascontiguousarray(window))
    edges = np.sort((columns + x0) * height + rows + y0)
    if h == height:
        # Where one column ends and the next begins within the object, there is no edge.
        is_double = edges[1:] == edges[:-1]
        is_edge = np.ones(edges.size, dtype=np.bool_)
        is_edge[1:][is_double] = False
        is_edge[:-1][is_double] = False
        edges = edges[is_edge]
    bounds = np.concatenate(([0], edges, [height * width])).astype(np.int64)
    counts = np.diff(bounds)
    if counts.size > 1 and counts[-1] == 0:
        counts = counts[:-1]
    return Rle(size=(height, width), counts=counts)


def _edges_down(window: BoolMask) -> tuple[_Indices, _Indices]:
    """Return rows and columns where runs down the columns begin or end.

    A run that begins with row i or ends before it has an edge at i. Rows are compared
    with their neighbours, strip by strip, so that no copy of a large window is made.
    """
    h, w = window.shape
    if window.size == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    top, bottom = np.flatnonzero(window[0]), np.flatnonzero(window[-1])
    rows = [np.zeros(top.size, dtype=np.int64), np.full(bottom.size, h)]
    columns = [top, bottom]
    step = max(1, _STRIP_PX // w)
    for start in range(1, h, step):
        stop = min(start + step, h)
        is_edge = np.zeros(-(-(stop - start) * w // 8) * 8, dtype=np.bool_)
        strip = is_edge[: (stop - start) * w].reshape(-1, w)
        np.not_equal(window[start:stop], window[start - 1 : stop - 1], out=strip)
        row, column = np.divmod(_places(is_edge), w)
        rows.append(row + start)
        columns.append(column)
    return np.concatenate(rows), np.concatenate(columns)


def _places(flags: npt.NDArray[np.bool_]) -> _Indices:
    """Return where flags are set; eight at a time, for few of them are."""
    eights = np.flatnonzero(flags.view(np.uint64))
    which, place = np.nonzero(flags.reshape(-1, 8)[eights])
    return eights[which] * 8 + place


def _compress_counts(counts: _Indices) -> str:
    """Write counts as COCO text: steps from the count two back, five bits a letter."""
    letters = []
    values = counts.tolist()
    for position, count in enumerate(values):
        rest = count - values[position - 2] if position > 2 else count
        while True:
            bits = rest & 0x1F
            rest >>= 5
            is_last = rest == (-1 if bits & 0x10 else 0)
            letters.append(chr(48 + bits + (0 if is_last else 0x20)))
            if is_last:
                break
    return "".join(letters)
