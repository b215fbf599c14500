# SPDX-License-Identifier: Apache-2.0
"""How coarser copies of labels are made: the one rule for all who write some."""

import numpy as np
import numpy.typing as npt


def sampled_pixels(
    n_finer: int, n_coarser: int, start: int = 0, stop: int | None = None
) -> npt.NDArray[np.intp]:
    """Return which pixels of a level the next one shows, along one axis.

    Each pixel shows the label in the middle of what it covers of the level before, not
    of the finest: so whoever changes a part of a level can go on from there.

    Parameters
    ----------
    n_finer, n_coarser : int
        Pixels of the two levels along the axis.
    start, stop : int
        Range of pixels of the coarser level; all by default.

    Returns
    -------
    (stop - start,) int array
        Rising indices of the finer level.
    """
    place = np.arange(start, n_coarser if stop is None else stop, dtype=np.intp)
    return np.minimum((2 * place + 1) * n_finer // (2 * n_coarser), n_finer - 1)


def showing_pixels(
    n_finer: int, n_coarser: int, start: int, stop: int
) -> tuple[slice, npt.NDArray[np.intp]]:
    """Return which pixels of the next level show any of a range of a level.

    Parameters
    ----------
    n_finer, n_coarser : int
        Pixels of the two levels along the axis.
    start, stop : int
        Range of pixels of the finer level.

    Returns
    -------
    slice
        Pixels of the coarser level; empty if none shows the range.
    int array
        What they show, counted from the beginning of the range.
    """
    factor = n_finer / n_coarser
    first = max(0, int(start / factor) - 1)
    last = min(n_coarser, int(stop / factor) + 2)
    shown = sampled_pixels(n_finer, n_coarser, first, last)
    is_inside = np.flatnonzero((shown >= start) & (shown < stop))
    if not len(is_inside):
        return slice(0, 0), is_inside
    begin = first + int(is_inside[0])
    return slice(begin, begin + len(is_inside)), shown[is_inside] - start
