# SPDX-License-Identifier: Apache-2.0
"""One plane of an image of any size, read piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_sam.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.structures.arrays import HalfOpenBox, Plane


class PlanePixels(Protocol):
    """One 2-D plane that is read piece by piece, at one or several resolutions.

    A level is the whole plane at one resolution. A pixel of level n covers
    ``shape / level_shapes[n]`` pixels of the plane, as napari has it.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels at full resolution."""
        ...

    @property
    def level_shapes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of every level, finest first; one without a pyramid."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values that `read` returns."""
        ...

    def read(self, box: HalfOpenBox, level: int = 0) -> Plane:
        """Read the pixels of a box and, as far as the source allows, no others.

        Parameters
        ----------
        box : (y0, x0, y1, x1)
            In pixels of the level, not empty and inside of it.
        level : int
            0 is full resolution.

        Returns
        -------
        (h, w) or (h, w, C) array
            Channels, if any, come last.
        """
        ...


class ArrayPixels:
    """A `PlanePixels` on anything that has a shape and a dtype and can be sliced.

    Arrays are sliced before anything is copied, so that of a numpy, memory-mapped,
    zarr, HDF5 or dask array only the box is read.

    Parameters
    ----------
    levels : sequence of array-like
        The same image at falling resolutions, finest first; one without a pyramid.
    axes : (int, int) or None
        Axes of the arrays that are rows and columns. None: the first two beside the
        channels of an array that has no others.
    channel_axis : int or None
        Axis of the channels. None: the last of three axes if it has 3 or 4 entries and
        `axes` is None, otherwise there are no channels.
    index : sequence of int
        Position on the first level along the remaining axes, in order. On levels that
        are shorter along them too, the place that covers it is taken.
    channels : sequence of int or None
        Which channels are read; None means all of them.

    Raises
    ------
    ImageError
        If the arrays are no images, differ in their axes or are without pixels, or an
        axis, index or channel lies outside.
    """

    def __init__(
        self,
        levels: Sequence[Any],
        *,
        axes: tuple[int, int] | None = None,
        channel_axis: int | None = None,
        index: Sequence[int] = (),
        channels: Sequence[int] | None = None,
    ) -> None:
        self._levels = tuple(levels)
        shapes = [_shape_of(level) for level in self._levels]
        n_axes = len(shapes[0])
        if axes is None and channel_axis is None and n_axes == 3:
            channel_axis = 2 if shapes[0][2] in (3, 4) else None
        self._channel_axis = _axis_in(channel_axis, n_axes, shapes[0])
        others = [axis for axis in range(n_axes) if axis != self._channel_axis]
        self._axes = tuple(others) if axes is None else axes
        fixed = [axis for axis in others if axis not in self._axes]
        _check(shapes, self._axes, fixed, index)
        self._index = [
            {
                axis: min(position * shape[axis] // shapes[0][axis], shape[axis] - 1)
                for axis, position in zip(fixed, index, strict=True)
            }
            for shape in shapes
        ]
        rows, columns = self._axes
        self.level_shapes = tuple((shape[rows], shape[columns]) for shape in shapes)
        self.dtype: np.dtype[Any] = np.dtype(self._levels[0].dtype)
        self._n_stored = (
            1 if self._channel_axis is None else shapes[0][self._channel_axis]
        )
        self._channels = None if channels is None else tuple(channels)
        self._check_channels()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels at full resolution."""
        return self.level_shapes[0]

    @property
    def n_channels(self) -> int | None:
        """Number of channels that are read; None if `read` returns (h, w)."""
        if self._channel_axis is None:
            return None
        return self._n_stored if self._channels is None else len(self._channels)

    def only(self, channels: Sequence[int]) -> ArrayPixels:
        """Return the same plane with some of its channels, in this order."""
        if self._channel_axis is None:
            msg = f"An image without channels has no channels {tuple(channels)}."
            raise ImageError(msg)
        now = range(self._n_stored) if self._channels is None else self._channels
        rows, columns = self._axes
        return ArrayPixels(
            self._levels,
            axes=(rows, columns),
            channel_axis=self._channel_axis,
            index=tuple(self._index[0].values()),
            channels=[now[channel] for channel in channels],
        )

    def read(self, box: HalfOpenBox, level: int = 0) -> Plane:
        """Read the pixels of a box of a level; see `PlanePixels.read`.

        Raises
        ------
        ImageError
            If the box is empty or reaches outside of the level.
        """
        height, width = self.level_shapes[level]
        y0, x0, y1, x1 = (int(side) for side in box)
        if not (0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width):
            msg = f"The box {box} is not on a plane of {height} x {width} pixels."
            raise ImageError(msg)
        where: dict[int, Any] = dict(self._index[level])
        where |= zip(self._axes, (slice(y0, y1), slice(x0, x1)), strict=True)
        if self._channel_axis is None:
            return self._take(level, where)
        run = _as_run(self._channels, self._n_stored)
        if run is not None:
            return self._take(level, where | {self._channel_axis: run})
        read: dict[int, Plane] = {}
        for channel in self._channels or ():
            if channel not in read:
                read[channel] = self._take(level, where | {self._channel_axis: channel})
        return np.stack([read[channel] for channel in self._channels or ()], axis=-1)

    def _take(self, level: int, where: dict[int, Any]) -> Plane:
        """Slice a level, rows before columns before channels."""
        found = np.asarray(self._levels[level][tuple(where[i] for i in sorted(where))])
        left = [axis for axis in sorted(where) if isinstance(where[axis], slice)]
        order = [left.index(axis) for axis in self._axes]
        if len(left) == 3:
            order.append(3 - sum(order))
        # Levels made by averaging may hold fractions of whole numbers.
        return found.transpose(order).astype(self.dtype, copy=False)

    def _check_channels(self) -> None:
        if self._channels is None:
            return
        wrong = [c for c in self._channels if not 0 <= c < self._n_stored]
        if self._channel_axis is None or wrong or not self._channels:
            msg = (
                f"The channels {self._channels} cannot be read of an image of "
                f"{self._n_stored}. Count from 0."
            )
            raise ImageError(msg)


def _shape_of(array: Any) -> tuple[int, ...]:
    shape = tuple(int(size) for size in array.shape)
    if len(shape) < 2 or 0 in shape:
        msg = f"An image has rows, columns and pixels, but its shape is {shape}."
        raise ImageError(msg)
    return shape


def _axis_in(axis: int | None, n_axes: int, shape: tuple[int, ...]) -> int | None:
    """Return an axis counted from the front."""
    if axis is None:
        return None
    if n_axes < 3 or not -n_axes <= axis < n_axes:
        msg = f"Axis {axis} of an image of shape {shape} cannot hold channels."
        raise ImageError(msg)
    return axis % n_axes


def _check(
    shapes: Sequence[tuple[int, ...]],
    axes: tuple[int, ...],
    fixed: Sequence[int],
    index: Sequence[int],
) -> None:
    """Raise ImageError unless rows, columns and a place on other axes are clear."""
    is_plane = len(set(axes)) == 2 and all(0 <= axis < len(shapes[0]) for axis in axes)
    if not is_plane or len(fixed) != len(index):
        msg = (
            f"An image of shape {shapes[0]} is no single plane with axes {axes} at "
            f"{tuple(index)}. Give one plane: (H, W), (H, W, 3), (H, W, 4), or with "
            "channel_axis any number of channels."
        )
        raise ImageError(msg)
    if any(len(shape) != len(shapes[0]) for shape in shapes):
        msg = f"The levels of an image have the same axes, not the shapes {shapes}."
        raise ImageError(msg)
    for axis, position in zip(fixed, index, strict=True):
        if not 0 <= position < shapes[0][axis]:
            msg = (
                f"There is no plane {position} along axis {axis}: the image has "
                f"{shapes[0][axis]} of them."
            )
            raise ImageError(msg)


def _as_run(channels: tuple[int, ...] | None, n_stored: int) -> slice | None:
    """Return neighbouring channels as a slice, which is one read and not several."""
    if channels is None:
        return slice(0, n_stored)
    first = channels[0]
    is_run = channels == tuple(range(first, first + len(channels)))
    return slice(first, first + len(channels)) if is_run else None
