# SPDX-License-Identifier: Apache-2.0
"""Large images as overlapping tiles, and objects that reach across them.

Two masks of neighbouring tiles are the same object if they agree (IoU of at least one
half) on the strip that both tiles show. Of the same object seen whole in some tile, the
best such mask is taken; of one cut in every tile, the union of its parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_sam.prediction.label_painting import touched_sides
from napari_sam.structures import rle
from napari_sam.structures.arrays import HalfOpenBox
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.geometry import intersect_boxes

# Images whose long side exceeds the model's frame by this factor are cut into tiles.
TILE_FROM = 1.5
_SAME_OBJECT_IOU = 0.5


@dataclass(frozen=True, slots=True)
class TiledRecord:
    """A mask found in one tile or joined from several.

    Attributes
    ----------
    record : MaskRecord
        In the frame of the whole image.
    tile : (y0, x0, y1, x1)
        Half-open box of the tile in the image.
    is_cut : bool
        Whether the mask ends at a border of the tile inside the image.
    is_doubtful : bool
        Whether it looks like background in its tile, and may be the middle of an object
        larger than that: `join_tiles` keeps it if another tile shows the object's rim.
    """

    record: MaskRecord
    tile: HalfOpenBox
    is_cut: bool
    is_doubtful: bool = False


def tile_boxes(shape: tuple[int, int], side: int, overlap_px: int) -> list[HalfOpenBox]:
    """Lay out square tiles that cover an image.

    Parameters
    ----------
    shape : (H, W)
        Size of the image.
    side : int
        Side of a tile in pixels; shorter where the image is.
    overlap_px : int
        Least overlap of neighbours; less than `side`.

    Returns
    -------
    list of half-open boxes, row by row
    """
    rows, columns = (_tile_ranges(length, side, overlap_px) for length in shape)
    return [(y0, x0, y1, x1) for y0, y1 in rows for x0, x1 in columns]


def is_cut_by_tile(
    bbox: HalfOpenBox, tile: HalfOpenBox, shape: tuple[int, int]
) -> bool:
    """Tell whether a mask reaches a border of its tile that is not the image's.

    Parameters
    ----------
    bbox, tile : (y0, x0, y1, x1)
        Half-open boxes in the image.
    shape : (H, W)
        Size of the image.

    Returns
    -------
    bool
    """
    at_tile = touched_sides(bbox, tile)
    inner = _inner_sides(tile, shape)
    return any(near and inside for near, inside in zip(at_tile, inner, strict=True))


def leaves_tile_only(
    bbox: HalfOpenBox, tile: HalfOpenBox, shape: tuple[int, int]
) -> bool:
    """Tell whether all sides of its tile that a mask reaches are inside the image.

    Parameters
    ----------
    bbox, tile : (y0, x0, y1, x1)
        Half-open boxes in the image.
    shape : (H, W)
        Size of the image.

    Returns
    -------
    bool
    """
    at_tile = touched_sides(bbox, tile)
    inner = _inner_sides(tile, shape)
    return all(inside for near, inside in zip(at_tile, inner, strict=True) if near)


def _inner_sides(tile: HalfOpenBox, shape: tuple[int, int]) -> list[bool]:
    """Tell which sides of a tile are not the image's: top, left, bottom, right."""
    return [side != end for side, end in zip(tile, (0, 0, *shape), strict=True)]


def join_tiles(found: Sequence[TiledRecord]) -> list[TiledRecord]:
    """Make one mask of each object that several tiles show.

    Parameters
    ----------
    found : sequence of TiledRecord
        Masks of all tiles; those of one tile do not overlap.

    Returns
    -------
    list of TiledRecord
        In the order of their first parts; without those of which all parts are
        doubtful.
    """
    parent = list(range(len(found)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for first, second in _neighbours(found):
        if _is_same_object(found[first], found[second]):
            parent[root(second)] = root(first)
    groups: dict[int, list[TiledRecord]] = {}
    for index, item in enumerate(found):
        groups.setdefault(root(index), []).append(item)
    return [
        _join(group)
        for group in groups.values()
        if not all(item.is_doubtful for item in group)
    ]


def _tile_ranges(length: int, side: int, overlap_px: int) -> list[tuple[int, int]]:
    """Cut one side of an image into evenly spaced ranges of a tile's length."""
    if length <= side:
        return [(0, length)]
    n_tiles = int(np.ceil((length - overlap_px) / (side - overlap_px)))
    starts = np.linspace(0, length - side, n_tiles).round().astype(int).tolist()
    return [(start, start + side) for start in starts]


def _neighbours(found: Sequence[TiledRecord]) -> list[tuple[int, int]]:
    """Return pairs of masks of different tiles whose boxes overlap."""
    by_tile: dict[HalfOpenBox, list[int]] = {}
    for index, item in enumerate(found):
        by_tile.setdefault(item.tile, []).append(index)
    boxes = np.array([item.record.bbox for item in found]).reshape(-1, 4)
    tiles = list(by_tile)
    pairs: list[tuple[int, int]] = []
    for position, tile in enumerate(tiles):
        for other in tiles[position + 1 :]:
            if intersect_boxes(tile, other) is None:
                continue
            here, there = np.array(by_tile[tile]), np.array(by_tile[other])
            a, b = boxes[here][:, None], boxes[there][None]
            meets = (a[..., :2] < b[..., 2:]) & (b[..., :2] < a[..., 2:])
            first, second = np.nonzero(meets.all(axis=-1))
            pairs += zip(here[first].tolist(), there[second].tolist(), strict=True)
    return pairs


def _is_same_object(first: TiledRecord, second: TiledRecord) -> bool:
    """Tell whether two masks agree where both tiles show them."""
    shared = intersect_boxes(first.tile, second.tile)
    if shared is None:
        return False
    window = intersect_boxes(shared, _around(first.record.bbox, second.record.bbox))
    if window is None:
        return False
    a = first.record.rle.decode_window(window)
    b = second.record.rle.decode_window(window)
    union = int(np.count_nonzero(a | b))
    shared_px = int(np.count_nonzero(a & b))
    return union > 0 and shared_px >= _SAME_OBJECT_IOU * union


def _join(group: Sequence[TiledRecord]) -> TiledRecord:
    """Return the best whole mask of an object, or the union of its parts."""
    whole = [item for item in group if not item.is_cut]
    if whole:
        return max(whole, key=lambda item: item.record.predicted_iou)
    if len(group) == 1:
        return group[0]
    records = [item.record for item in group]
    box, tile = records[0].bbox, group[0].tile
    for item in group[1:]:
        box, tile = _around(box, item.record.bbox), _around(tile, item.tile)
    mask = np.zeros((box[2] - box[0], box[3] - box[1]), dtype=np.bool_)
    for record in records:
        part, y0, x0 = record.crop()
        h, w = part.shape
        mask[y0 - box[0] : y0 - box[0] + h, x0 - box[1] : x0 - box[1] + w] |= part
    encoded = rle.encode_window(mask, box[0], box[1], records[0].rle.size)
    areas = [record.area for record in records]
    largest = records[int(np.argmax(areas))]
    joined = replace(
        largest,
        rle=encoded,
        bbox=box,
        area=encoded.area,
        predicted_iou=float(
            np.average([record.predicted_iou for record in records], weights=areas)
        ),
        stability_score=float(
            np.average([record.stability_score for record in records], weights=areas)
        ),
        crop_box=tile,
    )
    is_doubtful = any(item.is_doubtful for item in group)
    return TiledRecord(joined, tile, is_cut=False, is_doubtful=is_doubtful)


def _around(first: HalfOpenBox, second: HalfOpenBox) -> HalfOpenBox:
    """Return the smallest box around two boxes."""
    return (
        min(first[0], second[0]),
        min(first[1], second[1]),
        max(first[2], second[2]),
        max(first[3], second[3]),
    )
