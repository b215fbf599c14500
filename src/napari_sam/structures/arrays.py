# SPDX-License-Identifier: Apache-2.0
"""Names for the few kinds of array that travel between the rooms of the package."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Plane: TypeAlias = npt.NDArray[Any]
"""One 2-D image: ``(H, W)`` or ``(H, W, 3)``, any real dtype."""

RgbPlane: TypeAlias = npt.NDArray[np.uint8]
"""What a model is shown: ``(H, W, 3)`` uint8, red green blue."""

BoolMask: TypeAlias = npt.NDArray[np.bool_]
"""One or several masks, ``(H, W)`` or ``(n, H, W)``."""

LabelImage: TypeAlias = npt.NDArray[np.uint32]
"""Instance labels ``(H, W)``; 0 is background."""

FloatArray: TypeAlias = npt.NDArray[np.float32]
"""Anything a model computes: features, logits, scores."""

Coordinates: TypeAlias = npt.NDArray[np.float64]
"""Positions in pixels; the axis order is in the variable's name."""

HalfOpenBox: TypeAlias = tuple[int, int, int, int]
"""Whole pixels ``(y0, x0, y1, x1)``; row ``y1`` and column ``x1`` are outside."""
