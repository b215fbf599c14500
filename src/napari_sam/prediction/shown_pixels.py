# SPDX-License-Identifier: Apache-2.0
"""A plane of any size as a model sees it, read region by region."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from napari_sam.prediction.brightness_sample import MAX_WHOLE_PX, brightness_sample
from napari_sam.prediction.intensity import (
    IntensityRule,
    as_channels,
    find_limits,
    to_rgb,
)
from napari_sam.structures.plane_pixels import ArrayPixels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam.prediction.intensity import Limits
    from napari_sam.structures.arrays import HalfOpenBox, Plane, RgbPlane
    from napari_sam.structures.plane_pixels import PlanePixels

# A region with more pixels is read and made smaller in strips of whole rows.
_STRIP_PX = 1 << 24


class ShownPixels:
    """A plane as the model sees it: 8-bit RGB, read by region, brightness as a whole.

    What is black and what is white is decided once for the plane, from
    `brightness_sample`, at the first read that needs it. A plane of at most 8192 x 8192
    pixels is therefore shown exactly as by `to_rgb`. 8-bit colour passes unchanged.

    Parameters
    ----------
    pixels : PlanePixels, (H, W), (H, W, 3), (H, W, 4) array, or 3-D with `channel_axis`
        Any real dtype.
    channel_axis : int or None
        Axis of the channels of a microscope image. `PlanePixels` hand out channels
        last in any case; of them it only says that they are no colours.
    intensity : IntensityRule or None
        As in `to_rgb`.

    Raises
    ------
    ImageError
        If an array is no image; for `PlanePixels`, not before they are read.
    """

    def __init__(
        self,
        pixels: PlanePixels | Plane,
        channel_axis: int | None = None,
        intensity: IntensityRule | None = None,
    ) -> None:
        if isinstance(pixels, np.ndarray):
            as_channels(pixels, channel_axis)
            pixels = ArrayPixels((pixels,), channel_axis=channel_axis)
        self._channel_axis = None if channel_axis is None else -1
        self._pixels, self._rule = pixels, intensity
        if channel_axis is not None and isinstance(pixels, ArrayPixels):
            self._pixels, self._rule = _only_shown(pixels, intensity)
        # A list of one, once they are found: they may be None.
        self._found: list[Limits | None] = []
        self._whole: RgbPlane | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels at full resolution."""
        return self._pixels.shape

    @property
    def level_shapes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of every level, finest first; one without a pyramid."""
        return self._pixels.level_shapes

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values that `read` returns."""
        return np.dtype(np.uint8)

    @property
    def limits(self) -> Limits | None:
        """Values shown as black and white per channel; None if pixels pass unchanged.

        The first call reads the sample; what was found travels with a pickled copy.
        """
        if not self._found:
            is_known = self._rule is not None and self._rule.limits is not None
            # Pixels that pass unchanged, or by known limits, need no sample.
            if is_known or self._pixels.dtype in (np.uint8, np.bool_):
                found = self._limits_of(self._pixels.read((0, 0, 1, 1)))
                if is_known or found is None:
                    self._found.append(found)
                    return found
            self._found.append(self._limits_of(brightness_sample(self._pixels)))
        return self._found[0]

    def read(self, box: HalfOpenBox, level: int = 0) -> RgbPlane:
        """Read a box of a level.

        Parameters
        ----------
        box : (y0, x0, y1, x1)
            In pixels of the level.
        level : int
            0 is full resolution.

        Returns
        -------
        (h, w, 3) uint8 array

        Raises
        ------
        ImageError
            If the box is empty or not on the plane, or the plane is no image.
        """
        if self._whole is not None and level == 0 and _is_inside(box, self.shape):
            y0, x0, y1, x1 = box
            return np.ascontiguousarray(self._whole[y0:y1, x0:x1])
        pixels = self._pixels.read(box, level)
        is_small = math.prod(self.shape) <= MAX_WHOLE_PX
        if is_small and level == 0 and pixels.shape[:2] == self.shape:
            # All there is was just read: it need not be read again for its brightness.
            self._found = self._found or [self._limits_of(pixels)]
        return to_rgb(pixels, self._channel_axis, self._rule, limits=self.limits)

    def read_at(self, box: HalfOpenBox, size: tuple[int, int]) -> RgbPlane:
        """Read a box at the resolution in which it has a certain size.

        The coarsest level that is not coarser than that is read, and resized with
        Pillow's bilinear filter, which the model was trained with. Memory stays below
        some 200 MB for any box.

        Parameters
        ----------
        box : (y0, x0, y1, x1)
            In pixels at full resolution.
        size : (h, w)
            Wanted size, at least 1.

        Returns
        -------
        (h, w, 3) uint8 array

        Raises
        ------
        ImageError
            As in `read`.
        """
        level = self.level_for(box, size)
        height, width = self.level_shapes[level]
        down, across = height / self.shape[0], width / self.shape[1]
        y0, y1 = (min(y * down, float(height)) for y in (box[0], box[2]))
        x0, x1 = (min(x * across, float(width)) for x in (box[1], box[3]))
        around = (math.floor(y0), math.floor(x0), math.ceil(y1), math.ceil(x1))
        n_pixels = (around[2] - around[0]) * (around[3] - around[1])
        if n_pixels > _STRIP_PX and around[2] - around[0] > size[0]:
            return self._shrink((y0, x0, y1, x1), around, level, size)
        rgb = self.read(around, level)
        inner = (y0 - around[0], x0 - around[1], y1 - around[0], x1 - around[1])
        return _resize_part(rgb, inner, size)

    def level_for(self, box: HalfOpenBox, size: tuple[int, int]) -> int:
        """Return the coarsest level on which a box still has a certain size.

        Parameters
        ----------
        box : (y0, x0, y1, x1)
            In pixels at full resolution.
        size : (h, w)
            Wanted size.
        """
        rows, columns = box[2] - box[0], box[3] - box[1]
        fine_enough = [
            level
            for level, (height, width) in enumerate(self.level_shapes)
            if rows * height >= size[0] * self.shape[0]
            and columns * width >= size[1] * self.shape[1]
        ]
        return max(fine_enough, default=0)

    def whole(self) -> RgbPlane | None:
        """Return the plane at once, and keep it, if it is small.

        Returns
        -------
        (H, W, 3) uint8 array or None
            What `to_rgb` makes of the plane; None if it has more than 8192 x 8192
            pixels or a pyramid.
        """
        if len(self.level_shapes) > 1 or math.prod(self.shape) > MAX_WHOLE_PX:
            return None
        if self._whole is None:
            self._whole = self.read((0, 0, *self.shape))
        return self._whole

    def _limits_of(self, sample: Plane) -> Limits | None:
        return find_limits(sample, self._channel_axis, self._rule)

    def _shrink(
        self,
        exact: tuple[float, float, float, float],
        around: HalfOpenBox,
        level: int,
        size: tuple[int, int],
    ) -> RgbPlane:
        """Resize a region that is too large to be held, strip by strip.

        Pillow resizes rows first and columns of the result afterwards, so rows can be
        made narrow as they come and dropped when no later pixel needs them. Every
        pixel is read once, and the result is that of resizing everything at once, but
        for the last digit of the filter's weights.
        """
        y0, x0, y1, x1 = exact
        step = (y1 - y0) / size[0]
        narrow = np.empty((0, size[1], 3), np.uint8)
        first = around[0]  # row of the level that is the first one of `narrow`
        made: list[RgbPlane] = []
        n_made = 0
        for strip in self._strips(around):
            rgb = self.read(strip, level)
            inner = (0.0, x0 - strip[1], float(len(rgb)), x1 - strip[1])
            piece = _resize_part(rgb, inner, (len(rgb), size[1]))
            narrow = np.concatenate([narrow, piece])
            # The filter reaches half a step beyond a pixel; two are on the safe side.
            ready = math.floor((strip[2] - y0) / step - 2)
            ready = size[0] if strip[2] == around[2] else min(ready, size[0])
            if ready <= n_made:
                continue
            rows = (y0 + n_made * step - first, y0 + ready * step - first)
            inner = (rows[0], 0.0, min(rows[1], float(len(narrow))), float(size[1]))
            made.append(_resize_part(narrow, inner, (ready - n_made, size[1])))
            n_made = ready
            keep = max(math.floor(y0 + (n_made - 2) * step), first)
            narrow, first = narrow[keep - first :], keep
        return np.concatenate(made)

    def _strips(self, box: HalfOpenBox) -> Iterator[HalfOpenBox]:
        """Cut a box into strips of whole rows."""
        y0, x0, y1, x1 = box
        n_rows = max(1, _STRIP_PX // (x1 - x0))
        for start in range(y0, y1, n_rows):
            yield start, x0, min(start + n_rows, y1), x1


def _only_shown(
    pixels: ArrayPixels, rule: IntensityRule | None
) -> tuple[ArrayPixels, IntensityRule | None]:
    """Leave out the channels that nobody sees, so that they are not read either."""
    n_channels = pixels.n_channels or 0
    chosen = None if rule is None else rule.channels
    if chosen is None and n_channels <= 3:
        return pixels, rule
    wanted = chosen or (0, 1, 2)
    if any(not -n_channels <= channel < n_channels for channel in wanted):
        return pixels, rule  # refused with an explanation when it is read
    shown = pixels.only([channel % n_channels for channel in wanted])
    return shown, replace(rule or IntensityRule(), channels=None)


def _resize_part(
    rgb: RgbPlane,
    part: tuple[float, float, float, float],
    size: tuple[int, int],
) -> RgbPlane:
    """Resize ``(y0, x0, y1, x1)`` of a picture, in fractions of its pixels."""
    y0, x0, y1, x1 = part
    if rgb.shape[:2] == size and part == (0.0, 0.0, float(size[0]), float(size[1])):
        return rgb
    resized = Image.fromarray(rgb).resize(
        (size[1], size[0]), Image.Resampling.BILINEAR, box=(x0, y0, x1, y1)
    )
    return np.asarray(resized)


def _is_inside(box: HalfOpenBox, shape: tuple[int, int]) -> bool:
    y0, x0, y1, x1 = box
    return 0 <= y0 < y1 <= shape[0] and 0 <= x0 < x1 <= shape[1]
