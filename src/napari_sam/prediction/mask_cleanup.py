# SPDX-License-Identifier: Apache-2.0
"""Holes, islands and slivers: work on connected pieces of masks."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_sam.structures.arrays import BoolMask

_WITH_CORNERS = np.ones((3, 3), dtype=np.bool_)


def label_pieces(mask: BoolMask) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Give each connected piece of a mask a number; corners connect.

    Parameters
    ----------
    mask : (H, W) bool array
        One mask.

    Returns
    -------
    pieces : (H, W) int32 array
        0 outside the mask, else the number of the piece.
    areas : (n + 1,) int64 array
        Pixels of each number, 0 included.
    """
    pieces, n_pieces = ndimage.label(mask, structure=_WITH_CORNERS)
    return pieces, np.bincount(pieces.ravel(), minlength=n_pieces + 1)


def largest_piece(mask: BoolMask) -> BoolMask:
    """Return only the largest connected piece of a mask; of equals, the first.

    Parameters
    ----------
    mask : (H, W) bool array
        One mask.

    Returns
    -------
    (H, W) bool array
    """
    pieces, areas = label_pieces(mask)
    if len(areas) <= 2:
        return mask
    return np.asarray(pieces == 1 + int(np.argmax(areas[1:])))


def fill_holes(mask: BoolMask) -> BoolMask:
    """Fill background that does not reach the border of the array.

    Parameters
    ----------
    mask : (H, W) bool array
        One mask, or the part of one inside its bounding box.

    Returns
    -------
    (H, W) bool array
    """
    return np.asarray(ndimage.binary_fill_holes(mask), dtype=np.bool_)


def remove_small_regions(mask: BoolMask, min_area: int) -> tuple[BoolMask, bool]:
    """Fill small holes, then drop small islands, as the reference does.

    Parameters
    ----------
    mask : (H, W) bool array
        One mask of the whole image: the background around it counts as a hole that is
        as large as it is.
    min_area : int
        Pixels below which a region is small. If all islands are small, the largest
        stays.

    Returns
    -------
    mask : (H, W) bool array
    is_changed : bool
    """
    holes, areas = label_pieces(~mask)
    small = areas < min_area
    small[0] = False
    has_small_holes = bool(small.any())
    if has_small_holes:
        mask = mask | small[holes]
    islands, areas = label_pieces(mask)
    is_kept = areas >= min_area
    is_kept[0] = False
    if bool(is_kept[1:].all()):
        return mask, has_small_holes
    if not bool(is_kept.any()):
        is_kept[1 + int(np.argmax(areas[1:]))] = True
    return is_kept[islands], True
