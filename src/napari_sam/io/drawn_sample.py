# SPDX-License-Identifier: Apache-2.0
"""A drawn picture of cells whose truth is exact."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_SIZE = 256
_GAP_PX = 3.0


def draw_cells(
    n_cells: int = 18, seed: int = 7
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Draw bright ellipses on a dark, uneven, noisy ground.

    The same arguments give the same picture.

    Parameters
    ----------
    n_cells : int
        How many cells are tried; one that finds no free place is left out.
    seed : int
        Of the random numbers.

    Returns
    -------
    image : (256, 256) uint8 array
    labels : (256, 256) uint16 array
        Cells numbered from 1.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:_SIZE, :_SIZE].astype(np.float64)
    labels = np.zeros((_SIZE, _SIZE), np.uint16)
    light = 30 + 20 * (x + y) / (2 * _SIZE)
    for _ in range(n_cells):
        cell = _free_ellipse(rng, y, x, labels > 0)
        if cell is None:
            continue
        labels[cell] = labels.max() + 1
        light[cell] += rng.uniform(60, 140)
    light = ndimage.gaussian_filter(light, 1.0) + rng.normal(0, 4, light.shape)
    return np.clip(np.round(light), 0, 255).astype(np.uint8), labels


def _free_ellipse(
    rng: np.random.Generator,
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    taken: NDArray[np.bool_],
) -> NDArray[np.bool_] | None:
    """Find a place for an ellipse that touches none before it, within 50 tries."""
    for _ in range(50):
        a, b = rng.uniform(10, 24, 2)
        turn = rng.uniform(0, np.pi)
        dy, dx = y - rng.uniform(0, _SIZE), x - rng.uniform(0, _SIZE)
        u = dx * np.cos(turn) + dy * np.sin(turn)
        v = dy * np.cos(turn) - dx * np.sin(turn)
        halo = (u / (a + _GAP_PX)) ** 2 + (v / (b + _GAP_PX)) ** 2 <= 1
        if not (halo & taken).any():
            return np.asarray((u / a) ** 2 + (v / b) ** 2 <= 1)
    return None
