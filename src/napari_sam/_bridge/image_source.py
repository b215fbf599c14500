# SPDX-License-Identifier: Apache-2.0
"""The pixels of an Image layer, one plane at a time, readable from any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import ImageError

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.arrays import Plane

MAX_SIDE_PX = 4096
"""Of a multiscale image, the finest level with sides no longer than this is read."""


class LayerImageSource:
    """An `ImageSource` on the array of an Image layer.

    The array, not the layer, is kept: reading it from another thread is safe, and a
    dask or zarr array is sliced before anything is computed.

    Parameters
    ----------
    layer : napari.layers.Image
        The image; RGB, multiscale and any number of axes are legal.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array that is read, without a colour axis.
    factors : tuple of float
        Size of its pixels in pixels of the finest level, per axis.

    Raises
    ------
    ImageError
        If the layer is no Image layer or has fewer than two axes.
    """

    def __init__(self, layer: Image) -> None:
        from napari.layers import Image

        if not isinstance(layer, Image):
            msg = (
                f"The layer {layer.name!r} is a {type(layer).__name__} layer. Choose "
                "an Image layer to segment."
            )
            raise ImageError(msg)
        if layer.ndim < 2:
            msg = f"The image {layer.name!r} has {layer.ndim} axis; two are needed."
            raise ImageError(msg)
        self._is_rgb = bool(layer.rgb)
        levels = list(layer.data) if layer.multiscale else [layer.data]
        finest = self._spatial_shape(levels[0])
        self._array = next(
            (a for a in levels if max(self._spatial_shape(a)[-2:]) <= MAX_SIDE_PX),
            levels[-1],
        )
        self.shape = self._spatial_shape(self._array)
        self.factors = tuple(
            full / size for full, size in zip(finest, self.shape, strict=True)
        )

    def plane_shape(self, key: PlaneKey) -> tuple[int, int]:
        """Height and width in pixels of the plane."""
        return self.shape[key.axes[0]], self.shape[key.axes[1]]

    def read_plane(self, key: PlaneKey) -> Plane:
        """Return the plane's pixels, (H, W) or (H, W, 3 | 4)."""
        where = key.locate(slice(None), slice(None))
        return np.asarray(self._array[(*where, ...)])

    def _spatial_shape(self, array: Any) -> tuple[int, ...]:
        shape = tuple(int(size) for size in array.shape)
        return shape[:-1] if self._is_rgb else shape
