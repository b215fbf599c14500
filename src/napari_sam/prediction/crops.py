# SPDX-License-Identifier: Apache-2.0
"""Crops of the automatic mode: the image, then finer and finer overlapping parts."""

import math
from typing import NamedTuple

from napari_sam.structures.arrays import HalfOpenBox


class Crop(NamedTuple):
    """One part of the image: half-open ``box`` and the number of its layer."""

    box: HalfOpenBox
    layer: int


def crop_boxes(
    shape: tuple[int, int], n_layers: int, overlap_ratio: float
) -> list[Crop]:
    """Lay out the crops of all layers.

    Parameters
    ----------
    shape : (H, W)
        Size of the image.
    n_layers : int
        Layers beside the whole image; layer i has ``2**i`` crops along each side.
    overlap_ratio : float
        Overlap of neighbours in the first layer as a part of the short side; it halves
        from layer to layer.

    Returns
    -------
    list of Crop
        The whole image first; in a layer columns of crops from left to right.
    """
    height, width = shape
    crops = [Crop((0, 0, height, width), 0)]
    for layer in range(1, n_layers + 1):
        n_side = 2**layer
        overlap = int(overlap_ratio * min(shape) * (2 / n_side))
        rows = _ranges(height, n_side, overlap)
        columns = _ranges(width, n_side, overlap)
        crops += [
            Crop((y0, x0, y1, x1), layer) for x0, x1 in columns for y0, y1 in rows
        ]
    # A side of fewer pixels than crops leaves some of them empty.
    return [crop for crop in crops if _has_pixels(crop.box)]


def _has_pixels(box: HalfOpenBox) -> bool:
    """Tell whether a half-open box holds anything."""
    return box[0] < box[2] and box[1] < box[3]


def _ranges(side: int, n_parts: int, overlap: int) -> list[tuple[int, int]]:
    """Cut one side into equal overlapping ranges; the last one is cut off."""
    length = math.ceil((overlap * (n_parts - 1) + side) / n_parts)
    starts = [part * (length - overlap) for part in range(n_parts)]
    return [(start, min(start + length, side)) for start in starts]
