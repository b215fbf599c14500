# SPDX-License-Identifier: Apache-2.0
"""Plain arrays behind the annotator's ports, for scripts and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import ImageError, LabelsError
from napari_sam.structures.image_digest import image_digest
from napari_sam.structures.labels import LabelEdit

if TYPE_CHECKING:
    from napari_sam.structures.arrays import HalfOpenBox, LabelImage, Plane


class ArrayImage:
    """An `ImageSource` on an array.

    Parameters
    ----------
    array : (..., H, W) array, or (..., H, W, 3 | 4) with `is_rgb`
        Any real dtype.
    is_rgb : bool, optional
        Whether the last axis holds colours. By default an 8-bit array of three axes or
        more with a last one of 3 or 4 does.

    Attributes
    ----------
    shape : tuple of int
        Without colours.

    Raises
    ------
    ImageError
        If the array has no rows and columns.
    """

    def __init__(self, array: Plane, *, is_rgb: bool | None = None) -> None:
        self._array = np.asarray(array)
        shape = self._array.shape
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

    def read_plane(self, key: PlaneKey) -> Plane:
        """Return the pixels of a plane."""
        plane: Plane = self._array[key.locate(slice(None), slice(None))]
        return plane

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
        Of the image's shape without colours.
    keeps_existing : bool
        Whether nothing that exists may be written over.

    Raises
    ------
    LabelsError
        If the array holds no integers.
    """

    def __init__(self, array: LabelImage, *, keeps_existing: bool = False) -> None:
        if not np.issubdtype(array.dtype, np.integer):
            msg = f"Labels are integers, not {array.dtype}. Convert them to uint32."
            raise LabelsError(msg)
        self.array = array
        self._keeps_existing = keeps_existing
        self._highest = max(int(array.max(initial=0)), 0)

    @classmethod
    def like(cls, image: ArrayImage) -> ArrayLabels:
        """Make empty labels, uint32, for an image."""
        return cls(np.zeros(image.shape, np.uint32))

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
        labels: LabelImage = self.array[key.locate(slice(y0, y1), slice(x0, x1))].copy()
        return labels

    def write(self, key: PlaneKey, edit: LabelEdit) -> None:
        """Write an edit; raises LabelsError if an id does not fit the dtype."""
        now = self.read(key, edit.box)
        new = np.where(edit.old != edit.new, edit.new, now)
        whole = LabelEdit(edit.box, now, new)
        whole.apply_to(self.array[key.locate(slice(None), slice(None))])
        self._highest = max(self._highest, int(edit.new.max(initial=0)))
