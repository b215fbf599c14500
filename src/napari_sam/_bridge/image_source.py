# SPDX-License-Identifier: Apache-2.0
"""What a model sees of an Image layer, one plane at a time, from any thread."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._bridge.view_settings import (
    channel_names,
    choose_channels,
    with_layer_limits,
)
from napari_sam.errors import ImageError
from napari_sam.structures.image_digest import image_digest
from napari_sam.structures.plane_pixels import ArrayPixels
from napari_sam.structures.view_settings import ViewSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Image

    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.arrays import Plane, RgbPlane
    from napari_sam.structures.plane_pixels import PlanePixels

MAX_PLANE_PX = 1 << 28
"""A plane with more pixels (16384 x 16384) is not read at once."""

# Of a level with more pixels, a thumbnail shows the middle of such sides.
_MAX_THINNED_PX, _MIDDLE_SIDE = 1 << 26, 4096


class LayerImageSource:
    """An `ImageSource` on the array of an Image layer.

    The array, not the layer, is kept: reading it from another thread is safe, and a
    dask or zarr array is sliced before anything is computed.

    Parameters
    ----------
    layer : napari.layers.Image
        The image; RGB, multiscale and any number of axes are legal.
    settings : ViewSettings, optional
        Channels, contrast, gamma. By default planes are handed out as they are.
    others : sequence of napari.layers.Image
        Images on the same pixels that `settings` may name as channels.

    Attributes
    ----------
    shape : tuple of int
        Shape of the image at full resolution, without a colour axis; 1 along the
        channels.
    factors : tuple of float
        How many pixels of the layer's array one pixel of `shape` spans per axis: 1,
        along the channels the number of channels.
    channel_axis : int or None
        Axis that is no axis of a plane, because it holds channels.
    channel_names : tuple of str
        What `settings` can choose from.
    settings : ViewSettings
        With the limits that were read from the layers.

    Raises
    ------
    ImageError
        If the layer is no Image layer, has fewer than two axes, or lacks a channel or
        axis that the settings name.
    """

    def __init__(
        self,
        layer: Image,
        settings: ViewSettings | None = None,
        others: Sequence[Image] = (),
    ) -> None:
        _check_layer(layer)
        settings = ViewSettings() if settings is None else settings
        self._is_rgb = bool(layer.rgb)
        self.channel_axis = axis = settings.channel_axis
        layers = [layer] if axis is not None or self._is_rgb else [layer, *others]
        # One tuple of levels, finest first, for each layer.
        self._levels = [
            tuple(each.data) if each.multiscale else (each.data,) for each in layers
        ]
        finest = [self._spatial_shape(levels[0]) for levels in self._levels]
        _check_axis(layer, axis, len(finest[0]))
        _check_alike(layers, finest)
        sides = list(finest[0])
        if axis is not None:
            sides[axis] = 1
        self.shape = tuple(sides)
        if 0 in self.shape:
            msg = (
                f"The image {layer.name!r} has the shape {self.shape}: without pixels "
                "there is nothing to segment."
            )
            raise ImageError(msg)
        self.factors = tuple(
            full / size for full, size in zip(finest[0], self.shape, strict=True)
        )
        self.channel_names = channel_names(layer, axis, layers[1:])
        # Without a choice, other layers are not mixed in.
        n_offered = 1 if settings.channels is None and len(layers) > 1 else None
        self._chosen = choose_channels(
            settings.channels, self.channel_names[:n_offered]
        )
        self.settings = with_layer_limits(settings, layers, self._chosen)
        self._pixels: str | None = None

    @property
    def portable_settings(self) -> ViewSettings:
        """The settings with channels of the array by number, not by name.

        Whoever opens the image elsewhere has no names of layers; channels that are
        other layers keep theirs.
        """
        if self.channel_axis is None or self.settings.channels is None:
            return self.settings
        red, green, blue = self._chosen
        return replace(self.settings, channels=(red, green, blue))

    @property
    def image_identity(self) -> str:
        """Hash of shape, dtype and a sample of the layer's pixels."""
        if self._pixels is None:
            self._pixels = self._digest(self._levels[0][0])
        return self._pixels

    @property
    def identity(self) -> str:
        """Hash of the pixels and of how they are shown: 32 hexadecimal digits."""
        if self.settings.is_default:
            return self.image_identity
        about = self.settings.to_dict() | {"channels": self._chosen}
        parts = [self.image_identity, repr(sorted(about.items()))]
        if len(self._levels) > 1:
            used = sorted({index for index in self._chosen if index is not None})
            parts += [self._digest(self._levels[index][0]) for index in used]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    def plane_shape(self, key: PlaneKey) -> tuple[int, int]:
        """Height and width in pixels of the plane."""
        return self.shape[key.axes[0]], self.shape[key.axes[1]]

    def plane_pixels(self, key: PlaneKey) -> PlanePixels:
        """Return what the model is to get, to be read piece by piece.

        Nothing is read before the first piece is. Brightness is the same in all pieces
        and levels; see `prediction.brightness_sample`.

        Returns
        -------
        PlanePixels
            With all levels of the image; its pixels are those of `read_plane`.

        Raises
        ------
        ImageError
            If the plane lies along the channels, or the image has no such plane.
        """
        return self._seen(key, lambda stored: stored)

    def read_plane(self, key: PlaneKey) -> Plane:
        """Return what the model is to get, at full resolution.

        Returns
        -------
        (H, W), (H, W, 3) or (H, W, 4) array
            The plane's pixels of any dtype without settings, an 8-bit picture
            (H, W, 3) with them.

        Raises
        ------
        ImageError
            If the plane is too large to be read at once.
        """
        self._check_size(key)
        return self.plane_pixels(key).read((0, 0, *self.plane_shape(key)))

    def read_pixels(self, key: PlaneKey) -> Plane:
        """Return values as they are in the array, for measurements.

        Returns
        -------
        (H, W) or (H, W, n) array
            Of the array's dtype; n is 3 or 4 for a colour picture, otherwise the number
            of channels shown, if it is more than one.

        Raises
        ------
        ImageError
            If the plane is too large to be read at once.
        """
        self._check_size(key)
        everything = (0, 0, *self.plane_shape(key))
        if self.channel_axis is None and len(self._levels) == 1:
            return self._stored(0, key).read(everything)
        self._check_plane(key)
        shown = dict.fromkeys(index for index in self._chosen if index is not None)
        planes = [self._channel(index, key).read(everything) for index in shown]
        return planes[0] if len(planes) == 1 else np.stack(planes, axis=-1)

    @property
    def unscaled(self) -> PixelSource:
        """The same image as a source of values that no setting has changed."""
        return PixelSource(self)

    def read_thumbnail(self, key: PlaneKey, max_side: int = 160) -> RgbPlane:
        """Return a small picture of what the model gets.

        It has every n-th row and column of the coarsest level that is large enough, so
        percentiles are those of fewer pixels. Of a level larger than 8192 x 8192 it
        shows the middle.

        Returns
        -------
        (h, w, 3) uint8 array
            Neither side longer than `max_side`.
        """
        from napari_sam.prediction.intensity import to_rgb

        pixels = self._seen(key, lambda stored: _thinned(stored, max_side))
        return to_rgb(pixels.read((0, 0, *pixels.shape)))

    def _seen(
        self, key: PlaneKey, take: Callable[[ArrayPixels], ArrayPixels]
    ) -> PlanePixels:
        """Apply the settings to what `take` makes of the stored channels."""
        if self.settings.is_default:
            return take(self._stored(0, key))
        from napari_sam.prediction.channel_view import ShownChannels, ShownColours

        if self._is_rgb:
            return ShownColours(take(self._stored(0, key)), self.settings, self._chosen)
        self._check_plane(key)
        shown = {i: take(self._channel(i, key)) for i in self._chosen if i is not None}
        channels = [None if i is None else shown[i] for i in self._chosen]
        return ShownChannels(channels, self.settings)

    def _check_plane(self, key: PlaneKey) -> None:
        if self.channel_axis is not None and self.channel_axis in key.axes:
            msg = (
                f"Axis {self.channel_axis} holds channels, so a plane cannot lie along "
                "it. Show other axes, or choose another axis for the channels."
            )
            raise ImageError(msg)

    def _check_size(self, key: PlaneKey) -> None:
        height, width = self.plane_shape(key)
        if height * width > MAX_PLANE_PX:
            msg = (
                f"A plane of {height} x {width} pixels is too large to be read at "
                f"once; up to {MAX_PLANE_PX:,} pixels can be. Work on a part of it: "
                "crop the layer, or use a coarser level as a layer of its own."
            )
            raise ImageError(msg)

    def _channel(self, index: int, key: PlaneKey) -> ArrayPixels:
        """Return a channel of a plane, be it on an axis or another layer."""
        if self.channel_axis is None:
            return self._stored(index, key)
        place = list(key.locate(None, None))
        place[self.channel_axis] = index
        fixed = tuple(place[axis] for axis in range(len(place)) if axis not in key.axes)
        return self._stored(0, replace(key, index=fixed))

    def _stored(self, number: int, key: PlaneKey) -> ArrayPixels:
        """Return a plane of a layer's arrays as it is."""
        return ArrayPixels(
            self._levels[number],
            axes=key.axes,
            channel_axis=len(self.shape) if self._is_rgb else None,
            index=key.index,
        )

    def _digest(self, array: Any) -> str:
        return image_digest(array, 3 if self._is_rgb else 2)

    def _spatial_shape(self, array: Any) -> tuple[int, ...]:
        shape = tuple(int(size) for size in array.shape)
        return shape[:-1] if self._is_rgb else shape


class PixelSource:
    """An `ImageSource` of the values in the array, for measurements.

    Parameters
    ----------
    source : LayerImageSource
        Says which channels are shown.
    """

    def __init__(self, source: LayerImageSource) -> None:
        self._source = source

    @property
    def identity(self) -> str:
        """Hash of the pixels alone."""
        return self._source.image_identity

    def plane_shape(self, key: PlaneKey) -> tuple[int, int]:
        """Height and width in pixels of the plane."""
        return self._source.plane_shape(key)

    def read_plane(self, key: PlaneKey) -> Plane:
        """Return values as they are in the array, (H, W) or (H, W, n)."""
        return self._source.read_pixels(key)


def _thinned(pixels: ArrayPixels, max_side: int) -> ArrayPixels:
    """Return every n-th row and column, in the middle of a very large plane."""
    level = max(
        (n for n, sides in enumerate(pixels.level_shapes) if max(sides) >= max_side),
        default=0,
    )
    sides = height, width = pixels.level_shapes[level]
    if height * width > _MAX_THINNED_PX:
        height, width = (min(side, _MIDDLE_SIDE) for side in sides)
    y, x = (sides[0] - height) // 2, (sides[1] - width) // 2
    step = max(1, -(-max(height, width) // max_side))
    thin = pixels.read((y, x, y + height, x + width), level)[::step, ::step]
    return ArrayPixels((thin,), axes=(0, 1), channel_axis=2 if thin.ndim == 3 else None)


def _check_layer(layer: Any) -> None:
    """Raise ImageError unless a layer holds pictures."""
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


def _check_alike(layers: Sequence[Image], shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise ImageError unless layers that are channels of one image have one shape."""
    for other, shape in zip(layers, shapes, strict=True):
        if shape != shapes[0]:
            msg = (
                f"The image {other.name!r} has shape {shape}, {layers[0].name!r} has "
                f"{shapes[0]}: they cannot be channels of one picture."
            )
            raise ImageError(msg)


def _check_axis(layer: Image, axis: int | None, n_axes: int) -> None:
    """Raise ImageError unless an axis can be that of channels."""
    if axis is None:
        return
    if layer.rgb:
        msg = (
            f"The image {layer.name!r} is a colour picture: its channels are red, "
            "green and blue. Choose no axis for channels."
        )
        raise ImageError(msg)
    if axis >= n_axes or n_axes < 3:
        msg = (
            f"The image {layer.name!r} has {n_axes} axes, so axis {axis} cannot hold "
            "channels: two more are needed for rows and columns."
        )
        raise ImageError(msg)
