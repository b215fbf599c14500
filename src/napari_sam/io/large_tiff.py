# SPDX-License-Identifier: Apache-2.0
"""TIFF files past memory: tiles and levels are decoded when they are asked for."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import tifffile

from napari_sam.io.stored_array import StoredContent
from napari_sam.io.tiff_reader import (
    about_series,
    check_complaints,
    heard_complaints,
)

if TYPE_CHECKING:
    from pathlib import Path

MAX_MEMORY_BYTES = 1 << 28
"""A series with fewer bytes of pixels (256 MiB) is read at once."""


def open_large_tiff(path: Path, larger_than: int | None = None) -> StoredContent | None:
    """Open the first image series of a TIFF file without reading pixels.

    Pixels that lie in one piece are mapped into memory. Others are decoded tile by
    tile, or strip by strip, from the level that is asked for.

    Parameters
    ----------
    path : Path
        A TIFF file.
    larger_than : int, optional
        Bytes of pixels; smaller series are better read at once. The default is
        `MAX_MEMORY_BYTES`.

    Returns
    -------
    StoredContent or None
        None if it is small, or is coloured by a palette, and is better read at once.

    Raises
    ------
    ValueError, OSError, ...
        Whatever tifffile meets in a damaged file; see ``open_image``.
    """
    least = MAX_MEMORY_BYTES if larger_than is None else larger_than
    with heard_complaints() as complaints, ExitStack() as stack:
        tif = stack.enter_context(tifffile.TiffFile(path))
        series = tif.series[0]
        about = about_series(path, tif)
        is_coloured = about.is_palette and not tif.is_imagej
        if series.nbytes <= least or is_coloured:
            return None
        check_complaints(complaints)
        levels: tuple[Any, ...]
        is_one_piece = series.dataoffset is not None and not series.is_multifile
        if is_one_piece and not series.is_pyramidal:
            levels = (tifffile.memmap(path, mode="r"),)
        else:
            levels = _levels(series)
            # The file stays open as long as one of them is in use.
            weakref.finalize(levels[0].store, stack.pop_all().close)
    return StoredContent(levels, about.axes, about.size, about.notices)


def _levels(series: tifffile.TiffPageSeries) -> tuple[Any, ...]:
    """Return the levels as zarr arrays."""
    import zarr

    group = zarr.open_group(series.aszarr(multiscales=True), mode="r")
    return tuple(group[str(number)] for number in range(len(series.levels)))
