# SPDX-License-Identifier: Apache-2.0
"""Which part of a plane is on screen, and which parts a model looks at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam.errors import SettingsError

if TYPE_CHECKING:
    from napari_sam.structures.arrays import HalfOpenBox


@dataclass(frozen=True, slots=True)
class PlaneView:
    """What is on screen of a plane, and how large.

    Attributes
    ----------
    box : (y0, x0, y1, x1)
        In pixels of the plane; may reach beyond it.
    step : float
        Pixels of the plane per pixel of the screen: 4 if four rows of the plane share
        one row of the screen, 0.5 if a pixel is shown as 2 x 2.

    Raises
    ------
    SettingsError
        If a side is not finite, the box has no area, or the step is not above 0.
    """

    box: tuple[float, float, float, float]
    step: float

    def __post_init__(self) -> None:
        """Refuse what shows nothing."""
        y0, x0, y1, x1 = self.box
        is_finite = all(math.isfinite(value) for value in (*self.box, self.step))
        if not is_finite or y1 <= y0 or x1 <= x0 or self.step <= 0:
            msg = (
                f"A view is a box (y0, x0, y1, x1) with y0 < y1 and x0 < x1 and a step "
                f"above 0, not {self.box} and {self.step}."
            )
            raise SettingsError(msg)

    @property
    def centre_yx(self) -> tuple[float, float]:
        """The middle of the screen, in pixels of the plane."""
        y0, x0, y1, x1 = self.box
        return (y0 + y1) / 2, (x0 + x1) / 2


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a plane that a model looks at by itself.

    Attributes
    ----------
    box : (y0, x0, y1, x1)
        Half-open, in pixels of the plane.
    scale : float
        About how many pixels of the plane the model is shown as one; 1/2 if it is
        shown one as two by two.
    """

    box: HalfOpenBox
    scale: float = 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the plane."""
        y0, x0, y1, x1 = self.box
        return y1 - y0, x1 - x0
