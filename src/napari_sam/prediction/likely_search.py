# SPDX-License-Identifier: Apache-2.0
"""Everything in a picture by a part of the grid's points, for any model.

Most points of a grid lie on background, which answers badly, or on objects that another
point has found. A coarse part of the grid comes first; then only points are asked that
lie outside the masks found so far, and where the image features resemble those inside.
No point is asked that the whole grid would not ask. In the end every mask is drawn anew
from its innermost point and its box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam.errors import Cancelled
from napari_sam.prediction.amg_filters import (
    inclusive_boxes,
    suppress,
    suppress_masks,
)
from napari_sam.prediction.batching import in_batches
from napari_sam.prediction.crops import Crop
from napari_sam.prediction.grid_search import CropSearch
from napari_sam.prediction.likeness import Likeness
from napari_sam.prediction.magnification import size_of
from napari_sam.prediction.mask_records import RecordMaker
from napari_sam.prediction.progress_range import ProgressRange
from napari_sam.prediction.refining import Refiner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Event

    from napari_sam.prediction.grid_search import Progress
    from napari_sam.prediction.object_decoder import FeatureDecoder
    from napari_sam.structures.arrays import Coordinates, HalfOpenBox
    from napari_sam.structures.candidates import MaskRecord
    from napari_sam.structures.settings import AutoSettings

    OpenPicture = Callable[[HalfOpenBox], FeatureDecoder]
    Indices = npt.NDArray[np.int64]

COARSER = 3
"""The first pass asks every third point of every third row of the grid."""

LIKELY = 0.1
"""Likeness from which on a point is asked. Chosen on development images, as is
`COARSER`: between 0.1 and 0.3 more points find more objects, below hardly any."""

_SEARCH_SHARE = 0.8  # of the progress; the rest is refining


def search_likely(
    shape: tuple[int, int],
    settings: AutoSettings,
    open_picture: OpenPicture,
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
    cancel: Event | None = None,
) -> list[MaskRecord]:
    """Find masks by those points of a grid that promise something.

    Parameters
    ----------
    shape : (H, W)
        Size of the picture.
    settings : AutoSettings
        The finest grid, and thresholds.
    open_picture : callable
        Called with the half-open box of the picture; returns what answers points. May
        raise `Cancelled`.
    batch_size : int or None
        Points decoded at once, None for the setting's number.
    progress : callable or None
        Called with ``(steps done, STEPS)``.
    cancel : threading.Event or None
        When set, the search ends after the present batch with what it has found.

    Returns
    -------
    list of MaskRecord
        Best first.
    """
    whole = (0, 0, *shape)
    try:
        decoder = open_picture(whole)
    except Cancelled:
        return []
    report = ProgressRange(progress)
    batch_size = batch_size or settings.points_per_batch
    search = _LikelySearch(
        settings.grid_yx(0) * np.array(shape, dtype=np.float64),
        CropSearch(Crop(whole, 0), shape, settings, decoder),
        shape,
        batch_size,
        report.part(0.0, _SEARCH_SHARE),
        cancel,
    )
    search.ask_in_turn(first_pass(settings.points_per_side or 1))
    likeness = Likeness(decoder.features())
    while not search.is_cancelled:
        points = search.likely_points(likeness)
        if not len(points):
            break
        search.ask_apart(points)
    records = search.records(settings.box_nms_thresh)
    if not search.is_cancelled:
        maker = RecordMaker(whole, shape, settings, decoder)
        refiner = Refiner(decoder, maker, whole, settings)
        share = report.part(_SEARCH_SHARE, 1.0)
        records = refiner.refine(records, batch_size, share, cancel)
        share(1, 1)
    scores = [record.predicted_iou for record in records]
    kept = suppress_masks(records, scores, settings.box_nms_thresh)
    return [records[i] for i in kept]


def first_pass(side: int) -> Indices:
    """Return the points of the coarse part of a grid of `side` times `side` points."""
    numbers = np.arange(side * side).reshape(side, side)
    start = min(COARSER, side) // 2
    return np.asarray(numbers[start::COARSER, start::COARSER].ravel())


class _LikelySearch:
    """The state of one search."""

    def __init__(
        self,
        points_yx: Coordinates,
        search: CropSearch,
        shape: tuple[int, int],
        batch_size: int,
        report: ProgressRange,
        cancel: Event | None,
    ) -> None:
        self._points_yx = points_yx
        self._rows, self._columns = (
            np.minimum(points_yx[:, axis].astype(np.int64), shape[axis] - 1)
            for axis in (0, 1)
        )
        self._search = search
        self._batch_size = batch_size
        self._report_range = report
        self._cancel = cancel
        self._is_asked = np.zeros(len(points_yx), dtype=np.bool_)
        self._is_found = np.zeros(shape, dtype=np.bool_)
        self._sizes: list[float] = []
        self._records: list[MaskRecord] = []
        self._n_reported = 0

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody wants the search to end."""
        return self._cancel is not None and self._cancel.is_set()

    def ask_in_turn(self, points: Indices) -> None:
        """Ask points in their order, without those on what was found meanwhile."""
        while len(points) and not self.is_cancelled:
            points = points[~self._is_in_mask(points)]
            self._ask(points[: self._batch_size])
            points = points[self._batch_size :]

    def likely_points(self, likeness: Likeness) -> Indices:
        """Return the better half of the points that promise something, best first.

        While nothing was found, every point promises as much as any other.
        """
        left = np.flatnonzero(~self._is_asked)
        left = left[~self._is_in_mask(left)]
        if not self._is_found.any():
            return left[::COARSER]
        likely = likeness.map_of(self._is_found)
        height, width = self._is_found.shape
        rows = self._rows[left] * likely.shape[0] // height
        columns = self._columns[left] * likely.shape[1] // width
        values = likely[rows, columns]
        left, values = left[values > LIKELY], values[values > LIKELY]
        self._report(len(self._points_yx) - len(left))
        left = left[np.argsort(-values, kind="stable")]
        return np.asarray(left[: max(self._batch_size, (len(left) + 1) // 2)])

    def ask_apart(self, points: Indices) -> None:
        """Ask points so that those of a batch are rarely on the same object."""
        while len(points) and not self.is_cancelled:
            points = points[~self._is_in_mask(points)]
            batch = self._choose_apart(points)
            self._ask(batch)
            points = points[~np.isin(points, batch)]

    def records(self, iou_threshold: float) -> list[MaskRecord]:
        """Return the masks, best first, without duplicates."""
        scores = [record.predicted_iou for record in self._records]
        kept = suppress(inclusive_boxes(self._records), scores, iou_threshold)
        return [self._records[i] for i in kept]

    def _is_in_mask(self, points: Indices) -> npt.NDArray[np.bool_]:
        return np.asarray(self._is_found[self._rows[points], self._columns[points]])

    def _choose_apart(self, points: Indices) -> Indices:
        """Return a batch of points, the first ones that are an object's size apart."""
        least = float(np.median(self._sizes)) if self._sizes else 0.0
        batch: list[int] = []
        for point in points.tolist():
            ways = self._points_yx[batch] - self._points_yx[point]
            if not batch or float(np.hypot(*ways.T).min()) >= least:
                batch.append(point)
                if len(batch) == self._batch_size:
                    break
        return np.array(batch, dtype=np.int64)

    def _ask(self, points: Indices) -> None:
        """Ask one batch of points; of each, the best mask says what is found there."""

        def ask_part(start: int, stop: int) -> list[MaskRecord]:
            return self._search.ask(self._points_yx[points[start:stop]])

        for _, records in in_batches(ask_part, len(points), self._batch_size):
            self._records += records
            for record in _best_of_each_point(records):
                mask, y0, x0 = record.crop()
                height, width = mask.shape
                self._is_found[y0 : y0 + height, x0 : x0 + width] |= mask
                self._sizes.append(size_of(record.bbox))
        self._is_asked[points] = True
        self._report(int(np.count_nonzero(self._is_asked)))

    def _report(self, n_done: int) -> None:
        """Report progress, which never goes back."""
        self._n_reported = max(self._n_reported, n_done)
        self._report_range(self._n_reported, len(self._points_yx))


def _best_of_each_point(records: Sequence[MaskRecord]) -> list[MaskRecord]:
    """Return the record with the highest predicted IoU of each prompt."""
    best: dict[tuple[float, float], MaskRecord] = {}
    for record in records:
        known = best.get(record.point_yx)
        if known is None or record.predicted_iou > known.predicted_iou:
            best[record.point_yx] = record
    return list(best.values())
