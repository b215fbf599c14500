# SPDX-License-Identifier: Apache-2.0
"""TIFF stacks of which one plane at a time is decoded.

`io.open_image` reads files of up to 256 MiB at once, which is best for one picture.
Training draws planes of many stacks in any order: read at once, each draw would decode
a whole stack.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_sam.errors import ImageError
from napari_sam.io.large_tiff import MAX_MEMORY_BYTES, open_large_tiff
from napari_sam.io.open_image import image_file_of, split_path
from napari_sam.io.stored_array import DAMAGE
from napari_sam.io.tiff_reader import is_tiff

if TYPE_CHECKING:
    from pathlib import Path

    from napari_sam.io.image_file import ImageFile


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
    content = open_large_tiff(file, larger_than=0)
    if content is None:
        return None
    array = content.levels[0]
    n_bytes = math.prod(array.shape) * array.dtype.itemsize
    if n_bytes > MAX_MEMORY_BYTES or array.dtype.kind not in "iuf":
        return None
    return image_file_of(file, content, axes)
