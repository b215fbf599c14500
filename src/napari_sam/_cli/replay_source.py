# SPDX-License-Identifier: Apache-2.0
"""The image of an annotation file, shown to the model as it was then."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.annotation.ports import PlaneKey
from napari_sam.annotation.state import AnnotationState
from napari_sam.errors import AnnotationFileError, NapariSamError
from napari_sam.io.annotation_file import short
from napari_sam.io.images import read_image
from napari_sam.io.tiff_reader import is_tiff
from napari_sam.structures.arrays import Plane
from napari_sam.structures.image_digest import image_digest
from napari_sam.structures.plane_pixels import ArrayPixels
from napari_sam.structures.view_settings import Channel, ViewSettings


@dataclass(frozen=True, eq=False)
class FileSource:
    """An `ImageSource` on an array that was read from a file.

    Attributes
    ----------
    array : (...) array
        As the layer held it that was annotated.
    is_rgb : bool
        Whether the last axis holds colours.
    settings : ViewSettings
        How it was shown.
    identity : str
        Hash of its pixels.
    """

    array: Any
    is_rgb: bool
    settings: ViewSettings
    identity: str

    def plane_shape(self, key: PlaneKey) -> tuple[int, int]:
        """Height and width in pixels of the plane."""
        return int(self.array.shape[key.axes[0]]), int(self.array.shape[key.axes[1]])

    def read_plane(self, key: PlaneKey) -> Plane:
        """Return what the model was shown of a plane."""
        where = list(key.locate(slice(None), slice(None)))
        if self.settings.is_default:
            return np.asarray(self.array[tuple(where)])
        from napari_sam.prediction.channel_view import (
            show_channels,
            show_colour_picture,
        )

        red, green, blue = _indices(self.settings, self._n_channels())
        if self.is_rgb:
            plane = np.asarray(self.array[tuple(where)])
            return show_colour_picture(plane, self.settings, (red, green, blue))
        planes: dict[int | None, Plane | None] = {None: None}
        for index in (red, green, blue):
            if self.settings.channel_axis is not None and index is not None:
                where[self.settings.channel_axis] = index
            if index not in planes:
                planes[index] = np.asarray(self.array[tuple(where)])
        return show_channels([planes[i] for i in (red, green, blue)], self.settings)

    def plane_pixels(self, key: PlaneKey) -> ArrayPixels:
        """Return what the model was shown of a plane, to be read piece by piece."""
        if not self.settings.is_default:
            return ArrayPixels((self.read_plane(key),), axes=(0, 1), channel_axis=2)
        channels = self.array.ndim - 1 if self.is_rgb else None
        return ArrayPixels(
            (self.array,), axes=key.axes, channel_axis=channels, index=key.index
        )

    def _n_channels(self) -> int:
        if self.is_rgb:
            return 3
        axis = self.settings.channel_axis
        return 1 if axis is None else int(self.array.shape[axis])


def find_image(file: Path, state: AnnotationState, image: Path | None) -> Path:
    """Tell where the image of an annotation file lies.

    Raises
    ------
    AnnotationFileError
        If it is nowhere and none was named.
    """
    if image is not None:
        return image
    stored = state.image_path
    # A file of Windows is looked for on Linux too, and the other way round.
    names = {stored.replace("\\", "/").rpartition("/")[2], state.image_name} - {""}
    beside = [file.parent / name for name in sorted(names)]
    for path in [Path(stored), *beside] if stored else beside:
        if path.is_file():
            return path
    place = f" It was {stored}." if stored else ""
    msg = (
        f"The image of {file} ({state.image_name!r}) was not found.{place} Name it: "
        f"napari-sam replay {file.name} IMAGE"
    )
    raise AnnotationFileError(msg)


def open_source(path: Path, state: AnnotationState) -> FileSource:
    """Read an image so that it has the pixels that were annotated.

    Raises
    ------
    AnnotationFileError
        If the file holds another image, or the model was shown other layers too.
    ImageError
        If it cannot be read.
    """
    settings = _settings(state)
    first = ""
    for array, is_rgb in _ways_to_read(path):
        identity = image_digest(array, 3 if is_rgb else 2)
        first = first or identity
        if identity == state.image_identity:
            return FileSource(array, is_rgb, settings, identity)
    msg = (
        f"{path} is another image: the annotation was made on {state.image_name!r} "
        f"({short(state.image_identity)}), this is {short(first)}."
    )
    raise AnnotationFileError(msg)


def _settings(state: AnnotationState) -> ViewSettings:
    try:
        settings = ViewSettings.from_dict(state.view)
    except NapariSamError as error:
        msg = f"How the image was shown is not understood: {error}"
        raise AnnotationFileError(msg) from error
    names = [c for c in settings.channels or () if isinstance(c, str)]
    if names:
        msg = (
            f"The model was shown channels by the names of layers ({', '.join(names)})."
            " Only channels by number can be found in a file."
        )
        raise AnnotationFileError(msg)
    return settings


def _ways_to_read(path: Path) -> Iterator[tuple[Any, bool]]:
    """Give the arrays that a layer on the file may have held, the likely ones first."""
    content = read_image(path)
    data, letter = content.data, content.axes[-1]
    yield data, letter == "S"
    if letter == "C":
        # One layer per channel, or channels as an axis of the layer.
        for channel in range(content.n_channels):
            yield data[..., channel], False
        for axis in range(data.ndim - 1):
            yield np.moveaxis(data, -1, axis), False
    raw = _as_stored(path)
    for is_rgb in (False, True):
        if raw.ndim > 2 + is_rgb - 1:
            yield raw, is_rgb


def _as_stored(path: Path) -> Any:
    """Read an array as napari's own reader does: no axis moved, none left out."""
    if is_tiff(path):
        import tifffile

        return np.asarray(tifffile.imread(path))
    from PIL import Image

    with Image.open(path) as picture:
        return np.array(picture)


def _indices(
    settings: ViewSettings, n_channels: int
) -> tuple[int | None, int | None, int | None]:
    """Tell which channel is red, green and blue; the first three without a choice."""
    if settings.channels is None:
        if n_channels == 1:
            return 0, 0, 0
        return 0, 1, 2 if n_channels > 2 else None
    red, green, blue = (_index(channel, n_channels) for channel in settings.channels)
    return red, green, blue


def _index(channel: Channel, n_channels: int) -> int | None:
    if channel is None or (isinstance(channel, int) and channel < n_channels):
        return channel
    msg = f"The image has {n_channels} channels, so there is no channel {channel!r}."
    raise AnnotationFileError(msg)
