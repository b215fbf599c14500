# SPDX-License-Identifier: Apache-2.0
"""An image as planes, whatever axes its file had."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import ImageError
from napari_sam.io.stored_array import AxesPlan, StoredArray
from napari_sam.structures.plane_pixels import ArrayPixels

# Axes that stand for a series of planes without anybody having to say so.
_PLANE_AXES = "TZP"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file's pixels with the meaning of their axes.

    Attributes
    ----------
    path : Path
        Where the file lies.
    data : (..., H, W) or (..., H, W, channels) array, or StoredArray
        Axes that count planes first, then rows and columns, then channels if any. Of
        an image past memory, slices are read when asked for.
    axes : str
        One letter per axis of ``data``, e.g. ``"YX"``, ``"TZYXC"``; ``S`` at the end
        means red, green, blue, ``C`` means channels of a microscope.
    pixel_size_um : (float, float) or None
        Height and width of a pixel in micrometres, where the file tells.
    z_step_um : float or None
        Distance of z-slices in micrometres, where the file tells.
    notices : tuple of str
        What the user should know about how the file was read.
    coarser : tuple of arrays
        The same image at falling resolutions, if the file has a pyramid.
    """

    path: Path
    data: Any
    axes: str
    pixel_size_um: tuple[float, float] | None = None
    z_step_um: float | None = None
    notices: tuple[str, ...] = ()
    coarser: tuple[Any, ...] = ()

    @property
    def is_lazy(self) -> bool:
        """Whether the pixels are still in the file."""
        return isinstance(self.data, (StoredArray, np.memmap))

    @property
    def plane_axes(self) -> str:
        """Letters of the axes that count planes; empty for a flat image."""
        return self.axes[: self.axes.index("Y")]

    @property
    def stack_shape(self) -> tuple[int, ...]:
        """Lengths of ``plane_axes``."""
        return tuple(self.data.shape[: len(self.plane_axes)])

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Height and width of a plane."""
        start = len(self.plane_axes)
        return int(self.data.shape[start]), int(self.data.shape[start + 1])

    @property
    def n_planes(self) -> int:
        """Number of planes, 1 for a flat image."""
        return math.prod(self.stack_shape)

    @property
    def n_channels(self) -> int:
        """Length of the channel axis, 1 without one."""
        return 1 if self.axes.endswith("X") else int(self.data.shape[-1])

    @property
    def channel_axis(self) -> int | None:
        """Axis of a plane that holds channels of a microscope: 2, or None."""
        return 2 if self.axes.endswith("C") else None

    def plane_pixels(self, index: tuple[int, ...] = ()) -> ArrayPixels:
        """Return a plane that is read piece by piece, with all levels.

        Parameters
        ----------
        index : tuple of int
            Position along ``plane_axes``.

        Raises
        ------
        ImageError
            If there is no such plane.
        """
        rows = len(self.plane_axes)
        return ArrayPixels(
            (self.data, *self.coarser),
            axes=(rows, rows + 1),
            channel_axis=None if self.axes.endswith("X") else rows + 2,
            index=index,
        )

    def planes(self) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
        """Index along ``plane_axes`` and pixels, (H, W) or (H, W, channels)."""
        for index in np.ndindex(self.stack_shape):
            yield index, self.data[index]


def place_axes(
    data: NDArray[Any], axes: str, asked: str | None, path: Path
) -> tuple[NDArray[Any], str]:
    """Bring the axes of an array in memory into the order of ``ImageFile``.

    Parameters
    ----------
    data : array
        Pixels as stored.
    axes, asked, path
        As for `plan_axes`.

    Returns
    -------
    data : array
        A view.
    axes : str
        One letter per axis.

    Raises
    ------
    ImageError
        As `plan_axes`.
    """
    plan = plan_axes(data.shape, axes, asked, path)
    return plan.apply_to(data), plan.axes


def plan_axes(
    shape: tuple[int, ...], axes: str, asked: str | None, path: Path
) -> AxesPlan:
    """Tell how the axes of a file come into the order of ``ImageFile``.

    Parameters
    ----------
    shape : tuple of int
        Of the array as stored.
    axes : str
        What the file says, one letter per axis.
    asked : str or None
        What the user says, in place of ``axes``.
    path : Path
        For the messages.

    Raises
    ------
    ImageError
        If it is not clear which axes are rows, columns, channels and planes, or there
        are no pixels.
    """
    if len(shape) < 2:
        msg = (
            f"{path}: an image has rows and columns, but this file holds an array of "
            f"shape {shape}."
        )
        raise ImageError(msg)
    if asked is not None:
        axes = _asked_axes(shape, asked, path)
    fixed = {i: 0 for i, n in enumerate(shape) if n == 1 and axes[i] not in "YX"}
    kept = [i for i in range(len(shape)) if i not in fixed]
    letters = "".join(axes[i] for i in kept)
    if asked is None:
        _check_found_axes(tuple(shape[i] for i in kept), letters, path)
    colour = "".join(a for a in letters if a in "CS")
    if len(colour) > 1:
        msg = (
            f"{path}: axes {letters} hold both channels (C) and colours (S). Name one "
            f"of them as planes, for instance T, with axes (command line: --axes)."
        )
        raise ImageError(msg)
    order = "".join(a for a in letters if a not in "YXCS") + "YX" + colour
    places = tuple(kept[letters.index(a)] for a in order)
    if 0 in shape:
        placed = tuple(shape[i] for i in places)
        msg = f"{path}: an image of shape {placed} has no pixels."
        raise ImageError(msg)
    n_last = shape[places[-1]]
    if not order.endswith("S"):
        return AxesPlan(order, places, fixed)
    if n_last not in (2, 3, 4):
        msg = (
            f"{path}: {n_last} values per pixel are no colour (S). Name that axis C, "
            "channels, with axes (command line: --axes)."
        )
        raise ImageError(msg)
    # Transparency is no measured intensity: it is left out.
    if n_last == 2:
        return AxesPlan(order[:-1], places[:-1], fixed | {places[-1]: 0})
    return AxesPlan(order, places, fixed, n_last=3)


def _asked_axes(shape: tuple[int, ...], asked: str, path: Path) -> str:
    """Check the user's letters, fill in axes of length 1 that were left out."""
    letters = asked.upper()
    example = "for instance --axes TZYX for a time series of z-stacks"
    well_formed = letters.isalpha() and len(set(letters)) == len(letters)
    if not well_formed or not {"Y", "X"} <= set(letters):
        msg = (
            f"Axes {asked!r} are not clear. Give one different letter per axis, Y for "
            f"rows, X for columns, C for channels, S for red-green-blue, any other "
            f"letter for planes; {example}."
        )
        raise ImageError(msg)
    if len(letters) == len(shape):
        return letters
    longer = [n for n in shape if n != 1]
    if len(letters) == len(longer):
        rest = iter(letters)
        return "".join("1" if n == 1 else next(rest) for n in shape)
    msg = (
        f"{path}: {len(letters)} axes were named ({letters}) but the image has "
        f"{len(shape)}, of lengths {_lengths(shape)}. Name each of them; {example}."
    )
    raise ImageError(msg)


def _check_found_axes(shape: tuple[int, ...], axes: str, path: Path) -> None:
    """Refuse what the file leaves open."""
    planes = [a for a in axes if a not in "YXCS"]
    unknown = [a for a in planes if a not in _PLANE_AXES]
    is_clear = "Y" in axes and "X" in axes and len(set(axes)) == len(axes)
    if is_clear and len(unknown) <= 1:
        return
    msg = (
        f"{path}: the image has {len(shape)} axes of lengths {_lengths(shape)}, and "
        "the file does not say what they are. Name them with axes (command line: "
        "--axes), one letter each: Y rows, X columns, C channels, S red-green-blue, "
        "T time, Z slices, any other letter for further planes."
    )
    raise ImageError(msg)


def _lengths(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
