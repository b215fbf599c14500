# SPDX-License-Identifier: Apache-2.0
"""Intervals by resampling: how far a score would move with other images.

Every score is a mean over objects of all images together, or a mean over images. Both
are sums divided by sums, so that a sample of the bootstrap is a set of weights.
Percentile intervals: Efron & Tibshirani 1993, chapter 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_sam.evaluation.settings import Unit

    FloatArray = NDArray[np.float64]

_CHUNK = 1 << 22  # weights made at once


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What one image gives to a score: numerators and denominators of its units.

    Attributes
    ----------
    top, bottom : (m, T) float arrays
        Of m objects at T thresholds. The image's own value at a threshold is the sum of
        `top` divided by that of `bottom`, and 1 where there is nothing to divide; over
        thresholds the mean is taken.
    """

    top: FloatArray
    bottom: FloatArray

    @classmethod
    def of_values(cls, values: ArrayLike) -> Part:
        """Take one value for each object, (m,) or (m, T); each counts once."""
        top = np.asarray(values, dtype=np.float64)
        top = top[:, None] if top.ndim == 1 else top
        return cls(top, np.ones_like(top))

    def at(self, column: int) -> Part:
        """Return the part at one threshold alone."""
        return Part(
            self.top[:, column : column + 1], self.bottom[:, column : column + 1]
        )

    @property
    def value(self) -> float:
        """The score of this image alone."""
        return float(_ratio(self.top.sum(axis=0), self.bottom.sum(axis=0)).mean())


@dataclass(frozen=True, slots=True)
class Score:
    """A score with its interval.

    Attributes
    ----------
    value : float
        NaN if nothing was measured.
    low, high : float
        Bounds of the interval; NaN if there was too little to resample.
    n : int
        Objects or images that the mean is over.
    of : {"objects", "images"}
        What it is a mean over.
    resampled : {"images", "objects"} or None
        What the bootstrap drew.
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")
    n: int = 0
    of: Literal["objects", "images"] = "objects"
    resampled: Unit | None = None


class Bootstrap:
    """Draws the same samples for every score of a set.

    Parameters
    ----------
    resamples : int
        Number of samples.
    level : float
        Part of them inside the interval.
    seed : int
        The same seed and the same scores give the same interval.
    resampled : {"images", "objects"}
        What is drawn with replacement. Images come with all their objects. If only one
        image has any, its objects are drawn in any case.
    """

    def __init__(
        self,
        resamples: int = 2000,
        level: float = 0.95,
        seed: int = 0,
        resampled: Unit = "images",
    ) -> None:
        self._resamples = resamples
        self._tails = (50 * (1 - level), 50 * (1 + level))
        self._seed = seed
        self._resampled = resampled

    def of_objects(self, parts: Sequence[Part]) -> Score:
        """Return the mean over the objects of all images together."""
        parts = [part for part in parts if part.bottom.any()]
        if not parts:
            return Score(float("nan"))
        n = sum(len(part.top) for part in parts)
        top = np.array([part.top.sum(axis=0) for part in parts])
        bottom = np.array([part.bottom.sum(axis=0) for part in parts])
        value = float(_ratio(top.sum(axis=0), bottom.sum(axis=0)).mean())
        if len(parts) > 1 and self._resampled == "images":
            return self._with_interval(value, top, bottom, n, "objects", "images")
        top = np.concatenate([part.top for part in parts])
        bottom = np.concatenate([part.bottom for part in parts])
        return self._with_interval(value, top, bottom, n, "objects", "objects")

    def of_images(self, parts: Sequence[Part]) -> Score:
        """Return the mean over images of each image's own value."""
        if not parts:
            return Score(float("nan"), of="images")
        values = np.array([[part.value] for part in parts])
        n, mean = len(parts), float(values.mean())
        if n > 1 and self._resampled == "images":
            ones = np.ones_like(values)
            return self._with_interval(mean, values, ones, n, "images", "images")
        if all(len(part.top) < 2 for part in parts):
            return Score(mean, n=n, of="images")
        # Every image stays; what was found, invented and missed in it is drawn.
        samples = np.zeros(self._resamples)
        for stream, part in enumerate(parts):
            is_alone = len(part.top) < 2
            samples += (
                part.value if is_alone else self._samples(part.top, part.bottom, stream)
            )
        return self._score(mean, samples / n, n, "images", "objects")

    def _with_interval(
        self,
        value: float,
        top: FloatArray,
        bottom: FloatArray,
        n: int,
        of: Literal["objects", "images"],
        resampled: Unit,
    ) -> Score:
        if len(top) < 2:
            return Score(value, n=n, of=of)
        return self._score(value, self._samples(top, bottom), n, of, resampled)

    def _score(
        self,
        value: float,
        samples: FloatArray,
        n: int,
        of: Literal["objects", "images"],
        resampled: Unit,
    ) -> Score:
        low, high = np.percentile(samples, self._tails).tolist()
        return Score(value, low, high, n, of, resampled)

    def _samples(
        self, top: FloatArray, bottom: FloatArray, stream: int = 0
    ) -> FloatArray:
        """Return the score of every sample; rows of the arrays are what is drawn."""
        drawn = [
            _ratio(weights @ top, weights @ bottom).mean(axis=1)
            for weights in self._weights(len(top), stream)
        ]
        return np.concatenate(drawn)

    def _weights(self, n: int, stream: int) -> Iterator[FloatArray]:
        """Yield how often each of n things is in each sample, some samples at a time.

        They depend on the seed and on n only, so that scores of the same images are
        resampled alike and can be compared.
        """
        step = max(1, _CHUNK // n)
        for start in range(0, self._resamples, step):
            size = min(step, self._resamples - start)
            yield _drawn((self._seed, stream, start), n, size)


@lru_cache(maxsize=4)
def _drawn(seed: tuple[int, ...], n: int, size: int) -> FloatArray:
    """Draw n of n things with replacement, again and again: (size, n) counts."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=size).astype(np.float64)


def _ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """Divide; where there is nothing to divide, nothing was missed: 1."""
    result = np.ones_like(top)
    np.divide(top, bottom, out=result, where=bottom > 0)
    return result
