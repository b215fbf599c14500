# SPDX-License-Identifier: Apache-2.0
"""How large the pixels of layers are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_sam.annotation.ports import PlaneKey


def pixel_size_um(
    image: Image, labels: Labels, plane: PlaneKey
) -> tuple[float, float] | None:
    """Return height and width of a pixel in micrometres, None if they are unknown.

    Parameters
    ----------
    image : napari.layers.Image
        Its units count.
    labels : napari.layers.Labels
        Its scale counts: it has the pixels that objects are made of.
    plane : PlaneKey
        Whose rows and columns are meant.
    """
    sizes = []
    n_missing = len(image.scale) - labels.ndim
    for axis in plane.axes:
        unit = image.units[axis + n_missing]
        if not unit.is_compatible_with("micrometer"):
            return None
        factor = float((1 * unit).to("micrometer").magnitude)
        sizes.append(abs(float(labels.scale[axis])) * factor)
    height, width = sizes
    is_usable = 0 < height < math.inf and 0 < width < math.inf
    return (height, width) if is_usable else None
