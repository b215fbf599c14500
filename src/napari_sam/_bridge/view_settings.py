# SPDX-License-Identifier: Apache-2.0
"""What view settings mean for a layer: names, limits and axes of channels."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_sam.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.layers import Image

    from napari_sam.structures.view_settings import Channel, ViewSettings

Chosen: TypeAlias = "tuple[int | None, int | None, int | None]"
"""Index of the channel shown in red, green and blue; None is black."""

COLOURS = ("red", "green", "blue")
MAX_HINTED_CHANNELS = 6
"""A longer axis without a name is more likely depth or time."""

# What napari writes where nobody named an axis; 0.8 puts the word before it.
_UNNAMED = re.compile(r"(axis )?-\d+")
_CHANNEL_LABELS = {"c", "ch", "chan", "channel", "channels"}


def image_shape(layer: Image) -> tuple[int, ...]:
    """Shape of a layer's finest array, without a colour axis."""
    array = layer.data[0] if layer.multiscale else layer.data
    shape = tuple(int(size) for size in array.shape)
    return shape[:-1] if layer.rgb else shape


def channel_axis_hint(layer: Image) -> int | None:
    """Return the axis that may hold channels, as a hint to the user only.

    An axis named c or channel is taken for one. In an image whose axes have no names,
    it is the only axis beside the last two that has two to six entries.
    """
    shape = image_shape(layer)
    if layer.rgb or len(shape) < 3:
        return None
    labels = [str(label).strip().lower() for label in layer.axis_labels]
    for axis, label in enumerate(labels):
        if label in _CHANNEL_LABELS and shape[axis] > 1:
            return axis
    if not all(_UNNAMED.fullmatch(label) for label in labels):
        return None
    small = [
        axis for axis, size in enumerate(shape[:-2]) if 1 < size <= MAX_HINTED_CHANNELS
    ]
    return small[0] if len(small) == 1 else None


def channel_names(
    layer: Image, channel_axis: int | None = None, others: Sequence[Image] = ()
) -> tuple[str, ...]:
    """Names of what can be shown in red, green and blue.

    Parameters
    ----------
    layer : Image
        Whose channels.
    channel_axis : int or None
        Axis of the channels. Their names come from ``metadata["channel_names"]`` if it
        has as many of them, otherwise they are numbered.
    others : sequence of Image
        Layers on the same pixels, each one channel more; ignored with a channel axis.
    """
    if layer.rgb:
        return COLOURS
    if channel_axis is None:
        return tuple(str(each.name) for each in (layer, *others))
    n_channels = image_shape(layer)[channel_axis]
    given = layer.metadata.get("channel_names")
    if isinstance(given, (list, tuple)) and len(given) == n_channels:
        return tuple(str(name) for name in given)
    return tuple(f"channel {number}" for number in range(n_channels))


def layers_on_same_pixels(layer: Image, layers: Iterable[Any]) -> list[Image]:
    """List single-channel images of the same shape and place, as napari splits them."""
    from napari.layers import Image

    shape = image_shape(layer)
    if layer.rgb:
        return []
    corners = [np.zeros(len(shape)), *np.diag(np.asarray(shape, dtype=float))]

    def is_alike(other: Any) -> bool:
        return (
            isinstance(other, Image)
            and other != layer
            and not other.rgb
            and other.multiscale == layer.multiscale
            and image_shape(other) == shape
            and all(
                np.allclose(other.data_to_world(corner), layer.data_to_world(corner))
                for corner in corners
            )
        )

    return [other for other in layers if is_alike(other)]


def choose_channels(channels: Sequence[Channel] | None, names: Sequence[str]) -> Chosen:
    """Turn names into indices; without a choice, take the first three.

    Raises
    ------
    ImageError
        If there is no such channel.
    """
    if channels is None:
        if len(names) == 1:
            return (0, 0, 0)
        return (0, 1, 2 if len(names) > 2 else None)
    red, green, blue = (_index(channel, names) for channel in channels)
    return red, green, blue


def with_layer_limits(
    settings: ViewSettings, layers: Sequence[Image], chosen: Chosen
) -> ViewSettings:
    """Write the contrast limits of the layers into settings that ask for them.

    Parameters
    ----------
    settings : ViewSettings
        Returned unchanged if limits are known or not needed.
    layers : sequence of Image
        One layer, or as many as there are channels.
    chosen : three of int or None
        Channels shown.
    """
    if settings.contrast != "contrast limits" or settings.limits is not None:
        return settings
    if len(layers) == 1:
        return replace(settings, limits=tuple(layers[0].contrast_limits))
    used = next(index for index in chosen if index is not None)
    pairs = tuple(
        tuple(layers[used if index is None else index].contrast_limits)
        for index in chosen
    )
    return replace(settings, limits=pairs)


def _index(channel: Channel, names: Sequence[str]) -> int | None:
    if channel is None:
        return None
    if isinstance(channel, int):
        if channel < len(names):
            return channel
    elif channel in names:
        return list(names).index(channel)
    known = ", ".join(repr(name) for name in names)
    msg = (
        f"The image has no channel {channel!r}. Choose among {known}, or one of the "
        f"numbers 0 to {len(names) - 1}."
    )
    raise ImageError(msg)
