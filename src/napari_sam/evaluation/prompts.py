# SPDX-License-Identifier: Apache-2.0
"""The prompts that an evaluation gives for an object whose outline is known."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True, slots=True)
class TrueObject:
    """One object of a label image, cut out.

    ``crop`` is its (h, w) bool mask inside the bounding box, ``corner_yx`` the first
    pixel of that box in the plane.
    """

    label: int
    crop: NDArray[np.bool_]
    corner_yx: tuple[int, int]

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.crop))

    @property
    def box_yx(self) -> tuple[int, int, int, int]:
        """Tight box (y0, x0, y1, x1): smallest index and largest index plus one."""
        (y0, x0), (h, w) = self.corner_yx, self.crop.shape
        return y0, x0, y0 + h, x0 + w

    @property
    def centre_yx(self) -> tuple[int, int]:
        """Row and column of the centre point, a pixel of the object."""
        y, x = centre_point(self.crop)
        return self.corner_yx[0] + y, self.corner_yx[1] + x


def centre_point(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Pixel of the mask that lies farthest from its boundary.

    It is the first maximum, in row-major order, of the Euclidean distance to the
    nearest pixel outside. The mask is padded by one background pixel, so that the
    border of the image counts as boundary (Kirillov et al. 2023, section 7.1).

    Parameters
    ----------
    mask : (H, W) bool array
        One object with at least one pixel.
    """
    if not mask.any():
        msg = "An empty mask has no centre point. Give a mask with at least one pixel."
        raise ValueError(msg)
    distance = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(np.argmax(distance)), mask.shape)
    return int(y), int(x)


def true_objects(
    labels: NDArray[np.integer], *, min_area: int = 0
) -> Iterator[TrueObject]:
    """Objects of a label image with at least ``min_area`` pixels, in label order.

    Parameters
    ----------
    labels : (H, W) integer array
        0 is background; numbers may have gaps.
    min_area : int
        Smaller objects are left out.
    """
    ids, inverse = np.unique(labels, return_inverse=True)
    compact = inverse.reshape(labels.shape)  # 0 only stands for 0 if 0 occurs
    for index, box in enumerate(ndimage.find_objects(compact + 1)):
        if box is None or ids[index] == 0:
            continue
        rows, columns = box
        found = TrueObject(
            label=int(ids[index]),
            crop=compact[box] == index,
            corner_yx=(rows.start, columns.start),
        )
        if found.area >= min_area:
            yield found
