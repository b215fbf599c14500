# SPDX-License-Identifier: Apache-2.0
"""Everything in a picture by a model's object maps: regions, prompts, masks.

Each region of the maps gives one prompt: its innermost point and its tight box. The
decoder draws the mask and says how good it is; where that is no better than what the
region's own probabilities promise, the region itself is the mask. Where objects are
tiny, the picture is searched in enlarged parts first; what those show cut off comes
from the whole picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from napari_sam.errors import Cancelled
from napari_sam.prediction.amg_filters import suppress_masks
from napari_sam.prediction.logit_windows import sample_boxes
from napari_sam.prediction.magnification import magnification
from napari_sam.prediction.mask_records import RecordMaker
from napari_sam.prediction.progress_range import ProgressRange
from napari_sam.prediction.proposals import Proposals, propose
from napari_sam.prediction.refining import Refiner
from napari_sam.prediction.tiling import is_cut_by_tile, tile_boxes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Event

    from napari_sam.prediction.grid_search import Progress
    from napari_sam.prediction.instances import RegionRule
    from napari_sam.prediction.object_decoder import ObjectDecoder
    from napari_sam.structures.arrays import HalfOpenBox
    from napari_sam.structures.candidates import MaskRecord
    from napari_sam.structures.settings import AutoSettings

    OpenPicture = Callable[[HalfOpenBox], ObjectDecoder]

MAGNIFIED_SHARE = 0.5
"""Pictures are searched enlarged if their objects' median size is below this share of
the size from which on a model answers prompts well (12 pixels of 24 for the embedded
model). Chosen on development images: below, tiny objects are lost; above, larger ones
are cut into pieces."""

_MAX_DEPTH = 1  # each enlarges by nearly two
_OVERLAP = 0.1  # of parts, as a share of the picture's long side
_SAME_IOU = 0.5  # two masks, one of the whole and one of a part
_COVERED = 0.5  # share of a region that objects of parts make superfluous


class _Order(NamedTuple):
    """What stays the same from the picture to its parts."""

    shape: tuple[int, int]
    settings: AutoSettings
    open_picture: OpenPicture
    min_object_px: float | None
    batch_size: int
    cancel: Event | None
    rule: RegionRule | None

    @property
    def is_cancelled(self) -> bool:
        return self.cancel is not None and self.cancel.is_set()


def search_objects(
    shape: tuple[int, int],
    settings: AutoSettings,
    open_picture: OpenPicture,
    *,
    min_object_px: float | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
    cancel: Event | None = None,
    rule: RegionRule | None = None,
) -> list[MaskRecord]:
    """Find objects by their maps.

    Parameters
    ----------
    shape : (H, W)
        Size of the picture.
    settings : AutoSettings
        Thresholds; with the method "fastest" no mask is asked for.
    open_picture : callable
        Called with the half-open box of the picture or of a part of it; returns its
        `ObjectDecoder`. May raise `Cancelled`.
    min_object_px : float or None
        `Sam.min_object_px`; None never enlarges.
    batch_size : int or None
        Prompts decoded at once, None for the setting's number.
    progress : callable or None
        Called with ``(steps done, STEPS)``.
    cancel : threading.Event or None
        When set, the search ends after the present batch with what it has found.
    rule : RegionRule or None
        What is an object in the maps; None takes the usual rule.

    Returns
    -------
    list of MaskRecord
        Best first.
    """
    order = _Order(
        shape,
        settings,
        open_picture,
        min_object_px,
        batch_size or settings.points_per_batch,
        cancel,
        rule,
    )
    report = ProgressRange(progress)
    records = _search(order, (0, 0, *shape), report, depth=0)
    records.sort(key=lambda record: -record.predicted_iou)
    if not order.is_cancelled:
        report(1, 1)
    return records


def _search(
    order: _Order, box: HalfOpenBox, report: ProgressRange, *, depth: int
) -> list[MaskRecord]:
    """Search the picture or a part of it."""
    if order.is_cancelled:
        return []
    try:
        decoder = order.open_picture(box)
    except Cancelled:
        return []
    proposals = propose(decoder.object_logits(), decoder.sample_px, order.rule)
    wanted = range(len(proposals))
    if not _are_tiny(proposals, decoder, order) or depth >= _MAX_DEPTH:
        found = _draw(order, box, decoder, proposals, wanted, report)
        return _without_duplicates(found, order.settings.box_nms_thresh)
    found = _search_parts(order, box, report.part(0.0, 0.9), depth + 1)
    is_missing = _covered(proposals, decoder, box, found) < _COVERED
    missing = np.flatnonzero(is_missing).tolist()
    found += _draw(order, box, decoder, proposals, missing, report.part(0.9, 1.0))
    return _without_duplicates(found, min(_SAME_IOU, order.settings.box_nms_thresh))


def _are_tiny(proposals: Proposals, decoder: ObjectDecoder, order: _Order) -> bool:
    """Tell whether most objects are too small to be seen well."""
    if order.min_object_px is None or len(proposals) == 0:
        return False
    median = float(np.median(proposals.sizes())) * decoder.frame_scale
    return magnification(median, MAGNIFIED_SHARE * order.min_object_px) > 1


def _search_parts(
    order: _Order, box: HalfOpenBox, report: ProgressRange, depth: int
) -> list[MaskRecord]:
    """Search two by two enlarged parts; objects that they cut off are left out."""
    y0, x0, y1, x1 = box
    size = (y1 - y0, x1 - x0)
    overlap_px = int(np.ceil(_OVERLAP * max(size)))
    side = (max(size) + overlap_px + 1) // 2
    parts = [
        (top + y0, left + x0, bottom + y0, right + x0)
        for top, left, bottom, right in tile_boxes(size, side, overlap_px)
    ]
    records: list[MaskRecord] = []
    for number, part in enumerate(parts):
        share = report.part(number / len(parts), (number + 1) / len(parts))
        records += [
            record
            for record in _search(order, part, share, depth=depth)
            if not is_cut_by_tile(record.bbox, part, order.shape)
        ]
        share(1, 1)
    return records


def _covered(
    proposals: Proposals,
    decoder: ObjectDecoder,
    box: HalfOpenBox,
    records: Sequence[MaskRecord],
) -> npt.NDArray[np.float64]:
    """Return which share of each region lies in the masks of records, (n,)."""
    y0, x0, y1, x1 = box
    is_taken = np.zeros((y1 - y0, x1 - x0), dtype=np.bool_)
    for record in records:
        mask, top, left = record.crop()
        height, width = mask.shape
        is_taken[top - y0 : top - y0 + height, left - x0 : left - x0 + width] |= mask
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * px).astype(np.int64), side - 1)
        for n, px, side in zip(
            proposals.regions.shape, decoder.sample_px, is_taken.shape, strict=True
        )
    )
    regions = proposals.regions
    n = len(proposals) + 1
    taken = np.bincount(regions[is_taken[np.ix_(rows, columns)]], minlength=n)
    areas = np.bincount(regions.ravel(), minlength=n)
    return np.asarray(taken[1:] / np.maximum(areas[1:], 1))


def _draw(
    order: _Order,
    box: HalfOpenBox,
    decoder: ObjectDecoder,
    proposals: Proposals,
    wanted: Sequence[int],
    report: ProgressRange,
) -> list[MaskRecord]:
    """Make a mask of each of some regions; ask the decoder for better ones."""
    maker = RecordMaker(box, order.shape, order.settings, decoder)
    records = []
    for number in wanted:
        drawn = torch.from_numpy(proposals.logits_of(number, decoder.mask_shape))
        samples = sample_boxes(drawn[None], maker.lowest_logit)[0]
        score, point = proposals.confidence[number], proposals.points_yx[number]
        record = maker.make(drawn, samples, float(score), point, min_stability=0.0)
        if record is not None and record.area:
            records.append(record)
    if order.settings.method != "fastest" and not order.is_cancelled:
        refiner = Refiner(decoder, maker, box, order.settings)
        records = refiner.refine(records, order.batch_size, report, order.cancel)
    return [record for record in records if _is_sure(record, order.settings)]


def _is_sure(record: MaskRecord, settings: AutoSettings) -> bool:
    """Tell whether a mask passes both thresholds."""
    least = settings.stability_score_thresh
    is_stable = least <= 0 or record.stability_score >= least
    return is_stable and record.predicted_iou > settings.pred_iou_thresh


def _without_duplicates(
    records: Sequence[MaskRecord], iou_threshold: float
) -> list[MaskRecord]:
    """Keep the best of masks that are nearly the same."""
    scores = [record.predicted_iou for record in records]
    return [records[i] for i in suppress_masks(records, scores, iou_threshold)]
