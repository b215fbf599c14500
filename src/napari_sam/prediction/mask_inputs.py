# SPDX-License-Identifier: Apache-2.0
"""Masks and earlier logits as the mask input of whatever part of an image answers.

The model takes a mask as low-resolution logits of its frame. What it is given may be a
mask of the plane, or logits of another part of the image: both are brought to the
samples of the part that answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam.prediction.transforms import resized_shape

if TYPE_CHECKING:
    from napari_sam.structures.arrays import FloatArray, HalfOpenBox
    from napari_sam.structures.mask_window import MaskWindow
    from napari_sam.structures.plane_view import Region

# A model's own logits are about +10 on an object and -10 to -20 beside it. Of all
# scales and softer edges tried with the embedded model none gave a mask back better.
MASK_LOGIT = 10.0


@dataclass(frozen=True, slots=True)
class LogitGrid:
    """Where low-resolution logits lie on the plane, padding included.

    Attributes
    ----------
    corner_yx : (y0, x0)
        Where the first sample begins, in pixels of the plane.
    cell_yx : (float, float)
        Height and width of a sample in pixels of the plane.
    shape : (a, b)
        Number of samples.
    """

    corner_yx: tuple[int, int]
    cell_yx: tuple[float, float]
    shape: tuple[int, int]

    @classmethod
    def of_part(
        cls, part: HalfOpenBox, shape: tuple[int, int], frame: int
    ) -> LogitGrid:
        """Return the grid of a part of the plane that was embedded by itself.

        Parameters
        ----------
        part : (y0, x0, y1, x1)
            Half-open box of the part.
        shape : (a, b)
            Number of samples that the model's frame has.
        frame : int
            Side of the frame in frame pixels.
        """
        size = (part[2] - part[0], part[3] - part[1])
        rows, columns = (
            (frame / n_samples) * (original / in_frame)
            for n_samples, original, in_frame in zip(
                shape, size, resized_shape(size, frame), strict=True
            )
        )
        return cls((part[0], part[1]), (rows, columns), shape)

    def of_mask(self, mask: MaskWindow) -> FloatArray:
        """Return logits that say how much of each sample a mask covers.

        Parameters
        ----------
        mask : MaskWindow
            On the plane; what lies outside of the part is left out.

        Returns
        -------
        (a, b) float32 array
            From -10 where nothing is covered to 10.
        """
        y0, x0, y1, x1 = mask.box
        rows = self._overlaps(0, y0, y1)
        columns = self._overlaps(1, x0, x1)
        covered = rows @ mask.crop.astype(np.float32) @ columns.T
        return np.asarray(MASK_LOGIT * (2 * covered - 1), dtype=np.float32)

    def of_logits(self, logits: FloatArray, given: LogitGrid) -> FloatArray:
        """Bring logits of another part to this one.

        Parameters
        ----------
        logits : (a, b) float32 array
            On the samples of `given`.
        given : LogitGrid
            Where they lie on the same plane.

        Returns
        -------
        (a, b) float32 array
            Interpolated, or averaged where samples are larger here; what the other part
            did not see is no object.
        """
        rows, columns = (self._weights(axis, given) for axis in (0, 1))
        seen = np.outer(rows.sum(axis=1), columns.sum(axis=1))
        moved = rows @ logits @ columns.T - MASK_LOGIT * (1 - seen)
        return np.asarray(moved, dtype=np.float32)

    def extent(self, logits: FloatArray) -> tuple[float, float, float, float] | None:
        """Return the box ``y0, x0, y1, x1`` on the plane of samples above 0, if any."""
        rows = np.flatnonzero((logits > 0).any(axis=1))
        if rows.size == 0:
            return None
        columns = np.flatnonzero((logits > 0).any(axis=0))
        (y, x), (h, w) = self.corner_yx, self.cell_yx
        return (
            y + h * float(rows[0]),
            x + w * float(columns[0]),
            y + h * float(rows[-1] + 1),
            x + w * float(columns[-1] + 1),
        )

    def _overlaps(self, axis: int, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Return how much of each sample each pixel of a range fills."""
        size = self.cell_yx[axis]
        lower = self.corner_yx[axis] + size * np.arange(self.shape[axis])[:, None]
        pixels = np.arange(start, stop)[None]
        shared = np.minimum(lower + size, pixels + 1) - np.maximum(lower, pixels)
        return np.asarray(np.maximum(shared, 0) / size, dtype=np.float32)

    def _weights(self, axis: int, given: LogitGrid) -> npt.NDArray[np.float64]:
        """Return the weights of another grid's samples in each sample here."""
        here = self._centres(axis)[:, None]
        there = given._centres(axis)[None]
        reach = max(self.cell_yx[axis], given.cell_yx[axis])
        nearness = np.maximum(1 - np.abs(here - there) / reach, 0)
        return np.asarray(nearness * (given.cell_yx[axis] / reach), dtype=np.float64)

    def _centres(self, axis: int) -> npt.NDArray[np.float64]:
        """Return the middles of the samples in pixels of the plane."""
        steps = np.arange(self.shape[axis]) + 0.5
        return np.asarray(self.corner_yx[axis] + self.cell_yx[axis] * steps, np.float64)


class LogitOrigins:
    """Remembers which region of an image gave which logits.

    Logits come back as bare arrays, perhaps copied. So they are known by a sample of
    their values; for equal ones of several regions (empty places) all are remembered.

    Parameters
    ----------
    max_items : int
        Logits remembered; the oldest go first.
    """

    def __init__(self, max_items: int = 1 << 14) -> None:
        self._max_items = max_items
        self._regions: dict[bytes, tuple[Region, ...]] = {}

    def __len__(self) -> int:
        """Return how many different logits are known."""
        return len(self._regions)

    def note(self, logits: FloatArray, region: Region) -> None:
        """Remember that a region gave (n, a, b) logits."""
        for one in logits:
            key = _fingerprint(one)
            known = self._regions.pop(key, ())
            self._regions[key] = (
                region,
                *(other for other in known if other != region),
            )
        while len(self._regions) > self._max_items:
            del self._regions[next(iter(self._regions))]

    def regions_of(self, logits: FloatArray) -> tuple[Region, ...]:
        """Return the regions that gave (a, b) logits, newest first; () if unknown."""
        return self._regions.get(_fingerprint(logits), ())


def _fingerprint(logits: FloatArray) -> bytes:
    """Return a digest of every eighth value along each axis."""
    few = np.ascontiguousarray(logits[::8, ::8], dtype=np.float32)
    return blake2b(few.data, digest_size=16).digest()
