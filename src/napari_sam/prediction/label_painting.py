# SPDX-License-Identifier: Apache-2.0
"""From overlapping masks to one label for each pixel.

The rule: masks are taken in the order of their predicted IoU, and a pixel belongs to
the first mask that has it. A mask that belongs mostly to earlier ones is dropped; one
that contains earlier ones without being mostly made of them takes them over. What is
left of a mask is reduced to its largest connected piece, its holes are filled, and it
is dropped if it is too small. So no overlap ever leaves a sliver.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from napari_sam.prediction.mask_cleanup import fill_holes, largest_piece
from napari_sam.structures import rle
from napari_sam.structures.arrays import BoolMask, HalfOpenBox, LabelImage
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.geometry import mask_bounding_box
from napari_sam.structures.settings import LabelSettings

# A mask lies within another if this part of its pixels does.
_WITHIN = 0.9
# A mask touches a side if it comes this near: its outermost pixels are uncertain.
_TOUCH_PX = 2
# Masks that cover more than this are never objects (Kirillov et al. 2023, appendix B).
_WHOLE_VIEW = 0.95


def is_background(record: MaskRecord, view: HalfOpenBox, fraction: float) -> bool:
    """Tell whether a mask is what lies around the objects.

    Parameters
    ----------
    record : MaskRecord
        In the frame that `view` is given in.
    view : (y0, x0, y1, x1)
        What the model was shown.
    fraction : float
        Part of the view that background covers at least; 1 switches the rule off.

    Returns
    -------
    bool
    """
    return looks_like_background(record.bbox, record.area, view, fraction)


def looks_like_background(
    bbox: HalfOpenBox, area: int, view: HalfOpenBox, fraction: float
) -> bool:
    """Tell the same of a mask of which only box and area are known."""
    if fraction >= 1:
        return False
    view_area = (view[2] - view[0]) * (view[3] - view[1])
    if area > _WHOLE_VIEW * view_area:
        return True
    return sum(touched_sides(bbox, view)) >= 3 and area >= fraction * view_area


def touched_sides(
    bbox: HalfOpenBox, view: HalfOpenBox
) -> tuple[bool, bool, bool, bool]:
    """Tell which sides of a view a box reaches: top, left, bottom, right."""
    top, left, bottom, right = (
        abs(side - limit) <= _TOUCH_PX for side, limit in zip(bbox, view, strict=True)
    )
    return top, left, bottom, right


def paint_objects(
    records: Sequence[MaskRecord],
    shape: tuple[int, int],
    settings: LabelSettings,
    ranks: npt.ArrayLike | None = None,
) -> tuple[LabelImage, list[MaskRecord]]:
    """Give every pixel to at most one mask.

    Parameters
    ----------
    records : sequence of MaskRecord
        Masks of this plane; they may overlap.
    shape : (H, W)
        Size of the plane.
    settings : LabelSettings
        What is dropped and what is filled.
    ranks : (n,) array-like or None
        Higher comes first; None means the predicted IoU. Equal ranks keep their order.

    Returns
    -------
    labels : (H, W) uint32 array
        0 is background.
    objects : list of MaskRecord
        Record ``i`` describes label ``i + 1`` as it was painted, best first.
    """
    if ranks is None:
        ranks = [record.predicted_iou for record in records]
    order = np.argsort(-np.asarray(ranks, dtype=np.float64), kind="stable")
    labels = np.zeros(shape, dtype=np.uint32)
    areas: dict[int, int] = {}  # pixels of each mask when it was painted
    for index in order.tolist():
        _paint(labels, index + 1, records, areas, settings)
    return _number_anew(labels, records, [index + 1 for index in order], settings)


def is_too_small(area: int, settings: LabelSettings) -> bool:
    """Tell whether a mask has too few pixels to be painted at all."""
    return area < max(settings.min_area, 1)


def is_mostly_taken(n_taken: int, area: int, settings: LabelSettings) -> bool:
    """Tell whether a mask is dropped because better ones have its pixels."""
    return n_taken > settings.max_taken * area


def lies_within(n_shared: int, area: int) -> bool:
    """Tell whether a painted mask of some area is a part of one that comes later."""
    return n_shared >= _WITHIN * area


def _paint(
    labels: LabelImage,
    number: int,
    records: Sequence[MaskRecord],
    areas: dict[int, int],
    settings: LabelSettings,
) -> None:
    """Paint mask ``number`` (from 1) where no better one is, or leave it out."""
    record = records[number - 1]
    if is_too_small(record.area, settings):
        return
    mask, y0, x0 = record.crop()
    window = labels[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]]
    taken = window[mask]
    taken = taken[taken != 0]
    if is_mostly_taken(taken.size, record.area, settings):
        return
    if settings.absorb_parts and taken.size:
        owners, counts = np.unique(taken, return_counts=True)
        for owner, count in zip(owners.tolist(), counts.tolist(), strict=True):
            if lies_within(count, areas[owner]):
                top, left, bottom, right = records[owner - 1].bbox
                part = labels[top:bottom, left:right]
                part[part == owner] = 0
                del areas[owner]
    target = mask & (window == 0)
    window[target] = number
    areas[number] = int(np.count_nonzero(target))


def _number_anew(
    labels: LabelImage,
    records: Sequence[MaskRecord],
    numbers: Sequence[int],
    settings: LabelSettings,
) -> tuple[LabelImage, list[MaskRecord]]:
    """Clean each painted object and number those that stay from 1."""
    cleaned = np.zeros_like(labels)
    objects: list[MaskRecord] = []
    for number in numbers:
        record = records[number - 1]
        y0, x0, y1, x1 = record.bbox
        painted = labels[y0:y1, x0:x1]
        is_free = (painted == 0) & (cleaned[y0:y1, x0:x1] == 0)
        mask = _tidy(painted == number, is_free, settings)
        box = mask_bounding_box(mask)
        area = int(np.count_nonzero(mask))
        if box is None or area < settings.min_area:
            continue
        cleaned[y0:y1, x0:x1][mask] = len(objects) + 1
        objects.append(
            replace(
                record,
                rle=rle.encode_window(mask, y0, x0, record.rle.size),
                bbox=(y0 + box[0], x0 + box[1], y0 + box[2], x0 + box[3]),
                area=area,
            )
        )
    return cleaned, objects


def _tidy(mask: BoolMask, is_free: BoolMask, settings: LabelSettings) -> BoolMask:
    """Return the largest piece of a mask, with holes filled that are nobody's."""
    if not mask.any():
        return mask
    kept = largest_piece(mask)
    if settings.fill_holes:
        # A hole of an object that lies in a hole of this one is not this one's.
        kept = largest_piece(kept | (fill_holes(kept) & (is_free | mask)))
    return kept
