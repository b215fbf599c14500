# SPDX-License-Identifier: Apache-2.0
"""Enlarging logits only where the mask is.

Bilinear enlarging averages neighbours: where none of the low-resolution logits that a
pixel depends on exceeds a threshold, the pixel does not exceed it either. So only the
window around the logits above the threshold has to be enlarged; the cost goes with the
size of the object instead of the size of the image. Both steps of `upscale_logits`
are one matrix for rows and one for columns, and a window needs few of their entries.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_sam.modeling.device import compute_in
from napari_sam.prediction.transforms import (
    FrameTransform,
    axis_matrix,
    interpolation_matrix,
    interpolation_sources,
)
from napari_sam.structures.arrays import HalfOpenBox

# Matrices are multiplied in strips of this many rows: a strip depends on few samples.
_STRIP = 256
_STRIP_PX = 1 << 16  # pixels of a strip of a window: a quarter of a megabyte

# Larger matrices are not kept: rows that a window needs are made for it.
_MAX_KEPT = 1 << 22

MAX_WINDOW_PX = 1 << 28
"""Windows of more pixels are not made: they would fill the memory. Of an image that is
so large, they are background nearly always."""


@dataclass(frozen=True, slots=True)
class LogitWindow:
    """Enlarged logits of one mask inside a window of the plane.

    Attributes
    ----------
    values : (h, w) float32 tensor
        Logits; everything outside the window is at most the threshold asked for.
    y0, x0 : int
        Upper left pixel of the window in the plane.
    """

    values: Tensor
    y0: int
    x0: int

    @property
    def shape(self) -> tuple[int, int]:
        """Size (h, w) of the window."""
        return self.values.shape[0], self.values.shape[1]

    def strips(self) -> Iterator[tuple[int, Tensor]]:
        """Yield first rows and values, from top to bottom."""
        yield 0, self.values


class EnlargedWindow:
    """A `LogitWindow` that is enlarged while somebody goes through its strips.

    Parameters
    ----------
    rows : _Axis
        How rows are enlarged.
    wide : (n, w) float32 tensor
        Samples, enlarged along rows already.
    first : int
        Number of the first sample.
    box : (y0, x0, y1, x1)
        The window in the plane.
    """

    def __init__(
        self, rows: "_Axis", wide: Tensor, first: int, box: HalfOpenBox
    ) -> None:
        self._rows = rows
        self._wide = wide
        self._first = first
        self.y0, self.x0, self._y1, self._x1 = box

    @property
    def shape(self) -> tuple[int, int]:
        """Size (h, w) of the window."""
        return self._y1 - self.y0, self._x1 - self.x0

    @property
    def values(self) -> Tensor:
        """All of the window, (h, w)."""
        return self._rows.enlarge_rows(self._wide, self.y0, self._y1, self._first)

    def strips(self) -> Iterator[tuple[int, Tensor]]:
        """Yield first rows and values, from top to bottom.

        On a CPU a strip lies in the memory of the one before it, and that in a cache.
        """
        if self._wide.device.type != "cpu":
            yield 0, self.values
            return
        width = self.shape[1]
        n_rows = min(max(_STRIP_PX // width, 16), self.shape[0])
        memory = self._wide.new_empty(n_rows, width)
        for start in range(self.y0, self._y1, n_rows):
            stop = min(start + n_rows, self._y1)
            first, last = self._rows.samples_of(start, stop)
            weights = self._rows.weights(start, stop, first, last)
            samples = self._wide[first - self._first : last - self._first]
            strip = memory[: stop - start]
            with compute_in(torch.float32, strip.device):
                torch.mm(weights, samples, out=strip)
            yield start - self.y0, strip


class _Axis(ABC):
    """Enlarging along one axis, restricted to ranges.

    Attributes
    ----------
    first, stop : (n,) int64 arrays
        Range of samples that each pixel depends on.
    """

    first: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]

    @abstractmethod
    def weights(self, start: int, stop: int, first: int, last: int) -> Tensor:
        """Return the weights of a range of samples in a range of pixels, float32."""

    def pixels_of(self, first_sample: int, stop_sample: int) -> tuple[int, int]:
        """Return the range of pixels that depend on any of these samples."""
        start = int(np.searchsorted(self.stop, first_sample, side="right"))
        stop = int(np.searchsorted(self.first, stop_sample, side="left"))
        return start, max(start, stop)

    def samples_of(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range of samples that a range of pixels depends on."""
        return int(self.first[start]), int(self.stop[stop - 1])

    def enlarge_rows(
        self, samples: Tensor, start: int, stop: int, offset: int = 0
    ) -> Tensor:
        """Return ``matrix[start:stop] @ samples``.

        ``samples`` is (n, w) and begins with sample number ``offset``.
        """
        strips = []
        for row in range(start, stop, _STRIP):
            end = min(row + _STRIP, stop)
            first, last = self.samples_of(row, end)
            weights = self.weights(row, end, first, last)
            with compute_in(torch.float32, samples.device):
                strips.append(weights @ samples[first - offset : last - offset])
        return strips[0] if len(strips) == 1 else torch.cat(strips)


class _KeptAxis(_Axis):
    """Enlarging by a matrix that is kept on the model's device."""

    def __init__(self, matrix: npt.NDArray[np.float32], device: torch.device) -> None:
        self.first, self.stop = _used_samples(matrix)
        self._matrix = torch.from_numpy(matrix).to(device)

    def weights(self, start: int, stop: int, first: int, last: int) -> Tensor:
        return self._matrix[start:stop, first:last]


class _LongAxis(_Axis):
    """Enlarging to so many pixels that a matrix for all of them would be too large.

    Of the two steps, to the frame and to the pixels, only the first is kept.
    """

    def __init__(
        self,
        n_low: int,
        frame: int,
        n_input: int,
        n_original: int,
        device: torch.device,
    ) -> None:
        self._device = device
        self._to_frame = interpolation_matrix(n_low, frame)[:n_input]
        self._sources = interpolation_sources(n_input, n_original)
        first, stop = _used_samples(self._to_frame)
        before, after, weight = self._sources
        self.first = np.where(weight < 1, first[before], first[after])
        self.stop = np.where(weight > 0, stop[after], stop[before])

    def weights(self, start: int, stop: int, first: int, last: int) -> Tensor:
        before, after, weight = (values[start:stop] for values in self._sources)
        nearest = self._to_frame[:, first:last]
        share = weight[:, None]
        rows = (1 - share) * nearest[before] + share * nearest[after]
        return torch.from_numpy(rows.astype(np.float32)).to(self._device)


def _used_samples(
    matrix: npt.NDArray[np.floating],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the range of columns of each row that are not 0."""
    is_used = matrix != 0
    return is_used.argmax(axis=1), matrix.shape[1] - is_used[:, ::-1].argmax(axis=1)


class LogitWindows:
    """Enlarges logits to one plane, window by window.

    Parameters
    ----------
    low_size : (a, b)
        Low-resolution samples of the frame, padding included.
    transform : FrameTransform
        Where the plane lies in the frame.
    device : torch.device
        Where the logits are.
    """

    def __init__(
        self,
        low_size: tuple[int, int],
        transform: FrameTransform,
        device: torch.device,
    ) -> None:
        self.size = transform.original_size
        self._rows, self._columns = (
            _axis(low, transform.frame, in_frame, original, device)
            for low, in_frame, original in zip(
                low_size, transform.input_size, transform.original_size, strict=True
            )
        )

    def window(self, logits: Tensor, box: HalfOpenBox | None) -> EnlargedWindow | None:
        """Enlarge the part of one mask that can exceed a threshold.

        Parameters
        ----------
        logits : (a, b) float32 tensor
            Low-resolution logits.
        box : (y0, x0, y1, x1) or None
            Half-open box around the samples above the threshold, of `sample_boxes`.

        Returns
        -------
        EnlargedWindow or None
            None if nothing in the plane can exceed the threshold, and for a window of
            more than `MAX_WINDOW_PX` pixels.
        """
        if box is None:
            return None
        y0, y1 = self._rows.pixels_of(box[0], box[2])
        x0, x1 = self._columns.pixels_of(box[1], box[3])
        if not 0 < (y1 - y0) * (x1 - x0) <= MAX_WINDOW_PX:
            return None
        first, last = self._rows.samples_of(y0, y1)
        wide = self._columns.enlarge_rows(logits[first:last].T, x0, x1).T
        return EnlargedWindow(self._rows, wide, first, (y0, x0, y1, x1))


def _axis(
    n_low: int, frame: int, n_input: int, n_original: int, device: torch.device
) -> _Axis:
    if n_low * n_original > _MAX_KEPT:
        return _LongAxis(n_low, frame, n_input, n_original, device)
    return _KeptAxis(axis_matrix(n_low, frame, n_input, n_original), device)


def sample_boxes(logits: Tensor, threshold: float) -> list[HalfOpenBox | None]:
    """Find the samples above a threshold, for many masks with one transfer.

    Parameters
    ----------
    logits : (n, a, b) tensor
        Low-resolution logits.
    threshold : float
        Logit.

    Returns
    -------
    list of n half-open boxes in samples, None where no sample is above.
    """
    above = logits > threshold
    rows = above.any(dim=2).cpu().numpy()
    columns = above.any(dim=1).cpu().numpy()
    return [_range_box(row, column) for row, column in zip(rows, columns, strict=True)]


def _range_box(
    rows: npt.NDArray[np.bool_], columns: npt.NDArray[np.bool_]
) -> HalfOpenBox | None:
    """Return the half-open box of occupied rows and columns."""
    y, x = np.flatnonzero(rows), np.flatnonzero(columns)
    if y.size == 0:
        return None
    return int(y[0]), int(x[0]), int(y[-1]) + 1, int(x[-1]) + 1
