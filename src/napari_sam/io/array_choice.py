# SPDX-License-Identifier: Apache-2.0
"""Which array of a file is the image, and what its axes are if it does not say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def choose_array(path: Path, arrays: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """Take the only array that can be an image, or the largest.

    Parameters
    ----------
    path : Path
        For the messages.
    arrays : mapping of str to array-like
        All arrays in a file by their path in it.

    Returns
    -------
    array : array-like
    notices : tuple of str
        Which others there are.

    Raises
    ------
    ImageError
        If none has rows, columns and real numbers.
    """
    fitting = {
        name: array
        for name, array in arrays.items()
        if len(array.shape) >= 2
        and 0 not in array.shape
        and np.dtype(array.dtype).kind in "biuf"
    }
    if not fitting:
        found = ", ".join(
            f"{name} {tuple(array.shape)} {array.dtype}"
            for name, array in list(arrays.items())[:5]
        )
        msg = (
            f"{path} holds no image: an array with rows and columns of real numbers. "
            f"It holds {found or 'no array at all'}."
        )
        raise ImageError(msg)
    chosen = max(fitting, key=lambda name: math.prod(fitting[name].shape))
    if len(fitting) == 1:
        return fitting[chosen], ()
    others = ", ".join(f"{path.name}::{name}" for name in fitting if name != chosen)
    text = (
        f"{path.name} holds {len(fitting)} arrays; the largest is read, {chosen}. "
        f"Open another one as {others}."
    )
    return fitting[chosen], (text,)


def guess_axes(shape: tuple[int, ...], dtype: Any) -> str:
    """Return axes of an array that says nothing of them.

    The last two are rows and columns, or those before a last axis of 3 or 4 entries of
    8 bits, which are colours. Axes before get letters that nobody knows: one of them is
    taken for a series of planes, of several the user has to say what they are.
    """
    ndim = len(shape)
    is_colour = ndim >= 3 and shape[-1] in (3, 4) and np.dtype(dtype) == np.uint8
    last = "YXS" if is_colour else "YX"
    first = "QRUVWABDEFGHIJKLMNO"[: max(ndim - len(last), 0)]
    return (first + last)[-ndim:] if ndim else ""
