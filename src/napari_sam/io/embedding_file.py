# SPDX-License-Identifier: Apache-2.0
"""One embedding as one safetensors file; ``docs/reference/embedding-cache.md``.

Any reader of safetensors can read it, and nothing in it is ever run. A checksum over
attributes and arrays tells a damaged file from a sound one.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors_numpy

from napari_sam.structures.embedding import ImageEmbedding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam.structures.arrays import FloatArray

FORMAT = "napari-sam embedding"
VERSION = 1
"""Raised when older files must not be used any more."""

_FEATURES = "features"
_FINER = "high_res."
_CHECKSUM = "crc32"
_HEADER_LENGTH = 8
"""Bytes of the little-endian number a safetensors file begins with."""


def to_bytes(embedding: ImageEmbedding, *, is_half: bool = False) -> bytes:
    """Return the content of a file.

    Parameters
    ----------
    embedding : ImageEmbedding
        What to write.
    is_half : bool
        Whether to round to 16 bits. Features that do not fit in stay as they are.

    Returns
    -------
    bytes
    """
    arrays = {_FEATURES: np.asarray(embedding.features, np.float32)}
    for number, finer in enumerate(embedding.high_res):
        arrays[f"{_FINER}{number}"] = np.asarray(finer, np.float32)
    if is_half:
        arrays = _halved(arrays)
    attributes = {
        "format": FORMAT,
        "version": str(VERSION),
        "digest": embedding.digest,
        "model": embedding.model,
        "model_digest": embedding.model_digest,
        "input_size": json.dumps(embedding.input_size),
        "original_size": json.dumps(embedding.original_size),
        "dtype": str(arrays[_FEATURES].dtype),
    }
    attributes[_CHECKSUM] = checksum(attributes, arrays)
    ready = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors_numpy.save(ready, attributes)


def from_bytes(content: bytes) -> ImageEmbedding | None:
    """Return the embedding in the content of a file, as float32.

    Returns
    -------
    ImageEmbedding or None
        None if the content is damaged, incomplete, of another version or something
        else altogether.
    """
    try:
        arrays = safetensors_numpy.load(content)
        attributes = attributes_of(content)
        if attributes.pop(_CHECKSUM) != checksum(attributes, arrays):
            return None
        return _to_embedding(attributes, arrays)
    except (SafetensorError, ValueError, KeyError, TypeError):
        return None


def attributes_of(content: bytes) -> dict[str, str]:
    """Return the attributes in the content of a safetensors file.

    Raises
    ------
    ValueError
        If it has no header that can be read.
    """
    end = _HEADER_LENGTH + int.from_bytes(content[:_HEADER_LENGTH], "little")
    header = json.loads(content[_HEADER_LENGTH:end])
    return dict(header.get("__metadata__", {}))


def checksum(attributes: Mapping[str, str], arrays: Mapping[str, FloatArray]) -> str:
    """Return the CRC-32 of everything else in a file, 8 hexadecimal digits.

    It is that of the lines ``name=value`` of the attributes by name, in UTF-8, followed
    for each array by name by the line ``name dtype shape`` and its little-endian bytes.
    """
    names = sorted(set(attributes) - {_CHECKSUM})
    found = zlib.crc32("".join(f"{n}={attributes[n]}\n" for n in names).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        line = f"{name} {array.dtype.name} {list(array.shape)}\n"
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        found = zlib.crc32(little.data, zlib.crc32(line.encode(), found))
    return f"{found:08x}"


def _halved(arrays: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Return arrays as float16 if all their values fit in."""
    largest = float(np.finfo(np.float16).max)
    # Comparisons with NaN are false, too.
    if all(bool((np.abs(array) <= largest).all()) for array in arrays.values()):
        return {name: array.astype(np.float16) for name, array in arrays.items()}
    return arrays


def _to_embedding(
    attributes: Mapping[str, str], arrays: dict[str, FloatArray]
) -> ImageEmbedding | None:
    """Put the parts of a file together; None if they are not those of this version."""
    if (attributes["format"], attributes["version"]) != (FORMAT, str(VERSION)):
        return None
    features = arrays.pop(_FEATURES)
    finer = [arrays.pop(f"{_FINER}{number}") for number in range(len(arrays))]
    if any(array.ndim != 4 or array.dtype.kind != "f" for array in (features, *finer)):
        return None
    return ImageEmbedding(
        features=np.asarray(features, np.float32),
        high_res=tuple(np.asarray(array, np.float32) for array in finer),
        input_size=_size(attributes["input_size"]),
        original_size=_size(attributes["original_size"]),
        model=attributes["model"],
        digest=attributes["digest"],
        model_digest=attributes["model_digest"],
    )


def _size(text: str) -> tuple[int, int]:
    """Read height and width; raises ValueError or TypeError if there is no size."""
    height, width = (int(side) for side in json.loads(text))
    if min(height, width) < 1:
        msg = f"No picture has the size {text}."
        raise ValueError(msg)
    return height, width
