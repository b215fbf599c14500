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

    from napari_sam._bridge.image_source import LayerImageSource
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
        1 unless a coarser level of a multiscale image is read, or for channels.
    channel_axis : int or None
        Axis along which one read pixel spans all channels. Pixel 0 lies on every
        position of its slider, and so do layers made with `transforms`.
    """

    def __init__(
        self,
        layer: Layer,
        shape: tuple[int, ...],
        factors: tuple[float, ...],
        channel_axis: int | None = None,
    ) -> None:
        self._layer = layer
        self._factors = np.asarray(factors, dtype=float)
        self._origin = (self._factors - 1) / 2  # centre of pixel 0, in data coordinates
        if channel_axis is not None:
            # napari shows points within half a pixel of the slider. Twice the span
            # keeps one that was drawn on the first channel in sight on the last.
            self._factors[channel_axis] *= 2
        self._channel_axis = channel_axis
        self.shape = shape

    @classmethod
    def of(cls, layer: Layer, source: LayerImageSource) -> PlaneMap:
        """Map the pixels that a source reads of a layer."""
        return cls(layer, source.shape, source.factors, source.channel_axis)

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
            In 3-D display, or if the view shows an axis that the image lacks or that
            holds its channels.
        """
        if dims.ndisplay != 2:
            msg = "The viewer shows 3-D. Switch to 2-D display to segment a plane."
            raise ImageError(msg)
        offset = dims.ndim - self.ndim
        rows, columns = sorted(axis - offset for axis in dims.displayed)
        # A viewer that is closing has fewer axes than the image had.
        if rows < 0 or offset < 0:
            msg = (
                f"The view shows an axis that the image {self._layer.name!r} does not "
                "have. Roll the dimensions back or choose another image."
            )
            raise ImageError(msg)
        if self._channel_axis in (rows, columns):
            msg = (
                f"The view shows axis {self._channel_axis} of {self._layer.name!r}, "
                "which holds its channels. Roll the dimensions until rows and columns "
                "are shown, or choose another channel axis."
            )
            raise ImageError(msg)
        index = tuple(
            int(np.clip(place, 0, self.shape[axis] - 1))
            for axis, place in self._slider_places(dims, (rows, columns))
        )
        return PlaneKey(axes=(rows, columns), index=index)

    def pointer_yx(
        self, dims: Dims, world: npt.ArrayLike
    ) -> tuple[PlaneKey, tuple[float, float]] | None:
        """Find the pixel under the pointer.

        Parameters
        ----------
        dims : napari.components.Dims
            Of the viewer.
        world : (n,) array-like
            Where the pointer is, as napari's mouse events tell it.

        Returns
        -------
        (PlaneKey, (y, x)) or None
            The plane shown and the place on it, whole numbers being pixel centres.
            None beside the image, and while the view shows no plane of it.
        """
        try:
            key = self.plane_key(dims)
        except ImageError:
            return None
        if any(
            not 0 <= place < self.shape[axis]
            for axis, place in self._slider_places(dims, key.axes)
        ):
            return None
        yx = self.world_to_yx(key, world)
        return None if yx is None else (key, yx)

    def world_to_yx(
        self, key: PlaneKey, world: npt.ArrayLike
    ) -> tuple[float, float] | None:
        """Map a world position to a place on a plane as it is drawn.

        napari draws a plane by the part of the transform that concerns the axes shown:
        a stack whose planes are sheared against each other, say, is drawn without that
        shear. So the position's other coordinates do not matter here.

        Returns
        -------
        (y, x) or None
            None beside the plane.
        """
        layer, axes = self._layer, list(key.axes)
        origin = np.asarray(layer.data_to_world(np.zeros(self.ndim)), dtype=float)
        steps = [layer.data_to_world(unit) - origin for unit in np.eye(self.ndim)[axes]]
        drawn = np.asarray(steps, dtype=float)[:, axes].T
        place = np.asarray(world, dtype=float)[-self.ndim :][axes] - origin[axes]
        try:
            data = np.linalg.solve(drawn, place)
        except np.linalg.LinAlgError:
            return None  # the plane is seen from its edge
        y, x = (data - self._origin[axes]) / self._factors[axes]
        height, width = self.plane_shape(key)
        if not (-0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5):
            return None
        return float(y), float(x)

    def world_to_pixel(self, world: npt.ArrayLike) -> Coordinates:
        """Map one world position to pixels of the array that is read, (ndim,)."""
        data = np.asarray(self._layer.world_to_data(world), dtype=float)
        return (data - self._origin) / self._factors

    def pixel_to_world(self, pixel: npt.ArrayLike) -> Coordinates:
        """Inverse of `world_to_pixel` for one position, (ndim,)."""
        data = np.asarray(pixel, dtype=float) * self._factors + self._origin
        return np.asarray(self._layer.data_to_world(data), dtype=float)

    def _slider_places(
        self, dims: Dims, axes: tuple[int, int]
    ) -> list[tuple[int, float]]:
        """Axis and nearest pixel, also outside the image, of every slider."""
        # As napari slices: the axes shown stand at the world's origin.
        world = np.asarray(dims.point, dtype=float)[-self.ndim :].copy()
        world[list(axes)] = 0
        pixel = np.round(self.world_to_pixel(world))
        return [
            (axis, float(pixel[axis])) for axis in range(self.ndim) if axis not in axes
        ]

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
