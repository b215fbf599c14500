# SPDX-License-Identifier: Apache-2.0
"""Which masks of neighbouring tiles are one object.

The rule: two masks of different tiles are the same object if they agree (IoU of at
least one half) on the strip that both tiles show. Of an object that some tile shows
whole, the best such mask is taken; of one that every tile cuts, the union of its parts.

Pairs of tiles are compared one after the other, so that the masks of a few tiles are in
memory at a time; of every mask some hundred bytes of facts stay. Nothing depends on the
order in which tiles were finished.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_sam.prediction.tile_parts import PartMasks, as_box, list_parts
from napari_sam.structures.geometry import intersect_boxes, union_box
from napari_sam.structures.mask_window import MaskWindow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam.prediction.tile_parts import Flags, Floats, Ints, Parts
    from napari_sam.prediction.tiling import TilePlan
    from napari_sam.structures.arrays import HalfOpenBox
    from napari_sam.structures.tile_result import TileResults

SAME_OBJECT_IOU = 0.5


class Overlaps(NamedTuple):
    """Pairs of masks of different tiles that share pixels: ``(first, second)``.

    ``is_same`` tells whether the two are one object.
    """

    first: Ints
    second: Ints
    is_same: Flags


@dataclass(frozen=True, eq=False)
class JoinedObjects:
    """Facts about n objects, in the order of their first masks.

    Attributes
    ----------
    starts : (n + 1,) int array
        ``members[starts[i] : starts[i + 1]]`` are the masks that make object i.
    members : (m,) int array
        Numbers of masks among `Parts`.
    bbox, area, scores, is_cut, is_doubtful : arrays of length n
        As of `Parts`.
    """

    starts: Ints
    members: Ints
    bbox: Ints
    area: Ints
    scores: Floats
    is_cut: Flags
    is_doubtful: Flags

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.area)

    def some(self, is_kept: Flags) -> JoinedObjects:
        """Return some of the objects, in the same order."""
        sizes = np.diff(self.starts)
        return JoinedObjects(
            np.concatenate([[0], np.cumsum(sizes[is_kept])]),
            self.members[np.repeat(is_kept, sizes)],
            self.bbox[is_kept],
            self.area[is_kept],
            self.scores[is_kept],
            self.is_cut[is_kept],
            self.is_doubtful[is_kept],
        )

    def members_of(self, number: int) -> list[int]:
        """Return the masks that an object is made of."""
        found: list[int] = self.members[
            self.starts[number] : self.starts[number + 1]
        ].tolist()
        return found


class JoinedTiles:
    """The objects of all tiles, and where their pixels are.

    Parameters
    ----------
    plan : TilePlan
        Where the tiles lie.
    results : TileResults
        What was found in them; tiles without a result count as empty.

    Attributes
    ----------
    plan : TilePlan
    parts : Parts
        All masks.
    masks : PartMasks
        Their pixels.
    objects : JoinedObjects
        What they were joined to.
    """

    def __init__(self, plan: TilePlan, results: TileResults) -> None:
        self.plan = plan
        self.parts = list_parts(plan, results)
        self.masks = PartMasks(results, self.parts)
        self._overlaps = find_overlaps(plan, self.parts, self.masks)
        self._take(join_parts(self.parts, self._overlaps, self.masks))

    def keep(self, is_kept: Flags) -> None:
        """Go on with some of the objects only; they are numbered anew."""
        self._take(self.objects.some(is_kept))

    def box(self, number: int) -> HalfOpenBox:
        """Return the half-open box around an object."""
        return as_box(self.objects.bbox[number])

    def mask(self, number: int) -> MaskWindow:
        """Return the mask of an object."""
        box = self.box(number)
        crop = self.masks.union(self.objects.members_of(number), box)
        return MaskWindow(box[0], box[1], crop)

    def near(self, box: HalfOpenBox) -> list[int]:
        """Return the objects of which a mask has a box that overlaps another one."""
        found: list[int] = []
        for tile in self.plan.touching(box):
            part = slice(*self.parts.first[tile : tile + 2].tolist())
            boxes = self.parts.bbox[part]
            meets = (boxes[:, :2] < box[2:]) & (boxes[:, 2:] > box[:2])
            found += self._object_of[part][meets.all(axis=1)].tolist()
        return [number for number in found if number >= 0]

    def conflicts(self) -> Iterator[tuple[int, int]]:
        """Yield pairs of objects that share pixels; a pair may come again."""
        first = self._object_of[self._overlaps.first]
        second = self._object_of[self._overlaps.second]
        is_pair = (first >= 0) & (second >= 0) & (first != second)
        pairs = zip(first[is_pair].tolist(), second[is_pair].tolist(), strict=True)
        return iter(pairs)

    def _take(self, objects: JoinedObjects) -> None:
        self.objects = objects
        # Masks that a better one stands for belong to no object: -1.
        self._object_of = np.full(len(self.parts.area), -1, dtype=np.int64)
        self._object_of[objects.members] = np.repeat(
            np.arange(len(objects)), np.diff(objects.starts)
        )


def find_overlaps(plan: TilePlan, parts: Parts, masks: PartMasks) -> Overlaps:
    """Compare the masks of tiles that show the same pixels.

    Parameters
    ----------
    plan : TilePlan
        Where the tiles lie.
    parts : Parts
        All masks.
    masks : PartMasks
        Their pixels.

    Returns
    -------
    Overlaps
    """
    first, second, is_same = [], [], []
    for a, b, strip in _candidates(plan, parts):
        boxes = union_box(as_box(parts.bbox[a]), as_box(parts.bbox[b]))
        window = intersect_boxes(strip, boxes)
        if window is None:
            continue
        here, there = masks.window(a, window), masks.window(b, window)
        n_shared = int(np.count_nonzero(here & there))
        if n_shared:
            n_union = int(np.count_nonzero(here | there))
            first.append(a)
            second.append(b)
            is_same.append(n_shared >= SAME_OBJECT_IOU * n_union)
    return Overlaps(
        np.array(first, dtype=np.int64),
        np.array(second, dtype=np.int64),
        np.array(is_same, dtype=np.bool_),
    )


def join_parts(parts: Parts, overlaps: Overlaps, masks: PartMasks) -> JoinedObjects:
    """Make one object of the masks that are the same.

    Parameters
    ----------
    parts : Parts
        All masks.
    overlaps : Overlaps
        Which of them are the same.
    masks : PartMasks
        Their pixels, for the area of unions.

    Returns
    -------
    JoinedObjects
        Without those of which all masks are doubtful.
    """
    groups = [
        group
        for group in _groups(parts, overlaps)
        if not parts.is_doubtful[group].all()
    ]
    chosen = [np.zeros(0, np.int64)]
    chosen += [_representatives(parts, group) for group in groups]
    starts = np.cumsum([len(members) for members in chosen])
    members = np.concatenate(chosen)
    first = members[starts[:-1]]
    objects = JoinedObjects(
        starts,
        members,
        parts.bbox[first],
        parts.area[first],
        parts.scores[first],
        parts.is_cut[first],
        parts.is_doubtful[first],
    )
    for number in np.flatnonzero(np.diff(starts) > 1).tolist():
        _unite(objects, number, parts, masks)
    return objects


def _unite(objects: JoinedObjects, number: int, parts: Parts, masks: PartMasks) -> None:
    """Make the facts about an object those about all of its masks."""
    members = objects.members_of(number)
    boxes, areas = parts.bbox[members], parts.area[members]
    box = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    objects.bbox[number] = box
    objects.area[number] = np.count_nonzero(masks.union(members, as_box(box)))
    for column in range(2):
        scores = parts.scores[members, column]
        objects.scores[number, column] = np.average(scores, weights=areas)
    objects.is_cut[number] = False
    objects.is_doubtful[number] = parts.is_doubtful[members].any()


def _candidates(plan: TilePlan, parts: Parts) -> Iterator[tuple[int, int, HalfOpenBox]]:
    """Yield pairs of masks whose boxes overlap, and the strip that both tiles show."""
    for number in range(len(plan)):
        here = parts.of_tile(number)
        if not here:
            continue
        for other in plan.later_neighbours(number):
            there = parts.of_tile(other)
            strip = intersect_boxes(plan.box(number), plan.box(other))
            if not there or strip is None:
                continue
            a = parts.bbox[here.start : here.stop, None]
            b = parts.bbox[None, there.start : there.stop]
            meets = (a[..., :2] < b[..., 2:]) & (b[..., :2] < a[..., 2:])
            for i, j in np.argwhere(meets.all(axis=-1)).tolist():
                yield here.start + i, there.start + j, strip


def _groups(parts: Parts, overlaps: Overlaps) -> list[Ints]:
    """Return masks that are one object, in the order of their first ones."""
    n_parts = len(parts.area)
    if n_parts == 0:
        return []
    first, second = overlaps.first[overlaps.is_same], overlaps.second[overlaps.is_same]
    links = coo_array(
        (np.ones(len(first), np.bool_), (first, second)), shape=(n_parts, n_parts)
    )
    _, group_of = connected_components(links, directed=False)
    order = np.argsort(group_of, kind="stable")
    ends = np.flatnonzero(np.diff(group_of[order])) + 1
    groups = np.split(order.astype(np.int64), ends)
    return sorted(groups, key=lambda group: int(group[0]))


def _representatives(parts: Parts, group: Ints) -> Ints:
    """Return the best whole mask of an object, or else all of its parts."""
    whole = group[~parts.is_cut[group]]
    if whole.size:
        return whole[[np.argmax(parts.scores[whole, 0])]]
    return group
