# SPDX-License-Identifier: Apache-2.0
"""World, layer and plane coordinates: the only file that knows axes and sliders.

Three frames meet here. *World* is what the viewer and the mouse speak. *Data* are the
coordinates of a layer's array (of the finest level, if it has several). *Plane* is
row, column on the 2-D plane that the model sees, in pixels of the level that is read;
whole numbers are pixel centres in all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import ImageError

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.components import Dims
    from napari.layers import Layer

    from napari_sam.structures.arrays import Coordinates, HalfOpenBox

TRANSFORM_NAMES = ("scale", "rotate", "shear", "units", "axis_labels")
"""Properties that a layer on the same pixels takes over unchanged."""


class PlaneMap:
    """How the pixels of an image layer lie in the world.

    Parameters
    ----------
    layer : napari.layers.Image
        The image; its transforms are read at each call and never written.
    shape : tuple of int
        Shape of the array that is read (without a colour axis).
    factors : tuple of float
        How many pixels of the layer's data coordinates one read pixel spans, per axis;
        all 1 unless a coarser level of a multiscale image is read.
    """

    def __init__(
        self, layer: Layer, shape: tuple[int, ...], factors: tuple[float, ...]
    ) -> None:
        self._layer = layer
        self._factors = np.asarray(factors, dtype=float)
        self.shape = shape

    @property
    def ndim(self) -> int:
        """Number of axes, without a colour axis."""
        return len(self.shape)

    def plane_key(self, dims: Dims) -> PlaneKey:
        """Return the plane that the viewer shows of this image.

        Rows and columns are the displayed axes in array order, so that a transposed
        view shows the same plane.

        Raises
        ------
        ImageError
            In 3-D display, or if the view shows an axis that the image lacks.
        """
        if dims.ndisplay != 2:
            msg = "The viewer shows 3-D. Switch to 2-D display to segment a plane."
            raise ImageError(msg)
        offset = dims.ndim - self.ndim
        rows, columns = sorted(axis - offset for axis in dims.displayed)
        if rows < 0:
            msg = (
                f"The view shows an axis that the image {self._layer.name!r} does not "
                "have. Roll the dimensions back or choose another image."
            )
            raise ImageError(msg)
        position = self.world_to_pixel(dims.point)
        index = tuple(
            int(np.clip(np.round(position[axis]), 0, self.shape[axis] - 1))
            for axis in range(self.ndim)
            if axis not in (rows, columns)
        )
        return PlaneKey(axes=(rows, columns), index=index)

    def world_to_pixel(self, world: npt.ArrayLike) -> Coordinates:
        """Map one world position to pixels of the array that is read, (ndim,)."""
        data = np.asarray(self._layer.world_to_data(world), dtype=float)
        return (data + 0.5) / self._factors - 0.5

    def pixel_to_world(self, pixel: npt.ArrayLike) -> Coordinates:
        """Inverse of `world_to_pixel` for one position, (ndim,)."""
        data = (np.asarray(pixel, dtype=float) + 0.5) * self._factors - 0.5
        return np.asarray(self._layer.data_to_world(data), dtype=float)

    def layer_to_pixels(self, other: Layer, positions: Any) -> Coordinates:
        """Map data positions of another layer to pixels, (n, ndim)."""
        mapped = [
            self.world_to_pixel(other.data_to_world(position)) for position in positions
        ]
        return np.asarray(mapped, dtype=float).reshape(len(mapped), self.ndim)

    def plane_shape(self, key: PlaneKey) -> tuple[int, int]:
        """Height and width of a plane in pixels."""
        return self.shape[key.axes[0]], self.shape[key.axes[1]]

    def on_plane(self, key: PlaneKey, pixels: Coordinates) -> tuple[Any, Coordinates]:
        """Tell which positions lie on a plane, and where.

        Returns
        -------
        is_on : (n,) bool array
            Whether the position's other coordinates round to the plane's.
        yx : (n, 2) array
            Row and column of every position.
        """
        fixed = [axis for axis in range(self.ndim) if axis not in key.axes]
        rounded = np.round(pixels[:, fixed])
        is_on = (rounded == np.asarray(key.index, dtype=float)).all(axis=1)
        return is_on, pixels[:, list(key.axes)]

    def transforms(self, start: npt.ArrayLike | None = None) -> dict[str, Any]:
        """Arguments for a new layer whose pixels are the ones that are read.

        Parameters
        ----------
        start : (ndim,) array-like, optional
            Pixel that the new layer's first pixel lies on; the origin by default.

        Returns
        -------
        dict
            scale, translate, rotate, shear, affine, units, axis_labels.
        """
        layer = self._layer
        matrix = np.asarray(layer.affine.affine_matrix)
        pixel = np.zeros(self.ndim) if start is None else np.asarray(start, dtype=float)
        # The layer's own affine is applied last, so the offset is taken before it.
        world = np.append(self.pixel_to_world(pixel), 1.0)
        result = {name: getattr(layer, name) for name in TRANSFORM_NAMES}
        result["scale"] = np.asarray(layer.scale) * self._factors
        result["translate"] = np.linalg.solve(matrix, world)[:-1]
        result["affine"] = matrix
        return result

    def crop_start(self, key: PlaneKey, box: HalfOpenBox) -> tuple[float, ...]:
        """Pixel of the array at the upper left corner of a box on a plane."""
        return tuple(float(value) for value in key.locate(box[0], box[1]))

    def crop_shape(self, key: PlaneKey, shape: tuple[int, int]) -> tuple[int, ...]:
        """Shape of an array of this image's axes that holds a piece of a plane."""
        flat = PlaneKey(axes=key.axes, index=(1,) * len(key.index))
        return tuple(int(size) for size in flat.locate(*shape))


def edges_to_box(
    vertices_yx: Coordinates,
) -> tuple[float, float, float, float]:
    """Bounding box of drawn vertices in the pixel-edge convention of prompts.

    A rectangle drawn tightly around pixels 10..20 reaches from 9.5 to 20.5 in the
    viewer; as a prompt it is 10 to 21.
    """
    y0, x0 = vertices_yx.min(axis=0) + 0.5
    y1, x1 = vertices_yx.max(axis=0) + 0.5
    return float(y0), float(x0), float(y1), float(x1)
