# SPDX-License-Identifier: Apache-2.0
"""Where a picture looks like what was found in it already.

Objects of one picture resemble each other, and so do their image features. A linear
model with a penalty on large weights (ridge regression) learns from the masks found so
far which features lie on objects; it takes milliseconds, because there is one equation
for each cell of the feature grid and one unknown for each channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_sam.structures.arrays import BoolMask, FloatArray

_PENALTY = 0.01  # per cell, of features with a standard deviation of 1
_FINENESS = 4  # samples of a mask along each side of a cell


class Likeness:
    """Learns from masks where more of their kind may be.

    Parameters
    ----------
    features : (C, h, w) float array
        Of the picture, without padding.
    """

    def __init__(self, features: FloatArray) -> None:
        n_channels, *shape = features.shape
        self._shape = (shape[0], shape[1])
        cells = features.reshape(n_channels, -1).T.astype(np.float64)
        cells = (cells - cells.mean(axis=0)) / (cells.std(axis=0) + 1e-6)
        self._cells = np.c_[cells, np.ones(len(cells))]
        penalty = _PENALTY * len(cells) * np.eye(n_channels + 1)
        self._inverse = np.linalg.inv(self._cells.T @ self._cells + penalty)

    def map_of(self, mask: BoolMask) -> npt.NDArray[np.float64]:
        """Tell how likely each cell is covered, judged by those that are.

        Parameters
        ----------
        mask : (H, W) bool array
            Pixels of the picture that belong to objects found so far.

        Returns
        -------
        (h, w) float64 array
            About 0 to 1.
        """
        rows, columns = (
            ((np.arange(n * _FINENESS) + 0.5) * side / (n * _FINENESS)).astype(np.int64)
            for n, side in zip(self._shape, mask.shape, strict=True)
        )
        h, w = self._shape
        samples = mask[np.ix_(rows, columns)].reshape(h, _FINENESS, w, _FINENESS)
        covered = samples.mean(axis=(1, 3)).ravel()
        weights = self._inverse @ (self._cells.T @ covered)
        return np.asarray((self._cells @ weights).reshape(h, w))
