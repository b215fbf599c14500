# SPDX-License-Identifier: Apache-2.0
"""How much smaller a region should be chosen where objects are tiny.

A model with a small frame and masks at half its resolution answers an object of ten
pixels badly, and the same object well when it is shown three times as large. Measured
in ``docs/decisions/0010-magnification.md``. From which size on that helps is known for
each model, `Sam.min_object_px`; None means that it is never done.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_MAGNIFICATION = 4
FINEST_SCALE = 1 / 8
"""Of regions: a pixel of the image is shown as eight by eight, never as more. Small
images fill the frame in any case: one of 256 pixels begins at 1/2."""

# What is enlarged at all is best seen somewhat larger than what just needs it not.
_AMPLE = 1.5

# A tiny mask that is so many times larger when it is seen enlarged is another object.
_MOST_GROWTH = 2.0


def magnification(size_px: float, least_px: float | None) -> int:
    """Return how many times larger an object should be shown.

    Parameters
    ----------
    size_px : float
        Size of the object (see `size_of`) in pixels of the model's frame, as it is
        shown now.
    least_px : float or None
        The size from which on objects are answered well: `Sam.min_object_px`.

    Returns
    -------
    int
        1, 2 or 4. An object that is too small is shown half as large again as
        `least_px`, if that is enough for it, or larger.
    """
    if least_px is None or size_px >= least_px:
        return 1
    times = 2
    while times < MAX_MAGNIFICATION and size_px * times < _AMPLE * least_px:
        times *= 2
    return times


def size_of(box: Sequence[float]) -> float:
    """Return the size of what fills a box ``(y0, x0, y1, x1)``.

    It is the geometric mean of the sides: thin things of some length are not tiny.
    """
    height, width = abs(box[2] - box[0]), abs(box[3] - box[1])
    return math.sqrt(height * width)


def is_same_object(size_px: float, enlarged_px: float) -> bool:
    """Tell whether a tiny object may be what was answered when it was enlarged.

    Parameters
    ----------
    size_px, enlarged_px : float
        Sizes of the two masks, in the same pixels.
    """
    return 0 < enlarged_px <= _MOST_GROWTH * max(size_px, 1)
