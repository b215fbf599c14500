# SPDX-License-Identifier: Apache-2.0
"""Where the objects of a scene lie: labels first, looks afterwards.

Each new object goes under those already there and is left out when too little of it
would be seen; so labels are exactly the visible objects, and a family of scenes can
paint all of them at once from the maps of a ``Layout``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_sam.training.scenes.outlines import Outline

if TYPE_CHECKING:
    from napari_sam.training.scenes.grounds import Bools, Floats, Ints

MIN_PX = 16
MIN_RADIUS = 4.0
TRIES = 3  # places tried for an object

Distances = TypeVar("Distances", float, npt.NDArray[np.float64])
MakeOutline = Callable[[np.random.Generator], Outline]


@dataclass(slots=True, eq=False)
class Layout:
    """Maps (S, S) of the objects and their sizes.

    ``labels`` 1..n; ``depth`` 1 in an object's middle, 0 at its rim and outside;
    ``u``, ``v`` place in the object's own plane in radii; ``radius`` (n + 1,) in
    pixels, entry 0 is the background's (1).
    """

    labels: Ints
    depth: Floats
    u: Floats
    v: Floats
    radius: Floats

    @property
    def count(self) -> int:
        """Number of objects."""
        return len(self.radius) - 1

    def each(
        self, rng: np.random.Generator, low: float, high: float, ground: float = 0.0
    ) -> Floats:
        """Map (S, S) of one uniform random number for each object."""
        values = rng.uniform(low, high, self.count + 1).astype(np.float32)
        values[0] = ground
        return values[self.labels]

    def depth_px(self) -> Floats:
        """Depth in pixels, roughly the distance to the rim."""
        return self.depth * self.radius[self.labels]

    def disc(
        self, rng: np.random.Generator, size: tuple[float, float], shift: float = 0.2
    ) -> Floats:
        """Depth (S, S) of one disc inside each object: > 0 inside the disc.

        ``size`` is the range of its radius in radii of the object, ``shift`` how far
        its middle may lie from the object's.
        """
        n = self.count + 1
        radius = rng.uniform(*size, n).astype(np.float32)
        stretch = np.exp(rng.normal(0, 0.12, n)).astype(np.float32)
        u0, v0 = rng.uniform(-shift, shift, (2, n)).astype(np.float32)
        inside = np.nonzero(self.labels)
        at = self.labels[inside]
        du = (self.u[inside] - u0[at]) * (stretch / radius)[at]
        dv = (self.v[inside] - v0[at]) / (stretch * radius)[at]
        out = np.full(self.labels.shape, -1, np.float32)
        out[inside] = 1 - np.hypot(du, dv)
        return out

    def only(self, inside: Bools) -> Ints:
        """Labels where ``inside`` holds, without crumbs."""
        labels = np.where(inside, self.labels, 0).astype(np.int32)
        counts = np.bincount(labels.ravel(), minlength=self.count + 1)
        counts[0] = MIN_PX
        return np.where((counts >= MIN_PX)[labels], labels, 0).astype(np.int32)


@dataclass(frozen=True, slots=True)
class Spread:
    """How many objects, how large, how close.

    ``cover`` is the share of the picture that the objects would fill without overlap;
    ``radius`` the typical radius in pixels, ``sizes`` the spread of its logarithm;
    ``clumped`` the share of objects that lie against another one; ``closeness`` the
    distance of middles over the sum of radii; ``apart`` keeps objects from touching;
    ``seen`` is the least share of an object that has to be visible, ``aligned`` the
    share of a common direction, ``elongated`` how much farther objects keep from each
    other along it than across, ``most`` the largest number.
    """

    radius: float
    sizes: float = 0.2
    cover: float = 0.3
    clumped: float = 0.3
    closeness: float = 0.9
    apart: bool = False
    seen: float = 0.55
    aligned: float = 0.0
    elongated: float = 1.0
    most: int = 110


def place(
    rng: np.random.Generator, size: int, outline: MakeOutline, spread: Spread
) -> Layout:
    """Lay out objects in a picture (size, size)."""
    maps = np.zeros((3, size, size), np.float32)
    labels = np.zeros((size, size), np.int32)
    layout = Layout(labels, maps[0], maps[1], maps[2], np.ones(1, np.float32))
    wanted = spread.cover * size**2 / (np.pi * spread.radius**2)
    wanted = int(np.clip(round(wanted * rng.uniform(0.5, 1.2)), 1, spread.most))
    circles = np.empty((wanted, 3))  # row, column, radius
    count = 0
    common = rng.uniform(0, 2 * np.pi)
    for _ in range(TRIES * wanted):
        if count == wanted:
            break
        radius = max(MIN_RADIUS, spread.radius * np.exp(rng.normal(0, spread.sizes)))
        centre = _centre(rng, size, radius, circles[:count], spread, common)
        if centre is None:
            continue
        turn = common + rng.uniform(-np.pi, np.pi) * (1 - spread.aligned)
        depth = _depth_of(outline(rng), centre, radius, turn, size)
        if _add(layout, depth, count + 1, 2.5 / radius, spread):
            circles[count] = *centre, radius
            count += 1
    layout.radius = np.append(1, circles[:count, 2]).astype(np.float32)
    return layout


def _centre(
    rng: np.random.Generator,
    size: int,
    radius: float,
    circles: npt.NDArray[np.float64],
    spread: Spread,
    common: float,
) -> npt.NDArray[np.float64] | None:
    """Draw a place, against another object or anywhere; None where too close."""
    if len(circles) and rng.random() < spread.clumped:
        row, column, beside = circles[int(rng.integers(len(circles)))]
        angle = rng.uniform(0, 2 * np.pi)
        reach = spread.closeness * (beside + radius)
        dy, dx = reach * np.sin(angle), reach * np.cos(angle)
        dy, dx = _stretched(dy, dx, common, spread.elongated)
        y, x = row + dy, column + dx
        low, high = -0.4 * radius, size + 0.4 * radius
        if not (low < y < high and low < x < high):
            return None
    else:
        # Large objects stay mostly inside, so that something is seen of them.
        margin = max(-0.3 * radius, min(0.3 * radius, radius - 0.2 * size))
        low, high = min(margin, size / 2), max(size - margin, size / 2)
        y, x = rng.uniform(low, high, 2)
    away = (circles[:, 0] - y, circles[:, 1] - x)
    distance = np.hypot(*_stretched(*away, common, 1 / spread.elongated))
    if (distance < 0.95 * spread.closeness * (circles[:, 2] + radius)).any():
        return None
    return np.array([y, x])


def _stretched(
    dy: Distances, dx: Distances, turn: float, factor: float
) -> tuple[Distances, Distances]:
    """Make distances ``factor`` times as long along the direction ``turn``."""
    sin, cos = math.sin(turn), math.cos(turn)
    along = (factor - 1) * (sin * dy + cos * dx)
    return dy + along * sin, dx + along * cos


def _depth_of(
    outline: Outline,
    centre: npt.NDArray[np.float64],
    radius: float,
    turn: float,
    size: int,
) -> tuple[tuple[slice, slice], Floats, Floats, Floats]:
    """Draw one object in its window: the window, depth, u and v."""
    half = radius * outline.extent + 2
    y0, x0 = np.clip(np.floor(centre - half), 0, size).astype(int)
    y1, x1 = np.clip(np.ceil(centre + half) + 1, 0, size).astype(int)
    dy = (np.arange(y0, y1, dtype=np.float32) - np.float32(centre[0]))[:, None]
    dx = (np.arange(x0, x1, dtype=np.float32) - np.float32(centre[1]))[None]
    sin, cos = np.float32(np.sin(turn) / radius), np.float32(np.cos(turn) / radius)
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    return (slice(y0, y1), slice(x0, x1)), outline.depth(u, v), u, v


def _add(
    layout: Layout,
    drawn: tuple[tuple[slice, slice], Floats, Floats, Floats],
    label: int,
    gap: float,
    spread: Spread,
) -> bool:
    """Put one object under the others; False where too little would be seen."""
    window, depth, u, v = drawn
    inside = depth > 0
    taken = layout.labels[window] > 0
    if spread.apart and (taken & (depth > -gap)).any():
        return False
    total = np.count_nonzero(inside)
    if (inside & taken).any():
        inside &= ~taken
        if np.count_nonzero(inside) < spread.seen * total:
            return False
        inside = _largest_piece(inside)
    if np.count_nonzero(inside) < max(MIN_PX, spread.seen * total):
        return False
    layout.labels[window][inside] = label
    layout.depth[window][inside] = np.minimum(depth[inside], 1)
    layout.u[window][inside] = u[inside]
    layout.v[window][inside] = v[inside]
    return True


def _largest_piece(mask: Bools) -> Bools:
    pieces, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(pieces == sizes.argmax())


def groups(labels: Ints) -> Ints:
    """Label objects that touch as one."""
    out, _ = ndimage.label(labels > 0)
    return np.asarray(out, np.int32)


def rims(labels: Ints) -> Bools:
    """Pixels beside another label or the background, on the object's side."""
    return _borders(labels, labels >= 0)


def seams(labels: Ints) -> Bools:
    """Pixels beside another label, both sides; borders to the background are none."""
    return _borders(labels, labels > 0)


def _borders(labels: Ints, counts: Bools) -> Bools:
    """Pixels of objects beside another value among the pixels that count."""
    out = np.zeros(labels.shape, bool)
    for a, b in (
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:, :-1], np.s_[:, 1:]),
    ):
        differ = (labels[a] != labels[b]) & counts[a] & counts[b]
        out[a] |= differ
        out[b] |= differ
    return out & (labels > 0)
