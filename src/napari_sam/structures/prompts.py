# SPDX-License-Identifier: Apache-2.0
"""What a user says about one object: points, a box, an earlier mask.

Values are checked when they are made; whether they lie on a given plane is checked in
`prompt_checks`, by functions that know its shape. Positions are row, column in pixels
of the plane, whole numbers being pixel centres.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from napari_sam.errors import PromptError
from napari_sam.structures.arrays import Coordinates, FloatArray
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompt_checks import (
    BACKGROUND,
    FOREGROUND,
    refuse_empty_boxes,
    sorted_finite_boxes,
)


@dataclass(frozen=True, slots=True)
class PointPrompt:
    """A click on the object or beside it.

    Attributes
    ----------
    yx : (y, x)
        Finite position in pixels of the plane.
    label : int
        1 on the object, 0 on what is not the object.
    """

    yx: tuple[float, float]
    label: int = FOREGROUND

    def __post_init__(self) -> None:
        """Check position and label."""
        y, x = (float(value) for value in self.yx)
        if not (math.isfinite(y) and math.isfinite(x)):
            msg = f"A point needs finite coordinates, not (y, x) = ({y}, {x})."
            raise PromptError(msg)
        object.__setattr__(self, "yx", (y, x))
        if self.label not in (BACKGROUND, FOREGROUND):
            msg = f"A point label is 1 (object) or 0 (background), not {self.label!r}."
            raise PromptError(msg)


@dataclass(frozen=True, slots=True)
class BoxPrompt:
    """A rectangle around the object; corners may come in any order.

    Attributes
    ----------
    y0, x0, y1, x1 : float
        Sides in pixels of the plane, sorted when the box is made.
    """

    y0: float
    x0: float
    y1: float
    x1: float

    def __post_init__(self) -> None:
        """Sort the corners and refuse a box without area."""
        box = sorted_finite_boxes((self.y0, self.x0, self.y1, self.x1))
        refuse_empty_boxes(box)
        for name, value in zip(("y0", "x0", "y1", "x1"), box.tolist(), strict=True):
            object.__setattr__(self, name, value)

    @property
    def yx(self) -> tuple[float, float, float, float]:
        """The four sides ``(y0, x0, y1, x1)``."""
        return self.y0, self.x0, self.y1, self.x1


@dataclass(frozen=True, eq=False)
class PromptSet:
    """All prompts of one object.

    Attributes
    ----------
    points : tuple of PointPrompt
    box : BoxPrompt or None
    mask_input : (h, w) float32 array or None
        Low-resolution logits of an earlier answer.
    mask : MaskWindow or None
        A mask on the plane that the object resembles; `mask_input` goes before it.
    """

    points: tuple[PointPrompt, ...] = ()
    box: BoxPrompt | None = None
    mask_input: FloatArray | None = field(default=None, repr=False)
    mask: MaskWindow | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to answer."""
        return (
            not self.points
            and self.box is None
            and self.mask_input is None
            and self.mask is None
        )

    @property
    def is_ambiguous(self) -> bool:
        """Whether the prompts are one point, which may mean a part or the whole."""
        return (
            len(self.points) == 1
            and self.box is None
            and self.mask_input is None
            and self.mask is None
        )

    @property
    def points_yx(self) -> Coordinates | None:
        """Positions ``(N, 2)``, None without points."""
        if not self.points:
            return None
        return np.array([point.yx for point in self.points], dtype=np.float64)

    @property
    def point_labels(self) -> npt.NDArray[np.int64] | None:
        """Labels ``(N,)``, None without points."""
        if not self.points:
            return None
        return np.array([point.label for point in self.points], dtype=np.int64)

    @property
    def box_yx(self) -> tuple[float, float, float, float] | None:
        """Sides ``(y0, x0, y1, x1)``, None without a box."""
        return None if self.box is None else self.box.yx

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        if not isinstance(other, PromptSet):
            return NotImplemented
        here = (self.points, self.box, self.mask)
        if here != (other.points, other.box, other.mask):
            return False
        if self.mask_input is None or other.mask_input is None:
            return self.mask_input is other.mask_input
        return np.array_equal(self.mask_input, other.mask_input)

    def __hash__(self) -> int:
        """Hash of points and box; sets that differ in the mask alone may collide."""
        return hash((self.points, self.box))
