# SPDX-License-Identifier: Apache-2.0
"""An array in a file, with its axes in another order, of which slices are read."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_sam.errors import ImageError
from napari_sam.io.pixel_size import PixelSize

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    SyntaxError,
    AssertionError,
    AttributeError,
    RuntimeError,
    OverflowError,
    ZeroDivisionError,
    struct.error,
    zlib.error,
)
"""What libraries raise on damaged files; their error trees are not documented."""


def damage_text(path: Path | str, error: Exception) -> str:
    """Say that a file cannot be read, and what to do."""
    if "imagecodecs" in str(error):
        return (
            f"{path} uses a TIFF compression that needs one more package: "
            f"pip install imagecodecs ({error})."
        )
    return (
        f"{path} is damaged or cut off and cannot be read ({error}). "
        "Copy it again from its source."
    )


class StoredContent(NamedTuple):
    """What was found in a file without reading its pixels.

    Attributes
    ----------
    levels : tuple of arrays
        The image at falling resolutions, finest first.
    axes : str
        One letter per axis, as in ``ImageFile`` but in the order of the file.
    size : PixelSize
        What the metadata say.
    notices : tuple of str
        What was left out.
    """

    levels: tuple[Any, ...]
    axes: str
    size: PixelSize = PixelSize()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AxesPlan:
    """How the axes of a stored array become those of an image.

    Attributes
    ----------
    axes : str
        One letter per axis of the image.
    order : tuple of int
        Which axis of the stored array each of them is.
    fixed : mapping of int to int
        Position along each stored axis that is left out.
    n_last : int or None
        How many entries of the last axis are kept; None means all.
    """

    axes: str
    order: tuple[int, ...]
    fixed: Mapping[int, int]
    n_last: int | None = None

    def apply_to(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view of an array in memory."""
        place = tuple(self.fixed.get(axis, slice(None)) for axis in range(array.ndim))
        kept = [axis for axis in range(array.ndim) if axis not in self.fixed]
        view = array[place].transpose([kept.index(axis) for axis in self.order])
        return view if self.n_last is None else view[..., : self.n_last]


class StoredArray:
    """An array that lies in a file and is read by slices.

    Parameters
    ----------
    array : array-like
        Of zarr, HDF5 or a memory-mapped file: slices of it are read when asked for.
    plan : AxesPlan
        What becomes of its axes.
    path : Path or str
        For messages.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy dtype
    chunks : tuple of int or None
        Shape of the blocks that are stored, if it is known.
    """

    def __init__(self, array: Any, plan: AxesPlan, path: Path | str) -> None:
        self._array, self._plan, self._path = array, plan, path
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)
        self.shape = self._placed(array.shape)
        chunks = getattr(array, "chunks", None)
        self.chunks = None if chunks is None else self._placed(chunks)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read a part of the array.

        Parameters
        ----------
        key : int, slice, Ellipsis or tuple of them
            As for a numpy array; steps are above 0.

        Returns
        -------
        array

        Raises
        ------
        IndexError
            If a position is outside, or the key is of another kind.
        ImageError
            If the file is damaged.
        """
        place = self._normalised(key)
        where: list[Any] = [0] * len(self._array.shape)
        for axis, position in self._plan.fixed.items():
            where[axis] = position
        for axis, part in zip(self._plan.order, place, strict=True):
            where[axis] = part
        try:
            found = np.asarray(self._array[tuple(where)])
        except DAMAGE as error:
            raise ImageError(damage_text(self._path, error)) from error
        wanted = [
            axis
            for axis, part in zip(self._plan.order, place, strict=True)
            if isinstance(part, slice)
        ]
        return found.transpose([sorted(wanted).index(axis) for axis in wanted])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001
        """Read everything."""
        found = self[...]
        return found if dtype is None else found.astype(dtype)

    def _placed(self, sides: Any) -> tuple[int, ...]:
        """Bring lengths of stored axes into the order of the image."""
        placed = [int(sides[axis]) for axis in self._plan.order]
        if self._plan.n_last is not None:
            placed[-1] = min(placed[-1], self._plan.n_last)
        return tuple(placed)

    def _normalised(self, key: Any) -> list[int | slice]:
        """Return one position or slice with bounds for each axis."""
        parts = list(key) if isinstance(key, tuple) else [key]
        gaps = [i for i, part in enumerate(parts) if part is Ellipsis]
        if len(gaps) > 1 or len(parts) - len(gaps) > self.ndim:
            msg = f"{key} has more entries than the {self.ndim} axes of the array."
            raise IndexError(msg)
        at = gaps[0] if gaps else len(parts)
        missing = self.ndim - (len(parts) - len(gaps))
        parts[at : at + len(gaps)] = [slice(None)] * missing
        return [_bounded(part, n) for part, n in zip(parts, self.shape, strict=True)]


def _bounded(part: Any, length: int) -> int | slice:
    """Return a position from 0 on, or a slice inside the axis."""
    if isinstance(part, slice):
        start, stop, step = part.indices(length)
        if step < 1:
            msg = f"Steps are above 0, not {step}."
            raise IndexError(msg)
        return slice(start, max(start, stop), step)
    if not isinstance(part, (int, np.integer)):
        msg = f"An axis is indexed by a whole number or a slice, not {part!r}."
        raise IndexError(msg)
    position = int(part) + (length if part < 0 else 0)
    if not 0 <= position < length:
        msg = f"Position {part} is outside of an axis of length {length}."
        raise IndexError(msg)
    return position
