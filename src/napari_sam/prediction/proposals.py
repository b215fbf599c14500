# SPDX-License-Identifier: Apache-2.0
"""Prompts proposed by a model's object maps: one for each object they show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_sam.prediction.instances import (
    Labels,
    ObjectMaps,
    RegionRule,
    find_regions,
    innermost,
    region_confidence,
)

if TYPE_CHECKING:
    from napari_sam.structures.arrays import Coordinates, FloatArray

# Logits of a region: how sure a sample is at least that it belongs to it, or does not.
_LEAST_LOGIT = 0.5
_OUTSIDE_LOGIT = -8.0
_MARGIN = 2  # samples around a region whose logits say how sharp its border is


@dataclass(frozen=True, eq=False)
class Proposals:
    """Regions of n objects, and what a decoder is to be asked about each.

    Attributes
    ----------
    regions : (h, w) int32 array
        0 is background, ``i + 1`` is object ``i``; samples of the object maps.
    windows : list of (slice, slice)
        Rows and columns of each region.
    foreground : (h, w) float32 array
        Logits.
    points_yx : (n, 2) float64 array
        The innermost place of each, in pixels of the picture.
    boxes_yx : (n, 4) float64 array
        Tight boxes, in pixels of the picture.
    confidence : (n,) float64 array
        Expected IoU of each region with its object.
    """

    regions: Labels
    windows: list[tuple[slice, slice]]
    foreground: FloatArray
    points_yx: Coordinates
    boxes_yx: Coordinates
    confidence: npt.NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.confidence)

    def sizes(self) -> npt.NDArray[np.float64]:
        """Return the geometric mean of the sides of each box, in pixels, (n,)."""
        sides = self.boxes_yx[:, 2:] - self.boxes_yx[:, :2]
        return np.asarray(np.sqrt(sides.prod(axis=1)))

    def logits_of(self, number: int, shape: tuple[int, int]) -> FloatArray:
        """Write one region as the logits of a mask.

        Parameters
        ----------
        number : int
            From 0.
        shape : (a, b)
            Samples of the whole frame, padding included.

        Returns
        -------
        (a, b) float32 array
            Foreground logits inside and where nothing is; their opposite in other
            regions, so that a border between two regions lies between their samples.
        """
        logits = np.full(shape, _OUTSIDE_LOGIT, dtype=np.float32)
        rows, columns = self.windows[number]
        y0, y1 = max(rows.start - _MARGIN, 0), rows.stop + _MARGIN
        x0, x1 = max(columns.start - _MARGIN, 0), columns.stop + _MARGIN
        sure = np.maximum(np.abs(self.foreground[y0:y1, x0:x1]), _LEAST_LOGIT)
        is_own = self.regions[y0:y1, x0:x1] == number + 1
        height, width = is_own.shape
        logits[y0 : y0 + height, x0 : x0 + width] = np.where(is_own, sure, -sure)
        return logits


def propose(
    logits: FloatArray, sample_px: tuple[float, float], rule: RegionRule | None = None
) -> Proposals:
    """Find the objects that maps show.

    Parameters
    ----------
    logits : (3, h, w) float32 array
        Foreground, boundary and centre; without padding.
    sample_px : (float, float)
        Height and width of a sample in pixels of the picture.
    rule : RegionRule or None
        What is an object.

    Returns
    -------
    Proposals
    """
    maps = ObjectMaps.of_logits(logits)
    regions = find_regions(maps, rule)
    windows = ndimage.find_objects(regions)
    scale = np.array(sample_px, dtype=np.float64)
    boxes = np.array(
        [(rows.start, cols.start, rows.stop, cols.stop) for rows, cols in windows],
        dtype=np.float64,
    ).reshape(-1, 4)
    return Proposals(
        regions,
        windows,
        np.nan_to_num(logits[0], nan=_OUTSIDE_LOGIT),
        # Whole numbers are centres of samples here and centres of pixels there.
        (innermost(regions) + 0.5) * scale - 0.5,
        boxes * np.tile(scale, 2),
        region_confidence(regions, maps.foreground),
    )
