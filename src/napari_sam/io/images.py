# SPDX-License-Identifier: Apache-2.0
"""Microscopy images from files: TIFF with its axes and sizes, PNG, JPEG and others."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from napari_sam.errors import ImageError
from napari_sam.io.image_file import ImageFile, place_axes
from napari_sam.io.pixel_size import PixelSize
from napari_sam.io.stored_array import DAMAGE, damage_text
from napari_sam.io.tiff_reader import is_tiff, read_tiff

IMAGE_SUFFIXES = frozenset(
    {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm", ".ppm"}
)
_FORMATS = "TIFF, PNG, JPEG, BMP, GIF, WebP or PNM"

# Modes whose numbers are intensities; others (palettes, CMYK, 1 bit) are converted.
_PLAIN_MODES = {"L", "RGB", "RGBA", "LA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}


def read_image(
    path: str | Path, *, axes: str | None = None, as_labels: bool = False
) -> ImageFile:
    """Read an image file completely.

    Parameters
    ----------
    path : str or Path
        The format is told by the content, not by the name.
    axes : str, optional
        Meaning of the file's axes, one letter each, where the file is silent or wrong:
        Y, X, C channels, S red-green-blue, any other letter for planes.
    as_labels : bool
        Whether the numbers of a palette image are wanted and not its colours.

    Returns
    -------
    ImageFile

    Raises
    ------
    ImageError
        If there is no such file, it is empty, damaged or no image, its numbers are
        complex, or it has more axes than can be placed.
    """
    path = Path(path)
    check_image_file(path)
    try:
        if is_tiff(path):
            data, found, size, notices = read_tiff(path, as_labels=as_labels)
        else:
            data, found = _read_by_pillow(path, as_labels=as_labels)
            size, notices = PixelSize(), ()
    except UnidentifiedImageError as error:
        msg = f"{path} is not an image that can be read. Give a {_FORMATS} file."
        raise ImageError(msg) from error
    except PermissionError as error:
        msg = f"{path} may not be read: permission denied."
        raise ImageError(msg) from error
    except Image.DecompressionBombError as error:
        msg = f"{path} is too large for this format ({error}). Save it as TIFF."
        raise ImageError(msg) from error
    except MemoryError as error:
        msg = f"{path} does not fit into memory. Cut it or split the stack."
        raise ImageError(msg) from error
    except DAMAGE as error:
        raise ImageError(damage_text(path, error)) from error
    if data.dtype.kind not in "biuf":
        msg = (
            f"{path} holds numbers of type {data.dtype}; an image needs integers or "
            "real numbers. Save, for instance, the magnitude of complex numbers."
        )
        raise ImageError(msg)
    if data.dtype.kind == "b":
        data = data.astype(np.uint8) * np.uint8(255)
    if len(found) != data.ndim:
        text = f"{data.ndim} axes, but {len(found)} are described"
        raise ImageError(damage_text(path, ValueError(text)))
    placed, letters = place_axes(data, found, axes, path)
    return ImageFile(path, placed, letters, size.yx_um, size.z_um, notices)


def check_image_file(path: Path) -> None:
    """Refuse what is no file with something in it, without reading it.

    Raises
    ------
    ImageError
        If the path is missing, a folder, out of reach or empty.
    """
    if path.is_dir():
        msg = f"{path} is a folder. Give an image file."
        raise ImageError(msg)
    try:
        n_bytes = path.stat().st_size
    except FileNotFoundError as error:
        msg = f"There is no file {path}."
        raise ImageError(msg) from error
    except OSError as error:
        msg = f"{path} may not be read: {error.strerror or error}."
        raise ImageError(msg) from error
    if n_bytes == 0:
        msg = f"{path} is empty (0 bytes)."
        raise ImageError(msg)


def _read_by_pillow(path: Path, *, as_labels: bool) -> tuple[NDArray[Any], str]:
    """One picture, or the frames of an animated one as a time series."""
    with Image.open(path) as image:
        n_frames = getattr(image, "n_frames", 1)
        frames = []
        for index in range(n_frames):
            if n_frames > 1:
                image.seek(index)
            frames.append(_frame(image, as_labels=as_labels))
    axes = "YX" if frames[0].ndim == 2 else "YXS"
    if n_frames == 1:
        return frames[0], axes
    return np.stack(frames), "T" + axes


def _frame(image: Image.Image, *, as_labels: bool) -> NDArray[Any]:
    if image.mode == "1":
        return np.array(image.convert("L"))
    if image.mode in _PLAIN_MODES or (as_labels and image.mode == "P"):
        return np.array(image)
    return np.array(image.convert("RGB"))
