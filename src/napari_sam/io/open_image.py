# SPDX-License-Identifier: Apache-2.0
"""Images of any size from files, without reading more than is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_sam.errors import ImageError
from napari_sam.io.hdf5_images import is_hdf5, open_hdf5
from napari_sam.io.image_file import ImageFile, plan_axes
from napari_sam.io.images import check_image_file, read_image
from napari_sam.io.large_tiff import open_large_tiff
from napari_sam.io.stored_array import (
    DAMAGE,
    StoredArray,
    StoredContent,
    damage_text,
)
from napari_sam.io.tiff_reader import is_tiff
from napari_sam.io.zarr_images import is_zarr, open_zarr

FOLDER_SUFFIXES = frozenset({".zarr"})
"""Endings of folders that are one image."""

HDF5_SUFFIXES = frozenset({".h5", ".hdf5", ".hdf"})

SEPARATOR = "::"
"""Stands between a file and the place of an array in it."""


def open_image(path: str | Path, *, axes: str | None = None) -> ImageFile:
    """Open an image file of any size.

    Zarr folders, HDF5 files and TIFF files with more than 256 MiB of pixels are left
    where they are, and slices are read when asked for; other files are read at once.

    Parameters
    ----------
    path : str or Path
        The format is told by the content, not by the name. One array of a zarr folder
        or an HDF5 file is named after two colons: ``cells.h5::/raw/data``.
    axes : str, optional
        Meaning of the file's axes, one letter each, where the file is silent or wrong.

    Returns
    -------
    ImageFile
        Whoever works in another process opens the file there again.

    Raises
    ------
    ImageError
        If there is no image at this place, it is damaged, its numbers are complex, or
        it has more axes than can be placed.
    """
    file, inside = split_path(path)
    try:
        content = _open(file, inside)
    except PermissionError as error:
        msg = f"{file} may not be read: permission denied."
        raise ImageError(msg) from error
    except DAMAGE as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(damage_text(file, error)) from error
    if content is None:
        return read_image(file, axes=axes)
    return image_file_of(Path(path), content, axes)


def split_path(path: str | Path) -> tuple[Path, str]:
    """Return a file, and the place of an array in it or an empty text."""
    file, _, inside = str(path).partition(SEPARATOR)
    return Path(file), inside.strip("/")


def _open(file: Path, inside: str) -> StoredContent | None:
    """Open what can be read piece by piece; None for all other files."""
    if is_zarr(file):
        return open_zarr(file, inside)
    check_image_file(file)
    if is_hdf5(file):
        return open_hdf5(file, inside)
    if inside:
        msg = (
            f"{file} is neither a zarr folder nor an HDF5 file, so there is no "
            f"{inside!r} in it. Give the path of the file alone."
        )
        raise ImageError(msg)
    return open_large_tiff(file) if is_tiff(file) else None


def image_file_of(path: Path, content: StoredContent, axes: str | None) -> ImageFile:
    """Describe an image of which nothing is read yet.

    Parameters
    ----------
    path : Path
        Where it lies, for messages.
    content : StoredContent
        What was found there.
    axes : str, optional
        Meaning of the axes, one letter each, where the file is silent or wrong.

    Raises
    ------
    ImageError
        If it does not hold numbers, or its axes cannot be told.
    """
    finest = content.levels[0]
    if np.dtype(finest.dtype).kind not in "biuf":
        msg = (
            f"{path} holds numbers of type {finest.dtype}; an image needs integers or "
            "real numbers. Save, for instance, the magnitude of complex numbers."
        )
        raise ImageError(msg)
    shape = tuple(int(side) for side in finest.shape)
    if len(content.axes) != len(shape):
        text = f"{len(shape)} axes, but {len(content.axes)} are described"
        raise ImageError(damage_text(path, ValueError(text)))
    plan = plan_axes(shape, content.axes, axes, path)
    data, *coarser = (StoredArray(level, plan, path) for level in content.levels)
    return ImageFile(
        path,
        data,
        plan.axes,
        content.size.yx_um,
        content.size.z_um,
        content.notices,
        tuple(coarser),
    )
