# SPDX-License-Identifier: Apache-2.0
"""TIFF stacks of which one plane at a time is decoded.

`io.open_image` reads files of up to 256 MiB at once, which is best for one picture.
Training draws planes of many stacks in any order: read at once, each draw would decode
a whole stack.
"""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_sam.errors import ImageError
from napari_sam.io.image_file import ImageFile, plan_axes
from napari_sam.io.large_tiff import MAX_MEMORY_BYTES
from napari_sam.io.open_image import split_path
from napari_sam.io.stored_array import DAMAGE, StoredArray
from napari_sam.io.tiff_reader import (
    about_series,
    check_complaints,
    heard_complaints,
    is_tiff,
)

if TYPE_CHECKING:
    from pathlib import Path


def open_stack(path: str | Path, axes: str | None = None) -> ImageFile | None:
    """Open a TIFF stack without decoding it, if that can be done plane by plane.

    The file is open as long as something of the result is in use.

    Parameters
    ----------
    path : str or Path
        Any image.
    axes : str, optional
        Meaning of the file's axes, one letter each, where the file is silent or wrong.

    Returns
    -------
    ImageFile or None
        None of what is left to `io.open_image`: flat images, other formats, larger
        files, palettes, unknown compressions, and everything that is damaged.
    """
    file, inside = split_path(path)
    try:
        if inside or not file.is_file() or not is_tiff(file):
            return None
        opened = _open(file, axes)
        if opened is None or opened.n_planes == 1:
            return None
        # One pixel tells whether the compression is known.
        opened.data[(0,) * opened.data.ndim]
    except (ImageError, *DAMAGE):
        return None
    return opened


def _open(file: Path, axes: str | None) -> ImageFile | None:
    with heard_complaints() as complaints, ExitStack() as stack:
        tif = stack.enter_context(tifffile.TiffFile(file))
        series = tif.series[0]
        about = about_series(file, tif)
        is_number = np.dtype(series.dtype).kind in "iuf"
        is_coloured = about.is_palette and not tif.is_imagej
        if series.nbytes > MAX_MEMORY_BYTES or is_coloured or not is_number:
            return None
        check_complaints(complaints)
        if series.dataoffset is not None and not series.is_multifile:
            array: Any = tifffile.memmap(file, mode="r")
        else:
            import zarr

            array = zarr.open_array(series.aszarr(level=0), mode="r")
            weakref.finalize(array.store, stack.pop_all().close)
    shape = tuple(int(side) for side in array.shape)
    plan = plan_axes(shape, about.axes, axes, file)
    data = StoredArray(array, plan, file)
    size = about.size
    return ImageFile(file, data, plan.axes, size.yx_um, size.z_um, about.notices)
