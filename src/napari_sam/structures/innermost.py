# SPDX-License-Identifier: Apache-2.0
"""Where a mask lies deepest: the place that a person would click on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from napari_sam.structures.arrays import BoolMask


class Innermost(NamedTuple):
    """A pixel of a mask, and its distance in pixels to the nearest one outside."""

    depth: float
    y: int
    x: int


def innermost_pixel(mask: BoolMask) -> Innermost:
    """Return the pixel of a mask that lies farthest from its boundary.

    It is the first maximum, in row-major order, of the Euclidean distance to the
    nearest pixel outside. The border of the array counts as boundary (Kirillov et al.
    2023, section 7.1).

    Parameters
    ----------
    mask : (H, W) bool array
        An empty one has depth 0 at row 0, column 0.
    """
    if not mask.any():
        return Innermost(0.0, 0, 0)
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(np.argmax(depth)), mask.shape)
    return Innermost(float(depth[y, x]), int(y), int(x))
