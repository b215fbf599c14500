# SPDX-License-Identifier: Apache-2.0
"""The regions in which a small model looks at a large image, and which one suits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam.prediction.tiling import TILE_FROM, is_cut_by_tile, tile_boxes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.structures.arrays import HalfOpenBox

# Published models have this frame; they see whole images, as their authors use them.
_WHOLE_IMAGE_FRAME = 1024


class Regions:
    """Overlapping squares of a frame's size that cover an image.

    Parameters
    ----------
    shape : (H, W)
        Size of the image.
    frame : int
        Side of the model's frame. There are no regions for a frame of 1024 and for
        images that are not larger than 1.5 frames.

    Attributes
    ----------
    whole : (y0, x0, y1, x1)
        Half-open box of the image.
    """

    def __init__(self, shape: tuple[int, int], frame: int) -> None:
        self.shape = shape
        self.whole: HalfOpenBox = (0, 0, *shape)
        self._boxes: list[HalfOpenBox] = []
        if frame < _WHOLE_IMAGE_FRAME and max(shape) > TILE_FROM * frame:
            self._boxes = tile_boxes(shape, frame, frame // 2)
        sides = np.array(self._boxes, dtype=np.float64).reshape(-1, 4)
        # A side at the image's own border is no border: things end there anyway.
        is_outer = sides == np.array(self.whole)
        self._low = np.where(is_outer[:, :2], -np.inf, sides[:, :2])
        self._high = np.where(is_outer[:, 2:], np.inf, sides[:, 2:])

    def __len__(self) -> int:
        """Return the number of regions."""
        return len(self._boxes)

    def best_for(self, corners_yx: npt.NDArray[np.float64]) -> HalfOpenBox:
        """Return the region in whose middle everything lies, or the whole image.

        Parameters
        ----------
        corners_yx : (n, 2) array
            Points, and corners of boxes, in pixels of the image.
        """
        low, high = corners_yx.min(axis=0), corners_yx.max(axis=0)
        is_inside = (low >= 0).all() and (high <= self.shape).all()
        if not self._boxes or not is_inside:  # also NaN: the image tells what is wrong
            return self.whole
        spare = self._spare(corners_yx)
        best = int(np.argmax(spare))
        return self._boxes[best] if spare[best] > 0 else self.whole

    def among(self, boxes: Sequence[HalfOpenBox]) -> list[HalfOpenBox]:
        """Return those boxes that are regions of this image."""
        return [box for box in boxes if box in self._boxes]

    def holds(self, region: HalfOpenBox, corners_yx: npt.NDArray[np.float64]) -> bool:
        """Tell whether everything lies inside a region, and not at its border."""
        if region not in self._boxes:
            return False
        return bool(self._spare(corners_yx)[self._boxes.index(region)] > 0)

    def is_cut(self, box: HalfOpenBox, region: HalfOpenBox) -> bool:
        """Tell whether a mask's box in the image touches a border of its region."""
        return is_cut_by_tile(box, region, self.shape)

    def _spare(self, corners_yx: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Pixels between corners and the nearest border, for each region."""
        low, high = corners_yx.min(axis=0), corners_yx.max(axis=0)
        distances = np.concatenate([low - self._low, self._high - high], axis=1)
        return np.asarray(distances.min(axis=1))
