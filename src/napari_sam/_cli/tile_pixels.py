# SPDX-License-Identifier: Apache-2.0
"""Pixels on their way to whoever segments them: by value, or as a place in a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_sam.io.open_image import open_image, split_path
from napari_sam.io.zarr_images import is_zarr, open_zarr

if TYPE_CHECKING:
    from napari_sam.io.image_file import ImageFile
    from napari_sam.structures.arrays import HalfOpenBox, Plane, RgbPlane
    from napari_sam.structures.plane_pixels import ArrayPixels


@dataclass(frozen=True, eq=False)
class PixelsOfTile:
    """The pixels of one tile of an image, for tasks that travel with them.

    Attributes
    ----------
    shape : (H, W)
        Size of the image.
    tile : (y0, x0, y1, x1)
        Half-open box of the tile.
    rgb : (h, w, 3) uint8 array
        What the model is shown there.
    """

    shape: tuple[int, int]
    tile: HalfOpenBox
    rgb: RgbPlane

    def read(self, box: HalfOpenBox) -> RgbPlane:
        """Return the pixels of a box inside the tile."""
        y, x = self.tile[:2]
        return np.ascontiguousarray(
            self.rgb[box[0] - y : box[2] - y, box[1] - x : box[3] - x]
        )


class FileStamp(NamedTuple):
    """What changes when a file is replaced: size in bytes, time of change in ns."""

    n_bytes: int
    changed_ns: int


def stamp_of(path: str | Path) -> FileStamp:
    """Look at the file of an image without reading it.

    Parameters
    ----------
    path : str or Path
        As for `open_image`. Of a zarr folder, whose chunks may be millions of files,
        it is the metadata file of the array that is read.

    Raises
    ------
    OSError
        If it is gone.
    """
    file, inside = split_path(path)
    if is_zarr(file):
        array = file / str(open_zarr(file, inside).levels[0].path)
        names = ("zarr.json", ".zarray")
        file = next((array / n for n in names if (array / n).is_file()), file)
    status = file.stat()
    return FileStamp(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class FilePixels:
    """A `PlanePixels` that travels as the place of its file.

    Attributes
    ----------
    path : str
        As for `open_image`; every machine that reads it has to find it there.
    axes : str or None
        As the user states them.
    index : tuple of int
        Which plane.
    stamp : FileStamp
        Of the file where this was made: a process that has an older file of the same
        name open opens it anew.
    """

    path: str
    axes: str | None
    index: tuple[int, ...]
    stamp: FileStamp = field(init=False)

    def __post_init__(self) -> None:
        """Look at the file; this is not repeated where the object travels to."""
        object.__setattr__(self, "stamp", stamp_of(self.path))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels at full resolution."""
        return self._plane.shape

    @property
    def level_shapes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of every level."""
        return self._plane.level_shapes

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self._plane.dtype

    def read(self, box: HalfOpenBox, level: int = 0) -> Plane:
        """Read a box of a level."""
        return self._plane.read(box, level)

    @property
    def _plane(self) -> ArrayPixels:
        return _opened(self.path, self.axes, self.stamp).plane_pixels(self.index)


@lru_cache(maxsize=4)
def _opened(path: str, axes: str | None, stamp: FileStamp) -> ImageFile:
    """Open a file once per process, and again when it was replaced."""
    return open_image(path, axes=axes)
