# SPDX-License-Identifier: Apache-2.0
"""Automatic mask generation as an algorithm: points in, filtered records out.

Kirillov et al. 2023, section 4 and appendix B; steps, order and comparisons are those
of the reference implementation. Who answers the points is handed in, so that the
algorithm can be run against a scripted decoder. At no time does a thread hold more than
one enlarged mask.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Event

import numpy as np
import torch

from napari_sam.errors import Cancelled
from napari_sam.prediction.amg_filters import (
    inclusive_boxes,
    is_cut_by_crop,
    suppress,
)
from napari_sam.prediction.batching import in_batches
from napari_sam.prediction.crops import Crop, crop_boxes
from napari_sam.prediction.logit_windows import sample_boxes
from napari_sam.prediction.mask_cleanup import remove_small_regions
from napari_sam.prediction.mask_records import RecordMaker
from napari_sam.prediction.point_decoder import PointDecoder
from napari_sam.structures import rle
from napari_sam.structures.arrays import Coordinates, HalfOpenBox
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.settings import AutoSettings

Progress = Callable[[int, int], None]
OpenCrop = Callable[[HalfOpenBox], PointDecoder]


def search_image(
    shape: tuple[int, int],
    settings: AutoSettings,
    open_crop: OpenCrop,
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
    cancel: Event | None = None,
) -> list[MaskRecord]:
    """Find masks by a grid of points on the image and its crops.

    Parameters
    ----------
    shape : (H, W)
        Size of the image.
    settings : AutoSettings
        Grid, crops and thresholds.
    open_crop : callable
        Called with the half-open box of a crop; returns its `PointDecoder`. May raise
        `Cancelled`.
    batch_size : int or None
        Points decoded at once, None for the setting's number.
    progress : callable or None
        Called with ``(points done, points in all)`` after every batch.
    cancel : threading.Event or None
        When set, the search ends after the present batch with what it has found.

    Returns
    -------
    list of MaskRecord
        Best first; with crops, those of smaller crops first.
    """
    crops, grids = _crops_and_grids(shape, settings)
    counter = _Counter(sum(len(grid) for grid in grids), progress, cancel)
    records: list[MaskRecord] = []
    for crop, grid in zip(crops, grids, strict=True):
        if counter.is_cancelled:
            break
        try:
            decoder = open_crop(crop.box)
        except Cancelled:
            break
        search = CropSearch(crop, shape, settings, decoder)
        records += search.run(grid, batch_size or settings.points_per_batch, counter)
    if len(crops) > 1:
        # Masks of smaller crops were seen at a higher resolution.
        preference = [1 / _box_area(record.crop_box) for record in records]
        kept = suppress(inclusive_boxes(records), preference, settings.crop_nms_thresh)
        records = [records[i] for i in kept]
    if settings.min_mask_region_area > 0:
        records = _clean(records, settings)
    return records


def count_points(shape: tuple[int, int], settings: AutoSettings) -> int:
    """Return how many points `search_image` asks about on an image of this shape."""
    return sum(len(grid) for grid in _crops_and_grids(shape, settings)[1])


def _crops_and_grids(
    shape: tuple[int, int], settings: AutoSettings
) -> tuple[list[Crop], list[Coordinates]]:
    """Lay out the crops and the grid of points on each."""
    crops = crop_boxes(shape, settings.crop_n_layers, settings.crop_overlap_ratio)
    return crops, [settings.grid_yx(crop.layer) for crop in crops]


class _Counter:
    """Progress and cancel of one search."""

    def __init__(
        self, total: int, progress: Progress | None, cancel: Event | None
    ) -> None:
        self._total = total
        self._progress = progress
        self._cancel = cancel
        self._done = 0

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody wants the search to end."""
        return self._cancel is not None and self._cancel.is_set()

    def add(self, n_points: int) -> None:
        """Report points that are done."""
        self._done += n_points
        if self._progress is not None:
            self._progress(self._done, self._total)


class CropSearch:
    """The search on one crop.

    Parameters
    ----------
    crop : Crop
        Where it lies in the image.
    shape : (H, W)
        Size of the image.
    settings : AutoSettings
        Thresholds.
    decoder : PointDecoder
        Answers points on the crop.
    """

    def __init__(
        self,
        crop: Crop,
        shape: tuple[int, int],
        settings: AutoSettings,
        decoder: PointDecoder,
    ) -> None:
        self._crop = crop
        self._shape = shape
        self._settings = settings
        self._decoder = decoder
        self._maker = RecordMaker(crop.box, shape, settings, decoder)

    def run(
        self, grid_yx: Coordinates, batch_size: int, counter: _Counter
    ) -> list[MaskRecord]:
        """Decode the grid in batches; return the records that survive, best first."""
        y0, x0, y1, x1 = self._crop.box
        points_yx = grid_yx * np.array([y1 - y0, x1 - x0], dtype=np.float64)

        def search_part(start: int, stop: int) -> list[MaskRecord]:
            return self.ask(points_yx[start:stop])

        records: list[MaskRecord] = []
        n_done = 0
        at_once = self._decoder.n_at_once
        batches = in_batches(search_part, len(points_yx), batch_size, n_at_once=at_once)
        for stop, found in batches:
            records += found
            counter.add(stop - n_done)
            n_done = stop
            if counter.is_cancelled:
                break
        scores = [record.predicted_iou for record in records]
        threshold = self._settings.box_nms_thresh
        return [
            records[i] for i in suppress(inclusive_boxes(records), scores, threshold)
        ]

    def ask(self, points_yx: Coordinates) -> list[MaskRecord]:
        """Answer one batch of points and filter the masks, point by point.

        Parameters
        ----------
        points_yx : (n, 2) array
            Pixels of the crop.

        Returns
        -------
        list of MaskRecord
            Up to three for each point, which they name.
        """
        settings = self._settings
        answers = self._decoder.decode(points_yx)
        predicted_iou = answers.predicted_iou
        if settings.pred_iou_thresh > 0:
            chosen = predicted_iou > settings.pred_iou_thresh
        else:
            chosen = torch.ones_like(predicted_iou, dtype=torch.bool)
        # Masks are enlarged one by one, after this filter and where they are only.
        logits = answers.logits(chosen, self._maker.lowest_logit)
        boxes = sample_boxes(logits, self._maker.lowest_logit)
        scores = predicted_iou[chosen].tolist()
        numbers = chosen.nonzero()[:, 0].tolist()
        records = (
            self._maker.make(
                logits[i],
                boxes[i],
                scores[i],
                points_yx[numbers[i]],
                min_stability=settings.stability_score_thresh,
            )
            for i in range(len(scores))
        )
        return [
            record
            for record in records
            if record is not None
            and not is_cut_by_crop(record.bbox, self._crop.box, self._shape)
        ]


def _clean(records: Sequence[MaskRecord], settings: AutoSettings) -> list[MaskRecord]:
    """Remove small holes and islands, then masks that have become duplicates."""
    cleaned, is_changed = [], []
    for record in records:
        mask, changed = remove_small_regions(
            record.mask(), settings.min_mask_region_area
        )
        is_changed.append(changed)
        cleaned.append(_with_mask(record, mask) if changed else record)
    # Of two duplicates the one that needed no cleaning is better.
    preference = [0.0 if changed else 1.0 for changed in is_changed]
    threshold = max(settings.box_nms_thresh, settings.crop_nms_thresh)
    kept = suppress(inclusive_boxes(cleaned), preference, threshold)
    return [cleaned[i] for i in kept]


def _with_mask(record: MaskRecord, mask: np.ndarray) -> MaskRecord:
    """Return the record with another mask."""
    encoded = rle.encode(mask)
    bbox = encoded.bounding_box() or (0, 0, 0, 0)
    return replace(record, rle=encoded, bbox=bbox, area=encoded.area)


def _box_area(box: HalfOpenBox) -> int:
    """Return the number of pixels in a half-open box."""
    return (box[2] - box[0]) * (box[3] - box[1])
