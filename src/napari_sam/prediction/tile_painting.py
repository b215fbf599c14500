# SPDX-License-Identifier: Apache-2.0
"""One label for each pixel of an image that is never in memory as a whole.

The rule is that of `paint_objects`, and so is the result. Objects of one tile do not
overlap; where those of different tiles do, chains of overlapping ones are painted by
rank, each chain for itself, because nothing outside a chain can change it. Only masks
that this changes are kept (packed bits); all others are read from their tiles again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_sam.prediction.label_painting import (
    is_mostly_taken,
    is_too_small,
    lies_within,
)
from napari_sam.prediction.mask_cleanup import fill_holes, largest_piece
from napari_sam.prediction.packed_masks import PackedMasks
from napari_sam.structures import rle
from napari_sam.structures.geometry import intersect_boxes, union_box
from napari_sam.structures.mask_window import MaskWindow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from napari_sam.prediction.tile_joining import JoinedTiles
    from napari_sam.structures.arrays import HalfOpenBox, LabelImage
    from napari_sam.structures.candidates import MaskRecord
    from napari_sam.structures.settings import LabelSettings


class TilePainting:
    """Final masks and labels of the objects of all tiles.

    Parameters
    ----------
    joined : JoinedTiles
        The objects.
    ranks : (n,) float array
        Per object; higher comes first, equal ranks keep their order.
    settings : LabelSettings
        What is dropped and what is filled.

    Attributes
    ----------
    order : list of int
        Objects that have a label: number ``order[k]`` has the label ``k + 1``.
    """

    def __init__(
        self,
        joined: JoinedTiles,
        ranks: npt.NDArray[np.float64],
        settings: LabelSettings,
    ) -> None:
        self._joined = joined
        self._settings = settings
        by_rank = np.argsort(-ranks, kind="stable")
        self._place = np.empty_like(by_rank)  # 0 is painted first
        self._place[by_rank] = np.arange(len(by_rank))
        areas = joined.objects.area.tolist()
        self._is_painted = np.array(
            [not is_too_small(a, settings) for a in areas], bool
        )
        self._changed = PackedMasks()
        # Objects that have grown into places where none of their masks is.
        self._grown: dict[int, HalfOpenBox] = {}
        rivals = self._find_rivals()
        for chain in self._chains(rivals):
            self._paint_chain(chain, rivals)
        self._tidy()
        self.order: list[int] = by_rank[self._is_painted[by_rank]].tolist()
        self._label_of = np.zeros(len(ranks), dtype=np.uint32)
        self._label_of[self.order] = np.arange(1, len(self.order) + 1)

    def __len__(self) -> int:
        """Return the number of labels."""
        return len(self.order)

    def mask(self, label: int) -> MaskWindow:
        """Return the mask of a label."""
        return self._mask(self.order[label - 1])

    def box(self, label: int) -> HalfOpenBox:
        """Return the half-open box around a label."""
        return self._box(self.order[label - 1])

    def area(self, label: int) -> int:
        """Return the pixels of a label."""
        number = self.order[label - 1]
        area = self._changed.area(number)
        return int(self._joined.objects.area[number]) if area is None else area

    def scores(self, label: int) -> tuple[float, float]:
        """Return predicted IoU and stability score of a label."""
        iou, stability = self._joined.objects.scores[self.order[label - 1]].tolist()
        return iou, stability

    def labels_in(self, box: HalfOpenBox) -> LabelImage:
        """Return the labels of a part of the image.

        Parameters
        ----------
        box : (y0, x0, y1, x1)
            Half-open box in the image.

        Returns
        -------
        (h, w) uint32 array
        """
        labels = np.zeros((box[2] - box[0], box[3] - box[1]), dtype=np.uint32)
        for number in self._near(box):
            shared = intersect_boxes(box, self._box(number))
            if shared is None:
                continue
            y0, x0, y1, x1 = shared
            here = labels[y0 - box[0] : y1 - box[0], x0 - box[1] : x1 - box[1]]
            here[self._inside(number, shared)] = self._label_of[number]
        return labels

    def labels_at(self, box: HalfOpenBox) -> list[int]:
        """Return the labels whose boxes begin in a box, rising."""
        y0, x0, y1, x1 = box
        found = []
        for number in self._near(box):
            top, left = self._box(number)[:2]
            if y0 <= top < y1 and x0 <= left < x1:
                found.append(int(self._label_of[number]))
        return sorted(found)

    def record(self, label: int) -> MaskRecord:
        """Return all that is known of a label, in the frame of the image."""
        number = self.order[label - 1]
        joined, mask = self._joined, self._mask(number)
        members = joined.objects.members_of(number)
        largest = members[int(np.argmax(joined.parts.area[members]))]
        record, tile = joined.masks.record(largest)
        iou, stability = self.scores(label)
        y, x = record.point_yx
        return replace(
            record,
            rle=rle.encode_window(mask.crop, mask.y0, mask.x0, joined.plan.shape),
            bbox=mask.box,
            area=mask.area,
            predicted_iou=iou,
            stability_score=stability,
            point_yx=(tile[0] + y, tile[1] + x),
            crop_box=self._seen_in(members),
        )

    def _seen_in(self, members: Sequence[int]) -> HalfOpenBox:
        """Return the box that the model was shown."""
        record, tile = self._joined.masks.record(members[0])
        if len(members) == 1:
            y0, x0, y1, x1 = record.crop_box
            return tile[0] + y0, tile[1] + x0, tile[0] + y1, tile[1] + x1
        for member in members[1:]:
            tile = union_box(tile, self._joined.masks.record(member)[1])
        return tile

    def _mask(self, number: int) -> MaskWindow:
        """Return the mask of an object as it is painted."""
        changed = self._changed.get(number)
        return self._joined.mask(number) if changed is None else changed

    def _box(self, number: int) -> HalfOpenBox:
        """Return the box around an object as it is painted."""
        changed = self._changed.box(number)
        return self._joined.box(number) if changed is None else changed

    def _inside(self, number: int, box: HalfOpenBox) -> npt.NDArray[np.bool_]:
        """Return what of an object lies in a box, (h, w) bool."""
        changed = self._changed.get(number)
        if changed is not None:
            return changed.inside(box)
        members = self._joined.objects.members_of(number)
        return self._joined.masks.union(members, box)

    def _near(self, box: HalfOpenBox) -> list[int]:
        """Return the painted objects that may have pixels in a box, rising."""
        found = self._joined.near(box)
        found += [
            number
            for number, grown in self._grown.items()
            if intersect_boxes(box, grown) is not None
        ]
        return [number for number in sorted(set(found)) if self._is_painted[number]]

    def _find_rivals(self) -> dict[int, set[int]]:
        """Return for each object the others that it shares pixels with."""
        rivals: dict[int, set[int]] = {}
        for a, b in self._joined.conflicts():
            rivals.setdefault(a, set()).add(b)
            rivals.setdefault(b, set()).add(a)
        return rivals

    def _chains(self, rivals: dict[int, set[int]]) -> Iterator[list[int]]:
        """Yield objects that hang together by shared pixels, best first."""
        involved = np.array(sorted(rivals), dtype=np.int64)
        pairs = np.array([(a, b) for a in rivals for b in rivals[a]], dtype=np.int64)
        first, second = np.searchsorted(involved, pairs.reshape(-1, 2)).T
        shape = (len(involved), len(involved))
        links = coo_array((np.ones(len(first), np.bool_), (first, second)), shape=shape)
        n_chains, chain_of = connected_components(links, directed=False)
        by_place = np.argsort(self._place[involved])
        chains: list[list[int]] = [[] for _ in range(n_chains)]
        for index in by_place.tolist():
            chains[chain_of[index]].append(int(involved[index]))
        return iter(chains)

    def _paint_chain(self, chain: list[int], rivals: dict[int, set[int]]) -> None:
        """Paint overlapping objects, best first, as `paint_objects` does."""
        painted: dict[int, MaskWindow] = {}
        for number in chain:
            if not self._is_painted[number]:
                continue
            mask = self._joined.mask(number)
            shared = {
                rival: painted[rival].inside(mask.box) & mask.crop
                for rival in rivals[number]
                if rival in painted
            }
            n_shared = {r: int(np.count_nonzero(part)) for r, part in shared.items()}
            if is_mostly_taken(sum(n_shared.values()), mask.area, self._settings):
                self._is_painted[number] = False
                continue
            free = mask.crop.copy()
            for rival, part in shared.items():
                is_part = n_shared[rival] and lies_within(
                    n_shared[rival], painted[rival].area
                )
                if is_part and self._settings.absorb_parts:
                    self._is_painted[rival] = False
                    del painted[rival]
                else:
                    free &= ~part
            painted[number] = MaskWindow(mask.y0, mask.x0, free)
        for number, window in painted.items():
            self._changed.put(number, window)

    def _tidy(self) -> None:
        """Reduce objects to one piece, fill holes that are nobody's, drop small ones.

        A hole may be free for two objects: the better one gets it, so holes are filled
        at the end, by rank.
        """
        tidied = PackedMasks()
        with_holes: list[int] = []
        for number in np.flatnonzero(self._is_painted).tolist():
            mask = self._mask(number)
            kept = largest_piece(mask.crop)
            if self._settings.fill_holes and not np.array_equal(fill_holes(kept), kept):
                with_holes.append(number)
            elif number in self._changed or kept is not mask.crop:
                tidied.put(number, MaskWindow.of_mask(kept, mask.y0, mask.x0))
        for number in sorted(with_holes, key=self._place.__getitem__):
            self._fill(number, tidied)
        for number, window in tidied.items():
            self._changed.put(number, window)
        for number in np.flatnonzero(self._is_painted).tolist():
            area = self._changed.area(number)
            if area is None:
                area = int(self._joined.objects.area[number])
            self._is_painted[number] = area >= max(self._settings.min_area, 1)

    def _fill(self, number: int, tidied: PackedMasks) -> None:
        """Fill the holes of an object as far as they belong to no other."""
        mask = self._mask(number)
        kept = largest_piece(mask.crop)
        is_free = np.ones_like(kept)
        for other in self._near(mask.box):
            if other == number:
                continue
            is_free &= ~self._inside(other, mask.box)
            grown = tidied.get(other) if other in self._grown else None
            if grown is not None:
                is_free &= ~grown.inside(mask.box)
        filled = largest_piece(kept | (fill_holes(kept) & (is_free | mask.crop)))
        if np.array_equal(filled, mask.crop):
            if number in self._changed:
                tidied.put(number, MaskWindow.of_mask(filled, mask.y0, mask.x0))
            return
        tidied.put(number, MaskWindow.of_mask(filled, mask.y0, mask.x0))
        self._grown[number] = mask.box
