# SPDX-License-Identifier: Apache-2.0
"""Label arrays and masks as JSON: runs of equal pixels, row by row, then zlib.

Labels are flat, so there are few runs; counting them first makes the compression many
times faster than on pixels, and the numbers do not depend on the machine's byte order.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam.errors import AnnotationFileError
from napari_sam.io.json_fields import JsonObject, take, take_numbers
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.rle import Rle, encode

IntArray = npt.NDArray[np.integer]

_LENGTH = np.dtype("<u4")
_FAST = 1
"""zlib level; higher ones make the runs hardly smaller and cost three times as much."""


def labels_to_json(labels: IntArray) -> JsonObject:
    """Write labels of any integer type.

    Parameters
    ----------
    labels : (h, w) integer array
        Of any byte order.

    Returns
    -------
    dict
        ``shape``, ``dtype``, ``lengths`` and ``values`` of the runs.
    """
    flat = np.ascontiguousarray(labels).ravel()
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate(([0], starts, [flat.size]) if flat.size else ([0],))
    return {
        "shape": [int(side) for side in labels.shape],
        "dtype": labels.dtype.name,
        "lengths": _pack(np.diff(bounds).astype(_LENGTH)),
        "values": _pack(_little_endian(flat[bounds[:-1]])),
    }


def labels_from_json(data: Any) -> IntArray:
    """Read what `labels_to_json` wrote.

    Raises
    ------
    AnnotationFileError
        If it is damaged.
    """
    shape = take_numbers(data, "shape", int, 2)
    dtype = integer_dtype(take(data, "dtype", str))
    size = math.prod(shape)
    if min(shape) < 0:
        msg = f"Labels cannot have the shape {shape}."
        raise AnnotationFileError(msg)
    lengths = _unpack(take(data, "lengths", str), _LENGTH, size)
    values = _unpack(take(data, "values", str), dtype.newbyteorder("<"), size)
    if lengths.size != values.size or int(lengths.sum(dtype=np.uint64)) != size:
        msg = f"The runs of labels do not fill the shape {shape}."
        raise AnnotationFileError(msg)
    return np.repeat(values.astype(dtype), lengths).reshape(shape)


def integer_dtype(name: str) -> np.dtype[np.integer]:
    """Return an integer type by its name.

    Raises
    ------
    AnnotationFileError
        If there is none of that name.
    """
    try:
        dtype = np.dtype(name)
    except TypeError:
        dtype = np.dtype(np.bool_)
    if dtype.kind not in "iu":
        msg = f"Labels are whole numbers such as uint32, not {name!r}."
        raise AnnotationFileError(msg)
    return dtype


def mask_to_json(mask: MaskWindow) -> JsonObject:
    """Write a mask as its corner and the COCO runs of its window."""
    return {"y0": int(mask.y0), "x0": int(mask.x0), **encode(mask.crop).to_dict()}


def mask_from_json(data: Any) -> MaskWindow:
    """Read what `mask_to_json` wrote.

    Raises
    ------
    AnnotationFileError
        If the runs do not fill the window.
    """
    size = take_numbers(data, "size", int, 2)
    counts = take_numbers(data, "counts", int)
    y0, x0 = take(data, "y0", int), take(data, "x0", int)
    if min(size) < 0:
        msg = f"A mask cannot have the size {size}."
        raise AnnotationFileError(msg)
    try:
        rle = Rle(size=size, counts=np.array(counts, dtype=np.int64))
    except (ValueError, OverflowError) as error:
        raise AnnotationFileError(str(error)) from error
    return MaskWindow(y0, x0, rle.decode())


def _little_endian(values: IntArray) -> IntArray:
    return values.astype(values.dtype.newbyteorder("<"))


def _pack(values: IntArray) -> str:
    return base64.b64encode(zlib.compress(values.tobytes(), _FAST)).decode("ascii")


def _unpack(text: str, dtype: np.dtype[Any], most: int) -> IntArray:
    """Read numbers; never more than `most`, however the text was damaged."""
    stream = zlib.decompressobj()
    try:
        packed = base64.b64decode(text, validate=True)
        raw = stream.decompress(packed, most * dtype.itemsize + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        msg = f"Compressed labels are damaged: {error}."
        raise AnnotationFileError(msg) from error
    if not stream.eof or len(raw) % dtype.itemsize:
        msg = "Compressed labels are damaged: they end too early or hold too much."
        raise AnnotationFileError(msg)
    return np.frombuffer(raw, dtype)
