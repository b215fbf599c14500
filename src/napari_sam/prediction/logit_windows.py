# SPDX-License-Identifier: Apache-2.0
"""Enlarging logits only where the mask is.

Bilinear enlarging averages neighbours: where none of the low-resolution logits that a
pixel depends on exceeds a threshold, the pixel does not exceed it either. So only the
window around the logits above the threshold has to be enlarged; the cost goes with the
size of the object instead of the size of the image. Both steps of `upscale_logits`
are one matrix for rows and one for columns, and a window needs few of their entries.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_sam.prediction.transforms import FrameTransform, axis_matrix
from napari_sam.structures.arrays import HalfOpenBox

# Matrices are multiplied in strips of this many rows: a strip depends on few samples.
_STRIP = 256


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


class _Axis:
    """Enlarging along one axis, restricted to ranges."""

    def __init__(self, matrix: npt.NDArray[np.float32], device: torch.device) -> None:
        is_used = matrix != 0
        self.first = is_used.argmax(axis=1)  # first sample that a pixel depends on
        n_low = matrix.shape[1]
        self.stop = n_low - is_used[:, ::-1].argmax(axis=1)
        self.matrix = torch.from_numpy(matrix).to(device)

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
            weights = self.matrix[row:end, first:last]
            strips.append(weights @ samples[first - offset : last - offset])
        return strips[0] if len(strips) == 1 else torch.cat(strips)


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
            _Axis(axis_matrix(low, transform.frame, in_frame, original), device)
            for low, in_frame, original in zip(
                low_size, transform.input_size, transform.original_size, strict=True
            )
        )

    def window(self, logits: Tensor, box: HalfOpenBox | None) -> LogitWindow | None:
        """Enlarge the part of one mask that can exceed a threshold.

        Parameters
        ----------
        logits : (a, b) float32 tensor
            Low-resolution logits.
        box : (y0, x0, y1, x1) or None
            Half-open box around the samples above the threshold, of `sample_boxes`.

        Returns
        -------
        LogitWindow or None
            None if nothing in the plane can exceed the threshold.
        """
        if box is None:
            return None
        y0, y1 = self._rows.pixels_of(box[0], box[2])
        x0, x1 = self._columns.pixels_of(box[1], box[3])
        if y0 == y1 or x0 == x1:
            return None
        first, last = self._rows.samples_of(y0, y1)
        wide = self._columns.enlarge_rows(logits[first:last].T, x0, x1).T
        return LogitWindow(self._rows.enlarge_rows(wide, y0, y1, first), y0, x0)


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
