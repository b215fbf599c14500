# SPDX-License-Identifier: Apache-2.0
"""Simulated prompts: where a user would click or draw a box.

Positions are (x, y) in pixels of the crop; masks are at the resolution of the mask
logits, ``stride`` pixels of the crop to a mask pixel. Kirillov et al. 2023, appendix A.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_sam.evaluation.prompts import MAX_JITTER_PX, moved_sides
from napari_sam.structures.innermost import innermost_pixel

BoolMask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]


def uniform_point(
    region: BoolMask, rng: np.random.Generator, stride: float
) -> tuple[float, float]:
    """Return a point drawn uniformly from a region that is not empty."""
    rows, columns = np.nonzero(region)
    i = rng.integers(len(rows))
    jitter = (
        rng.random(2) * stride - 0.5
    )  # index i covers stride pixels from i * stride
    return (
        float(columns[i] * stride + jitter[0]),
        float(rows[i] * stride + jitter[1]),
    )


def centre_point(region: BoolMask, stride: float) -> tuple[float, float]:
    """Return the place of the region farthest from its boundary."""
    found = innermost_pixel(region)
    half = stride / 2 - 0.5
    return float(found.x * stride + half), float(found.y * stride + half)


def noisy_box(
    region: BoolMask,
    rng: np.random.Generator,
    stride: float,
    jitter: float,
    limit: float = MAX_JITTER_PX,
) -> tuple[float, float, float, float]:
    """Return the box (x0, y0, x1, y1) of a region, its sides moved as `moved_sides`."""
    rows, columns = np.nonzero(region)
    box = np.array(
        [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float
    )
    x0, y0, x1, y1 = moved_sides(box * stride, rng, jitter, limit).tolist()
    return x0, y0, x1, y1


def sampled_correction(
    predicted: BoolMask,
    wanted: BoolMask,
    rng: np.random.Generator,
    stride: float,
    centre_share: float = 0.5,
) -> tuple[float, float, int]:
    """Draw a click (x, y, label) from the error region; label 1 on missing object.

    The share ``centre_share`` of the clicks falls in the middle of the largest error,
    as a user's would. Without any error a click inside the object confirms it.
    """
    missing, surplus = wanted & ~predicted, predicted & ~wanted
    if not (missing.any() or surplus.any()):
        return (*uniform_point(wanted, rng, stride), 1)
    n_missing, n_surplus = int(missing.sum()), int(surplus.sum())
    label = int(rng.random() < n_missing / (n_missing + n_surplus))
    region = missing if label else surplus
    if rng.random() < centre_share:
        return (*centre_point(region, stride), label)
    return (*uniform_point(region, rng, stride), label)


def correction_pair(
    predicted: BoolMask, wanted: BoolMask, rng: np.random.Generator, stride: float
) -> list[tuple[float, float, int]]:
    """Return a click of either kind, each where that error is, as micro-sam does.

    Where there is no such error, the click is anywhere in the object, or outside of it.
    An object that fills everything gets two clicks inside.
    """
    missing, surplus = wanted & ~predicted, predicted & ~wanted
    inside = missing if missing.any() else wanted
    outside = surplus if surplus.any() else ~wanted
    clicks = [(*uniform_point(inside, rng, stride), 1)]
    if outside.any():
        clicks.append((*uniform_point(outside, rng, stride), 0))
    else:
        clicks.append((*uniform_point(wanted, rng, stride), 1))
    return clicks
