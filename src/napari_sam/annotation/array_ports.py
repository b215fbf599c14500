# SPDX-License-Identifier: Apache-2.0
"""Plain arrays behind the annotator's ports, for scripts and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import ImageError, LabelsError
from napari_sam.structures.array_blocks import highest_label
from napari_sam.structures.image_digest import image_digest
from napari_sam.structures.plane_pixels import ArrayPixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.structures.arrays import HalfOpenBox, LabelImage, Plane
    from napari_sam.structures.labels import LabelEdit


class ArrayImage:
    """An `ImageSource` on an array of any size.

    Parameters
    ----------
    array : (..., H, W) array, or (..., H, W, 3 | 4) with `is_rgb`
        Any real dtype. Besides numpy arrays, everything with a shape and a dtype that
        can be sliced: memory-mapped, zarr, HDF5 and dask arrays. Only the pixels that
        are asked for are read.
    is_rgb : bool, optional
        Whether the last axis holds colours. By default an 8-bit array of three axes or
        more with a last one of 3 or 4 does.
    coarser : sequence of arrays
        The same image at falling resolutions, if there is a pyramid.

    Attributes
    ----------
    shape : tuple of int
        Without colours.

    Raises
    ------
    ImageError
        If the array has no rows and columns.
    """

    def __init__(
        self,
        array: Any,
        *,
        is_rgb: bool | None = None,
        coarser: Sequence[Any] = (),
    ) -> None:
        is_array = hasattr(array, "shape") and hasattr(array, "dtype")
        self._array = array if is_array else np.asarray(array)
        self._levels = (self._array, *coarser)
        shape = tuple(int(size) for size in self._array.shape)
        if is_rgb is None:
            looks_so = len(shape) >= 3 and shape[-1] in (3, 4)
            is_rgb = looks_so and self._array.dtype == np.uint8
        self._is_rgb = is_rgb
        self.shape = shape[:-1] if is_rgb else shape
        if len(self.shape) < 2:
            msg = f"An image needs rows and columns; this one has the shape {shape}."
            raise ImageError(msg)

    @property
    def identity(self) -> str:
        """Hash of shape, dtype and a sample of the pixels: the same as in napari."""
        return image_digest(self._array, 3 if self._is_rgb else 2)

    def plane_shape(self, key: PlaneKey) -> tuple[int, int]:
        """Height and width in pixels of a plane."""
        return self.shape[key.axes[0]], self.shape[key.axes[1]]

    def plane_pixels(self, key: PlaneKey) -> ArrayPixels:
        """Return a plane that is read piece by piece, with all levels.

        Raises
        ------
        ImageError
            If the image has no such plane.
        """
        return ArrayPixels(
            self._levels,
            axes=key.axes,
            channel_axis=len(self.shape) if self._is_rgb else None,
            index=key.index,
        )

    def read_plane(self, key: PlaneKey) -> Plane:
        """Return all pixels of a plane, a view if the array has them in memory."""
        return np.asarray(self._array[key.locate(slice(None), slice(None))])

    def plane(self, *index: int) -> PlaneKey:
        """Return the key of the plane of the last two axes at an index.

        Raises
        ------
        ImageError
            If the index does not name one plane of the image.
        """
        leading = self.shape[:-2]
        is_there = len(index) == len(leading) and all(
            0 <= i < n for i, n in zip(index, leading, strict=False)
        )
        if not is_there:
            msg = f"An image of {self.shape} has no plane {index}; planes: {leading}."
            raise ImageError(msg)
        ndim = len(self.shape)
        return PlaneKey(axes=(ndim - 2, ndim - 1), index=tuple(index))


class ArrayLabels:
    """A `LabelStore` on an integer array, which is written in place.

    Parameters
    ----------
    array : integer array
        Of the image's shape without colours: a numpy array, or a zarr, HDF5 or
        memory-mapped one. Only boxes that are edited are read and written.
    keeps_existing : bool
        Whether nothing that exists may be written over.
    highest_id : int, optional
        Highest label in the array, where it is known. By default all of it is read,
        block by block.

    Raises
    ------
    LabelsError
        If the array holds no integers.
    """

    def __init__(
        self,
        array: Any,
        *,
        keeps_existing: bool = False,
        highest_id: int | None = None,
    ) -> None:
        if not np.issubdtype(array.dtype, np.integer):
            msg = f"Labels are integers, not {array.dtype}. Convert them to uint32."
            raise LabelsError(msg)
        self.array = array
        self._keeps_existing = keeps_existing
        self._highest = highest_label(array) if highest_id is None else highest_id

    @classmethod
    def like(cls, image: ArrayImage) -> ArrayLabels:
        """Make empty labels in memory, uint32, for an image."""
        return cls(np.zeros(image.shape, np.uint32), highest_id=0)

    @property
    def keeps_existing(self) -> bool:
        """Whether nothing that exists may be written over."""
        return self._keeps_existing

    def next_id(self) -> int:
        """Return an id above every other; raises LabelsError if none is left."""
        limit = int(np.iinfo(self.array.dtype).max)
        if self._highest >= limit:
            msg = (
                f"The labels are {self.array.dtype} and hold ids up to {limit}. "
                "Convert them to uint32."
            )
            raise LabelsError(msg)
        return self._highest + 1

    def forget_id(self, object_id: int) -> None:
        """Take note that no pixel has an id any more: the highest one is free again."""
        if object_id == self._highest:
            self._highest -= 1

    def read(self, key: PlaneKey, box: HalfOpenBox) -> LabelImage:
        """Return a copy of the labels inside a box of a plane."""
        y0, x0, y1, x1 = box
        place = key.locate(slice(y0, y1), slice(x0, x1))
        labels: LabelImage = np.array(self.array[place])
        return labels

    def write(self, key: PlaneKey, edit: LabelEdit) -> None:
        """Write an edit; raises LabelsError if an id does not fit the dtype."""
        rows, columns = (int(self.array.shape[axis]) for axis in key.axes)
        edit.check_fits((rows, columns), self.array.dtype)
        y0, x0, y1, x1 = edit.box
        now = self.read(key, edit.box)
        new = np.where(edit.old != edit.new, edit.new, now).astype(now.dtype)
        self.array[key.locate(slice(y0, y1), slice(x0, x1))] = new
        self._highest = max(self._highest, int(edit.new.max(initial=0)))
