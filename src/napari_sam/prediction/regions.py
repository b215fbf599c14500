# SPDX-License-Identifier: Apache-2.0
"""The regions in which a model looks at a large image, and which one suits.

At scale s the model is shown s pixels of the image as one, so a region is s times as
large as the model's frame. Scales are 1, 2, 4 and so on, up to the whole image. The
regions of one scale overlap by half their side: whatever is smaller than that lies
inside one of them, and positions near each other share one. At the scales 1/2, 1/4 and
1/8 the model is shown tiny objects enlarged.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.prediction.magnification import FINEST_SCALE, magnification
from napari_sam.prediction.tiling import TILE_FROM, tile_boxes
from napari_sam.structures.plane_view import Region

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from napari_sam.structures.arrays import HalfOpenBox
    from napari_sam.structures.plane_view import PlaneView

    _Corners = npt.NDArray[np.float64]

# Published models have this frame. Without a view they see whole images, as their
# authors use them; and encoding takes seconds, so one region has to hold the screen.
_LARGE_FRAME = 1024

# A mask that ends so few pixels of the frame from a border may go on behind it.
_TOUCH_PX = 2

# A screen that is so little coarser than a scale, in powers of two, is at that scale.
_SLACK = 0.1

# What lies so far inside of a region, in parts of its side, is seen well.
_MARGIN = 1 / 8


class _Lattice:
    """The regions of one scale."""

    def __init__(self, shape: tuple[int, int], side: int, scale: float) -> None:
        self._scale = scale
        self._side = side
        self._ranges = [
            np.array(
                [(box[0], box[2]) for box in tile_boxes((length, 1), side, side // 2)],
                dtype=np.int64,
            )
            for length in shape
        ]
        # A side at the image's own border is no border: things end there anyway.
        self._limits = []
        for ranges, length in zip(self._ranges, shape, strict=True):
            low = np.where(ranges[:, 0] == 0, -np.inf, ranges[:, 0])
            high = np.where(ranges[:, 1] == length, np.inf, ranges[:, 1])
            self._limits.append((low, high))

    def best_for(self, corners_yx: _Corners) -> Region | None:
        """Return the region in whose middle everything lies; None if none shows it."""
        rows, columns = self._spare(corners_yx)
        most = min(rows.max(), columns.max())
        if most <= 0:
            return None
        return self._region(
            int(np.argmax(rows >= most)), int(np.argmax(columns >= most))
        )

    def around(self, corners_yx: _Corners) -> list[Region]:
        """Return the regions in which everything lies well inside, the best first."""
        rows, columns = self._spare(corners_yx)
        least = max(self._side * _MARGIN, 1)
        found = [
            (-min(rows[i], columns[j]), int(i), int(j))
            for i in np.flatnonzero(rows >= least)
            for j in np.flatnonzero(columns >= least)
        ]
        return [self._region(i, j) for _, i, j in sorted(found)]

    def holds(self, region: Region, corners_yx: _Corners) -> bool:
        """Tell whether everything lies inside a region, and not at its border."""
        place = self._place(region)
        if place is None:
            return False
        rows, columns = self._spare(corners_yx)
        return bool(min(rows[place[0]], columns[place[1]]) > 0)

    def __contains__(self, region: Region) -> bool:
        return self._place(region) is not None

    def _place(self, region: Region) -> tuple[int, int] | None:
        y0, x0, y1, x1 = region.box
        place = []
        for ranges, side in zip(self._ranges, ((y0, y1), (x0, x1)), strict=True):
            index = int(np.searchsorted(ranges[:, 0], side[0]))
            if index == len(ranges) or tuple(ranges[index].tolist()) != side:
                return None
            place.append(index)
        return place[0], place[1]

    def _region(self, row: int, column: int) -> Region:
        (y0, y1), (x0, x1) = (
            ranges[index].tolist()
            for ranges, index in zip(self._ranges, (row, column), strict=True)
        )
        return Region((y0, x0, y1, x1), self._scale)

    def _spare(
        self, corners_yx: _Corners
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Pixels between corners and the nearest border, for rows and for columns."""
        low, high = corners_yx.min(axis=0), corners_yx.max(axis=0)
        rows, columns = (
            np.minimum(low[axis] - starts, stops - high[axis])
            for axis, (starts, stops) in enumerate(self._limits)
        )
        return rows, columns


class Regions:
    """Overlapping squares of several scales that cover an image.

    Parameters
    ----------
    shape : (H, W)
        Size of the image.
    frame : int
        Side of the model's frame. An image that is not larger than 1.5 frames has no
        regions, and neither have scales at which that is so.
    min_object_px : float or None
        `Sam.min_object_px`: smaller objects are to be enlarged. None allows no region
        of a scale below 1.

    Attributes
    ----------
    shape : (H, W)
    whole : Region
        The whole image.
    scales : tuple of int
        Scales from 1 on with regions, the finest first.
    enlarging_scales : tuple of float
        Scales below 1 with regions, the finest first.
    """

    def __init__(
        self, shape: tuple[int, int], frame: int, min_object_px: float | None = None
    ) -> None:
        self.shape = shape
        self._whole_scale = max(1, math.ceil(max(shape) / frame))
        self.whole = Region((0, 0, *shape), self._whole_scale)
        self._is_large_frame = frame >= _LARGE_FRAME
        self._frame = frame
        self._lattices: dict[float, _Lattice] = {}
        self._min_object_px = min_object_px
        scale = 1 if min_object_px is None else FINEST_SCALE
        found = []
        while max(shape) > TILE_FROM * frame * scale:
            found.append(scale)
            scale *= 2
        self.enlarging_scales = tuple(scale for scale in found if scale < 1)
        self.scales = tuple(int(scale) for scale in found if scale >= 1)
        self._all_scales = (*self.enlarging_scales, *self.scales)

    @property
    def usual_scale(self) -> int:
        """The finest scale that is used where nothing says what is on screen."""
        return self._whole_scale if self._is_large_frame else 1

    def scale_for(self, view: PlaneView, extent: HalfOpenBox | None = None) -> int:
        """Return the scale that suits what is on screen.

        It is the finest one at which the model sees no more than the user does. Models
        with a frame of 1024 take seconds to look at a region: of theirs, one holds most
        of a screen of a thousand pixels, wherever that is.

        Parameters
        ----------
        view : PlaneView
            What is on screen.
        extent : (y0, x0, y1, x1), optional
            What a region should be able to show, wherever it lies.

        Returns
        -------
        int
            One of `scales`, or that of the whole image.
        """
        finest = math.log2(view.step)
        level = (
            round(finest + 1) if self._is_large_frame else math.ceil(finest - _SLACK)
        )
        scale: int = 2 ** max(0, level)
        if extent is not None:
            side = max(extent[2] - extent[0], extent[3] - extent[1])
            while scale < self._whole_scale and 2 * side > self._frame * scale:
                scale *= 2
        return scale if scale in self.scales else self._whole_scale

    def best_for(self, corners_yx: _Corners, scale: float | None = None) -> Region:
        """Return the finest region in which everything lies, or the whole image.

        Parameters
        ----------
        corners_yx : (n, 2) array
            Points, and corners of boxes, in pixels of the image; at least one.
        scale : float, optional
            The finest scale to look at; by default `usual_scale`.
        """
        if self._is_inside(corners_yx):
            for lattice in self._from(scale):
                best = lattice.best_for(corners_yx)
                if best is not None:
                    return best
        return self.whole  # also for NaN: the image tells what is wrong

    def enlarging(
        self, corners_yx: _Corners, size_px: float, seen: Region
    ) -> Region | None:
        """Return a region that shows an object as large as it should be seen.

        Parameters
        ----------
        corners_yx : (n, 2) array
            Prompts, and the corners of the object as far as it is known.
        size_px : float
            Size of the object in pixels of the image; see `magnification.size_of`.
        seen : Region
            What would answer, or did.

        Returns
        -------
        Region or None
            The finest that is needed and shows everything. None if the object is not
            too small in the region that was seen, or no finer one shows everything.
        """
        step = max(seen.size) / self._frame
        times = magnification(size_px / step, self._min_object_px)
        if times == 1 or not self._is_inside(corners_yx):
            return None
        finer = [scale for scale in self._all_scales if scale < step]
        # A whole image fits no power of two: then it is rather somewhat more.
        enough = [scale for scale in finer if scale * times <= step]
        start = finer.index(enough[-1]) if enough else 0
        for scale in finer[start:]:
            lattice = self._lattice(scale)
            best = None if lattice is None else lattice.best_for(corners_yx)
            if best is not None:
                return best
        return None

    def around(
        self, corners_yx: _Corners, scale: float | None = None
    ) -> Iterator[Region]:
        """Give regions that show everything well, the finest and best first.

        The last one is the whole image.
        """
        if self._is_inside(corners_yx):
            for lattice in self._from(scale):
                yield from lattice.around(corners_yx)
        yield self.whole

    def grown(self, region: Region, corners_yx: _Corners) -> Region:
        """Return what shows more than a region whose answer ended at its border.

        Parameters
        ----------
        region : Region
            What answered.
        corners_yx : (n, 2) array
            Prompts, and the corners of all answers so far.

        Returns
        -------
        Region
            One of the same scale if it shows all that well, or else one of the next
            scales, or the whole image.
        """
        lattice = self._lattice(region.scale)
        if lattice is None or not self._is_inside(corners_yx):
            return self.whole
        shifted = lattice.around(corners_yx)
        return shifted[0] if shifted else self.best_for(corners_yx, region.scale * 2)

    def among(self, regions: Sequence[Region]) -> list[Region]:
        """Return those that are regions of this image."""
        return [region for region in regions if self._has(region)]

    def holds(self, region: Region, corners_yx: _Corners) -> bool:
        """Tell whether everything lies inside a region, and not at its border."""
        lattice = self._lattice(region.scale)
        return lattice is not None and lattice.holds(region, corners_yx)

    def is_cut(self, box: HalfOpenBox, region: Region) -> bool:
        """Tell whether a mask's box in the image touches an inner border of a region.

        An empty mask touches none.
        """
        if region == self.whole or box[0] >= box[2]:
            return False
        ends = (0, 0, *self.shape)
        near = _TOUCH_PX * region.scale
        return any(
            abs(side - border) <= near and border != end
            for side, border, end in zip(box, region.box, ends, strict=True)
        )

    def _has(self, region: Region) -> bool:
        lattice = self._lattice(region.scale)
        return lattice is not None and region in lattice

    def _lattice(self, scale: float) -> _Lattice | None:
        """Return the regions of a scale, None if it has none; laid out at first."""
        if scale not in self._lattices and scale in self._all_scales:
            side = round(self._frame * scale)
            self._lattices[scale] = _Lattice(self.shape, side, scale)
        return self._lattices.get(scale)

    def _from(self, scale: float | None) -> Iterator[_Lattice]:
        least = self.usual_scale if scale is None else scale
        for known in self._all_scales:
            lattice = self._lattice(known) if known >= least else None
            if lattice is not None:
                yield lattice

    def _is_inside(self, corners_yx: _Corners) -> bool:
        low, high = corners_yx.min(axis=0), corners_yx.max(axis=0)
        return bool((low >= 0).all() and (high <= self.shape).all())
