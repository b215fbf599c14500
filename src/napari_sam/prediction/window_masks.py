# SPDX-License-Identifier: Apache-2.0
"""Masks out of enlarged logits, and how stable they are, in one pass."""

from dataclasses import dataclass
from threading import local

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_sam.acceleration.workers import work_with_help
from napari_sam.prediction.logit_windows import (
    EnlargedWindow,
    LogitWindow,
    LogitWindows,
    sample_boxes,
)
from napari_sam.structures.arrays import BoolMask, HalfOpenBox
from napari_sam.structures.mask_window import MaskWindow


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Logits: of the mask, and as far above and below as its stability is measured."""

    low: float
    middle: float
    high: float


class WindowMasks(local):
    """Makes masks of windows, one after the other, in memory that is each thread's."""

    def __init__(self) -> None:
        self._mask = np.zeros(0, dtype=np.bool_)
        self._strip = np.zeros(0, dtype=np.bool_)

    def mask(self, window: LogitWindow | EnlargedWindow, threshold: float) -> BoolMask:
        """Return where logits are above a threshold.

        Parameters
        ----------
        window : LogitWindow or EnlargedWindow
            Enlarged logits.
        threshold : float
            Logit.

        Returns
        -------
        (h, w) bool array
            Overwritten by the next call.
        """
        mask = self._get_mask(window.shape)
        for start, values in window.strips():
            logits = _to_numpy(values)
            np.greater(logits, threshold, out=mask[start : start + len(logits)])
        return mask

    def measure(
        self, window: LogitWindow | EnlargedWindow, thresholds: Thresholds
    ) -> tuple[BoolMask, np.float32]:
        """Return the mask, and the IoU of those at a raised and a lowered threshold.

        Parameters
        ----------
        window : LogitWindow or EnlargedWindow
            Enlarged logits.
        thresholds : Thresholds
            Of the mask and of its stability.

        Returns
        -------
        mask : (h, w) bool array
            Overwritten by the next call.
        stability : float32
            NaN if even the mask at the lowered threshold is empty.
        """
        mask = self._get_mask(window.shape)
        n_high = n_low = 0
        for start, values in window.strips():
            logits = _to_numpy(values)
            np.greater(logits, thresholds.middle, out=mask[start : start + len(logits)])
            n_high += self._count(logits, thresholds.high)
            n_low += self._count(logits, thresholds.low)
        if n_low == 0:
            return mask, np.float32(np.nan)
        return mask, np.float32(n_high) / np.float32(n_low)

    def _count(self, logits: npt.NDArray[np.float32], threshold: float) -> int:
        """Return how many logits are above a threshold."""
        if self._strip.size < logits.size:
            self._strip = np.zeros(logits.size, dtype=np.bool_)
        is_above = self._strip[: logits.size].reshape(logits.shape)
        np.greater(logits, threshold, out=is_above)
        return int(np.count_nonzero(is_above))

    def _get_mask(self, shape: tuple[int, int]) -> BoolMask:
        size = shape[0] * shape[1]
        if self._mask.size < size:
            self._mask = np.zeros(size, dtype=np.bool_)
        return self._mask[:size].reshape(shape)


def draw_windows(
    windows: LogitWindows, logits: Tensor, threshold: float
) -> list[MaskWindow]:
    """Enlarge (n, a, b) logits to n masks of the plane, each only where it is."""
    maker = WindowMasks()

    def draw(one: tuple[Tensor, HalfOpenBox | None]) -> MaskWindow:
        found = windows.window(*one)
        if found is None:
            return MaskWindow.of_mask(np.zeros((0, 0), dtype=np.bool_))
        return MaskWindow.of_mask(maker.mask(found, threshold), found.y0, found.x0)

    with torch.inference_mode():
        boxes = sample_boxes(logits, threshold)
        return work_with_help(draw, list(zip(logits, boxes, strict=True)))


def _to_numpy(values: Tensor) -> npt.NDArray[np.float32]:
    """Return logits without a copy if they are on the CPU."""
    logits: npt.NDArray[np.float32] = values.cpu().numpy()
    return logits
