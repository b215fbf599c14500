# SPDX-License-Identifier: Apache-2.0
"""From dense maps of a picture to its objects: a watershed that knows no sizes.

A model's objects head says of every place how likely it belongs to an object
(foreground), to an object's rim (boundary) and how deep inside its object it lies
(centre: 1 in the middle, 0 at the rim). The centre map falls to 0 between objects
whatever their size, so two summits are one object if the pass between them is nearly as
high as the lower summit. This replaces a least distance between seeds, which would have
to be known beforehand, by a ratio that holds for objects of 8 and of 400 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

if TYPE_CHECKING:
    from napari_sam.structures.arrays import BoolMask, FloatArray

Labels = npt.NDArray[np.int32]
_T = TypeVar("_T", bound=np.generic)
_CENTRAL = 1e-4  # depth that a sample of distance from the centre of mass costs
# Half of the neighbours of a pixel, (row, column); the others are their mirror images.
_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))


class ObjectMaps(NamedTuple):
    """What a model says of every place of a picture, as probabilities.

    ``foreground``, ``boundary`` and ``centre`` are (h, w) float32 from 0 to 1.
    """

    foreground: FloatArray
    boundary: FloatArray
    centre: FloatArray

    @classmethod
    def of_logits(cls, logits: FloatArray) -> ObjectMaps:
        """Turn (3, h, w) logits into probabilities; what is not finite counts as 0."""
        clipped = np.clip(np.nan_to_num(logits, nan=-30.0), -30.0, 30.0)
        return cls(*(1 / (1 + np.exp(-clipped.astype(np.float32)))))


@dataclass(frozen=True, slots=True)
class RegionRule:
    """When places form an object; chosen on development images.

    Attributes
    ----------
    foreground : float
        Probability from which on a place belongs to an object.
    summit : float
        Least height of a summit, 0 to 1.
    joined : float
        Summits are one object if the pass between them has at least this part of the
        height of the lower one.
    blur : float
        Standard deviation of the smoothing of heights, in samples of the maps.
    boundary : float
        How much the boundary map lowers heights, 0 to 1.
    min_area : int
        Samples that a region has at least.
    """

    foreground: float = 0.55
    summit: float = 0.2
    joined: float = 0.65
    blur: float = 1.0
    boundary: float = 0.5
    min_area: int = 3


def find_regions(maps: ObjectMaps, rule: RegionRule | None = None) -> Labels:
    """Divide the foreground into objects.

    Parameters
    ----------
    maps : ObjectMaps
        Of a picture, without padding.
    rule : RegionRule or None
        None takes the usual one.

    Returns
    -------
    (h, w) int32 array
        0 is background; regions are numbered from 1 in reading order.
    """
    rule = rule or RegionRule()
    is_object = maps.foreground >= rule.foreground
    heights = heights_of(maps, rule)
    if not is_object.any():
        return np.zeros(is_object.shape, dtype=np.int32)
    basins = _basins(heights, is_object)
    summits = np.asarray(
        ndimage.maximum(heights, basins, np.arange(basins.max() + 1)), np.float32
    )
    group_of = _join(*_passes(basins, heights), summits, rule.joined)
    tops = np.zeros(len(summits), dtype=np.float32)
    np.maximum.at(tops, group_of[1:], summits[1:])
    areas = np.bincount(group_of[basins.ravel()], minlength=len(summits))
    is_kept = (tops >= rule.summit) & (areas >= rule.min_area)
    is_kept[0] = False
    regions = np.where(is_kept[group_of], group_of, 0)[basins]
    return _number(regions)


def heights_of(maps: ObjectMaps, rule: RegionRule) -> FloatArray:
    """Return how deep inside an object each place lies, (h, w) float32."""
    heights = maps.centre * (1 - rule.boundary * maps.boundary)
    if rule.blur > 0:
        heights = ndimage.gaussian_filter(heights, rule.blur, mode="nearest")
    return np.asarray(heights, dtype=np.float32)


def innermost(regions: Labels) -> npt.NDArray[np.int64]:
    """Return the place of each region that is farthest from its border.

    Parameters
    ----------
    regions : (h, w) int32 array
        Numbered from 1 without gaps; the picture's edge counts as a border.

    Returns
    -------
    (n, 2) int64 array
        Row and column.
    """
    n_regions = int(regions.max(initial=0))
    if n_regions == 0:
        return np.zeros((0, 2), dtype=np.int64)
    padded = np.pad(regions, 1)
    is_inside = padded > 0
    for dy, dx in ((0, 1), (1, 0)):
        here, there = _shifted(padded, dy, dx)
        differs = here != there
        is_rim = np.zeros(padded.shape, dtype=np.bool_)
        first, second = _shifted(is_rim, dy, dx)
        # Where two objects touch, the rims of both count as outside.
        first |= differs & (there > 0)
        second |= differs & (here > 0)
        is_inside &= ~is_rim
    depth = ndimage.distance_transform_edt(is_inside)[1:-1, 1:-1]
    # Of places equally deep, and in regions that have no inside, the most central one.
    numbers = np.arange(1, n_regions + 1)
    centres = ndimage.center_of_mass(regions > 0, regions, numbers)
    y, x = np.vstack([[0.0, 0.0], centres])[regions].transpose(2, 0, 1)
    rows, columns = np.indices(regions.shape)
    depth -= _CENTRAL * np.hypot(rows - y, columns - x)
    places = ndimage.maximum_position(depth, regions, numbers)
    return np.array(places, dtype=np.int64).reshape(-1, 2)


def region_confidence(
    regions: Labels, foreground: FloatArray
) -> npt.NDArray[np.float64]:
    """Estimate the IoU of each region with the object it stands for.

    Parameters
    ----------
    regions : (h, w) int32 array
        Numbered from 1 without gaps.
    foreground : (h, w) float32 array
        Probabilities.

    Returns
    -------
    (n,) float64 array
        Expected intersection over expected union, if the probabilities are right and a
        place outside belongs to the nearest region within two samples.
    """
    n_regions = int(regions.max(initial=0))
    inside = np.bincount(regions.ravel(), foreground.ravel(), n_regions + 1)[1:]
    areas = np.bincount(regions.ravel(), minlength=n_regions + 1)[1:]
    around = ndimage.grey_dilation(regions, size=(5, 5))
    is_missed = (regions == 0) & (around > 0)
    missed = np.bincount(around[is_missed], foreground[is_missed], n_regions + 1)[1:]
    return np.asarray(inside / np.maximum(areas + missed, 1))


def _basins(heights: FloatArray, is_object: BoolMask) -> Labels:
    """Divide the foreground into one basin for each summit, plateaus included."""
    from skimage.measure import label
    from skimage.morphology import local_maxima
    from skimage.segmentation import watershed

    # Ground that is lower all around makes summits of plateaus that fill the picture.
    surrounded = np.pad(np.where(is_object, heights, -1.0), 1, constant_values=-1.0)
    is_summit = local_maxima(surrounded)[1:-1, 1:-1] & is_object
    return np.asarray(
        watershed(-heights, label(is_summit, connectivity=2), mask=is_object), np.int32
    )


def _passes(basins: Labels, heights: FloatArray) -> tuple[Labels, Labels, FloatArray]:
    """Return pairs of basins that touch and the height of the pass between them."""
    size = int(basins.max()) + 1
    keys, passes = [], []
    for dy, dx in _STEPS:
        a, b = _shifted(basins, dy, dx)
        is_border = (a != b) & (a > 0) & (b > 0)
        first, second = a[is_border].astype(np.int64), b[is_border].astype(np.int64)
        keys.append(np.minimum(first, second) * size + np.maximum(first, second))
        here, there = _shifted(heights, dy, dx)
        passes.append(np.minimum(here[is_border], there[is_border]))
    pairs, which = np.unique(np.concatenate(keys), return_inverse=True)
    highest = np.zeros(len(pairs), dtype=np.float32)
    np.maximum.at(highest, which, np.concatenate(passes))
    first, second = np.divmod(pairs, size)
    return first.astype(np.int32), second.astype(np.int32), highest


def _join(
    first: Labels,
    second: Labels,
    passes: FloatArray,
    summits: FloatArray,
    ratio: float,
) -> Labels:
    """Join basins over high passes, highest pass first; return the group of each."""
    parent = np.arange(len(summits), dtype=np.int32)
    top = summits.copy()

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    order = np.argsort(-passes, kind="stable")
    for i in order.tolist():
        a, b = find(int(first[i])), find(int(second[i]))
        if a == b:
            continue
        low, high = (a, b) if (top[a], -a) < (top[b], -b) else (b, a)
        if passes[i] >= ratio * top[low]:
            parent[low] = high
    return np.array([find(i) for i in range(len(parent))], dtype=np.int32)


def _number(regions: Labels) -> Labels:
    """Give regions the numbers from 1 in reading order, without gaps."""
    numbers, first = np.unique(regions, return_index=True)
    first = first[numbers > 0]
    numbers = numbers[numbers > 0]
    new = np.zeros(int(regions.max()) + 1, dtype=np.int32)
    new[numbers[np.argsort(first)]] = np.arange(1, len(numbers) + 1)
    return new[regions]


def _shifted(
    array: npt.NDArray[_T], dy: int, dx: int
) -> tuple[npt.NDArray[_T], npt.NDArray[_T]]:
    """Return views of all pixels that have a neighbour (dy, dx) on, and of those."""
    height, width = array.shape
    here = array[: height - dy, max(0, -dx) : width - max(0, dx)]
    there = array[dy:, max(0, dx) : width + min(0, dx)]
    return here, there
