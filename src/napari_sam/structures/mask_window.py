# SPDX-License-Identifier: Apache-2.0
"""A mask as its bounding box: what it costs does not depend on the plane's size."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from napari_sam.errors import PromptError
from napari_sam.structures.arrays import BoolMask, HalfOpenBox
from napari_sam.structures.geometry import mask_bounding_box


@dataclass(frozen=True, eq=False)
class MaskWindow:
    """The part of a plane's mask that holds its pixels.

    Attributes
    ----------
    y0, x0 : int
        Upper left pixel of the window on the plane.
    crop : (h, w) bool array
        The mask inside the window; everything outside is False. An empty mask has a
        crop without pixels.
    """

    y0: int
    x0: int
    crop: BoolMask

    def __post_init__(self) -> None:
        """Refuse what is no mask."""
        if self.crop.ndim != 2 or self.crop.dtype != np.bool_:
            msg = (
                f"A mask is a (h, w) array of bool, not {self.crop.shape} of "
                f"{self.crop.dtype}."
            )
            raise PromptError(msg)

    @classmethod
    def of_mask(cls, mask: BoolMask, y0: int = 0, x0: int = 0) -> "MaskWindow":
        """Take the bounding box of a mask.

        Parameters
        ----------
        mask : (h, w) bool array
            A mask of the plane or of a part of it.
        y0, x0 : int
            Where the mask's first pixel lies on the plane.
        """
        box = mask_bounding_box(mask)
        if box is None:
            return cls(y0, x0, np.zeros((0, 0), dtype=np.bool_))
        top, left, bottom, right = box
        return cls(y0 + top, x0 + left, mask[top:bottom, left:right].copy())

    @property
    def box(self) -> HalfOpenBox:
        """The window on the plane, half-open (y0, x0, y1, x1)."""
        h, w = self.crop.shape
        return self.y0, self.x0, self.y0 + h, self.x0 + w

    @cached_property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.crop))

    def on_plane(self, shape: tuple[int, int]) -> BoolMask:
        """Return the mask of a whole plane, (H, W) bool."""
        mask: BoolMask = np.zeros(shape, dtype=np.bool_)
        y0, x0, y1, x1 = self.box
        mask[y0:y1, x0:x1] = self.crop
        return mask

    def inside(self, box: HalfOpenBox) -> BoolMask:
        """Return the mask as seen through a box of the plane, (h, w) bool."""
        y0, x0, y1, x1 = box
        seen: BoolMask = np.zeros((y1 - y0, x1 - x0), dtype=np.bool_)
        top, left = max(y0, self.y0), max(x0, self.x0)
        bottom, right = min(y1, self.box[2]), min(x1, self.box[3])
        if top < bottom and left < right:
            seen[top - y0 : bottom - y0, left - x0 : right - x0] = self.crop[
                top - self.y0 : bottom - self.y0, left - self.x0 : right - self.x0
            ]
        return seen

    def iou(self, other: "MaskWindow") -> float:
        """Intersection over union with another mask; 0 if both are empty."""
        common = int(np.count_nonzero(self.crop & other.inside(self.box)))
        union = self.area + other.area - common
        return common / union if union else 0.0

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        if not isinstance(other, MaskWindow):
            return NotImplemented
        return self.box == other.box and np.array_equal(self.crop, other.crop)

    def __hash__(self) -> int:
        """Hash of place and pixels."""
        return hash((self.box, self.crop.tobytes()))
