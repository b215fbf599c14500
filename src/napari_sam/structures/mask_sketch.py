# SPDX-License-Identifier: Apache-2.0
"""A mask drawn in pixels larger than those of the plane: fit to be shown, not written.

What it costs depends on how large the object is seen, not on how many pixels it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_sam.structures.mask_window import MaskWindow


@dataclass(frozen=True, eq=False)
class MaskSketch:
    """A mask on a coarse grid that lies on a plane.

    Attributes
    ----------
    window : MaskWindow
        The mask, in pixels of the grid.
    corner_yx : (y, x)
        Upper left corner of the grid's first pixel: how many pixels of the plane lie
        before it.
    step_yx : (float, float)
        Height and width of a pixel of the grid, in pixels of the plane.
    """

    window: MaskWindow
    corner_yx: tuple[float, float] = (0.0, 0.0)
    step_yx: tuple[float, float] = (1.0, 1.0)

    def to_grid(self, yx: tuple[float, float]) -> tuple[float, float]:
        """Turn a position on the plane into one on the grid.

        Whole numbers are pixel centres on both.
        """
        y, x = (
            (value + 0.5 - corner) / step - 0.5
            for value, corner, step in zip(
                yx, self.corner_yx, self.step_yx, strict=True
            )
        )
        return y, x

    def to_plane(self, yx: tuple[float, float]) -> tuple[float, float]:
        """Inverse of `to_grid`."""
        y, x = (
            corner + (value + 0.5) * step - 0.5
            for value, corner, step in zip(
                yx, self.corner_yx, self.step_yx, strict=True
            )
        )
        return y, x

    def holds(self, yx: tuple[float, float]) -> bool:
        """Whether a position on the plane lies on the mask."""
        y, x = self.to_grid(yx)
        row, column = round(y) - self.window.y0, round(x) - self.window.x0
        h, w = self.window.crop.shape
        return 0 <= row < h and 0 <= column < w and bool(self.window.crop[row, column])
