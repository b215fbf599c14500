# SPDX-License-Identifier: Apache-2.0
"""Pixels on their way to whoever segments them: by value, or as a place in a file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.io.open_image import open_image

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
    """

    path: str
    axes: str | None
    index: tuple[int, ...]

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
        return _opened(self.path, self.axes).plane_pixels(self.index)


@lru_cache(maxsize=4)
def _opened(path: str, axes: str | None) -> ImageFile:
    """Open a file once per process."""
    return open_image(path, axes=axes)
