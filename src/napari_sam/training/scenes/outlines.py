# SPDX-License-Identifier: Apache-2.0
"""Outlines of single objects as depth fields: 1 inside the middle, 0 at the rim.

An outline lives in its own plane: ``u`` along its axis, ``v`` across, in units of the
object's radius. ``extent`` is the farthest it reaches from the middle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from napari_sam.training.scenes.grounds import Floats

ANGLES = 128
_CIRCLE = np.arange(ANGLES) * (2 * np.pi / ANGLES)


class Outline(Protocol):
    """What a layout needs to know about a shape."""

    @property
    def extent(self) -> float:
        """Farthest point from the middle, in radii."""

    def depth(self, u: Floats, v: Floats) -> Floats:
        """Return 1 in the middle, 0 at the rim, negative outside."""


@dataclass(frozen=True, slots=True, eq=False)
class Star:
    """``reach`` (ANGLES,) of the rim from the middle, by angle; then stretched."""

    reach: Floats
    stretch: float = 1.0

    @property
    def extent(self) -> float:
        """Farthest point from the middle, in radii."""
        return float(self.reach.max()) * max(self.stretch, 1 / self.stretch)

    def depth(self, u: Floats, v: Floats) -> Floats:
        """Return 1 in the middle, 0 at the rim, negative outside."""
        u, v = u / np.float32(self.stretch), v * np.float32(self.stretch)
        index = (np.arctan2(v, u) * np.float32(ANGLES / (2 * np.pi))).astype(np.int32)
        return 1 - np.hypot(u, v) / self.reach[index]


@dataclass(frozen=True, slots=True)
class Rod:
    """A capsule ``aspect`` times as long as wide, bent by ``bend``; half length 1."""

    aspect: float
    bend: float = 0.0

    @property
    def extent(self) -> float:
        """Farthest point from the middle, in radii."""
        return 1.0 + abs(self.bend)

    def depth(self, u: Floats, v: Floats) -> Floats:
        """Return 1 on the axis, 0 at the rim, negative outside."""
        half = np.float32(1 / self.aspect)
        bent = v + np.float32(self.bend) * (u * u - np.float32(0.3))
        return 1 - np.hypot(np.maximum(np.abs(u) - (1 - half), 0), bent) / half


def wobbly(
    rng: np.random.Generator, wobble: float, orders: tuple[int, ...] = (2, 3, 4, 5)
) -> Floats:
    """Reach by angle of a rounded, irregular outline; 0 gives a circle."""
    order = np.array(orders)[:, None]
    phase = rng.uniform(0, 2 * np.pi, order.shape)
    size = rng.normal(0, wobble, order.shape) / order**0.7
    reach = 1 + (size * np.cos(order * _CIRCLE + phase)).sum(axis=0)
    return np.asarray(np.clip(reach, 0.25, 2.0), np.float32)


def polygon(rng: np.random.Generator, corners: int) -> Floats:
    """Reach by angle of an irregular convex polygon around its middle."""
    sides = (np.arange(corners) + rng.uniform(-0.25, 0.25, corners)) / corners
    lean = np.cos(_CIRCLE[:, None] - 2 * np.pi * sides)
    far = rng.uniform(0.75, 1.0, corners) / np.maximum(lean, 1e-3)
    return np.asarray(np.minimum(far.min(axis=1), 2.0), np.float32)


def blob(
    rng: np.random.Generator, wobble: float = 0.1, stretch: float = 1.3
) -> Outline:
    """Draw a rounded outline, stretched up to about ``stretch``."""
    # The square root: one axis grows by it, the other shrinks by it.
    longer = float(np.exp(abs(rng.normal(0, 0.5)) * np.log(stretch)))
    return Star(wobbly(rng, wobble), float(np.sqrt(longer)))


def amoeba(rng: np.random.Generator) -> Outline:
    """Draw a cell that crawls: lobes, corners and thin feet."""
    reach = wobbly(rng, 0.2, (2, 3, 4, 5, 6, 7, 9))
    return Star(np.clip(reach, 0.4, 1.8), float(np.exp(rng.uniform(0, 0.4))))


def anything(rng: np.random.Generator) -> Outline:
    """Draw any of the shapes."""
    kind = rng.integers(5)
    if kind == 0:
        return blob(rng, 0.02, 1.5)
    if kind == 1:
        return blob(rng, rng.uniform(0.05, 0.2), 2.0)
    if kind == 2:
        corners = int(rng.integers(3, 8))
        return Star(polygon(rng, corners), float(np.exp(rng.uniform(0, 0.4))))
    if kind == 3:
        return Rod(float(rng.uniform(1.5, 6)), float(rng.normal(0, 0.2)))
    return amoeba(rng)
