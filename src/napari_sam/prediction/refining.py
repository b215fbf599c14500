# SPDX-License-Identifier: Apache-2.0
"""Second prompts: every mask is drawn anew from its innermost point and its box.

A point alone is ambiguous and a region of a map is coarse; a point with a box is the
clearest prompt there is without a person. The answer replaces the mask that it came
from if it promises to be better and means the same object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam.prediction.amg_filters import mask_iou
from napari_sam.prediction.batching import in_batches
from napari_sam.prediction.logit_windows import sample_boxes
from napari_sam.structures.innermost import innermost_pixel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event

    from napari_sam.prediction.mask_records import RecordMaker
    from napari_sam.prediction.object_decoder import ClearDecoder
    from napari_sam.prediction.progress_range import ProgressRange
    from napari_sam.structures.arrays import HalfOpenBox
    from napari_sam.structures.candidates import MaskRecord
    from napari_sam.structures.settings import AutoSettings

AGREES = 0.75
"""IoU with the mask it came from below which an answer is of something else. Chosen on
development images: with 0.5, more answers are of a neighbour or of a part."""


class Refiner:
    """Draws masks of one picture anew.

    Parameters
    ----------
    decoder : ClearDecoder
        Answers prompts on the picture.
    maker : RecordMaker
        Of the same picture.
    box : (y0, x0, y1, x1)
        Where the picture lies in the image that records are about.
    settings : AutoSettings
        Thresholds that an answer must reach.
    """

    def __init__(
        self,
        decoder: ClearDecoder,
        maker: RecordMaker,
        box: HalfOpenBox,
        settings: AutoSettings,
    ) -> None:
        self._decoder = decoder
        self._maker = maker
        self._origin = np.array(box[:2], dtype=np.float64)
        self._settings = settings

    def refine(
        self,
        records: Sequence[MaskRecord],
        batch_size: int,
        report: ProgressRange,
        cancel: Event | None,
    ) -> list[MaskRecord]:
        """Return records in the same order, those drawn anew where that is better.

        Parameters
        ----------
        records : sequence of MaskRecord
            Masks of the picture; empty ones stay as they are.
        batch_size : int
            Prompts decoded at once.
        report : ProgressRange
            Called after every batch.
        cancel : threading.Event or None
            When set, the rest stays as it is.
        """
        refined = list(records)
        numbers = [i for i, record in enumerate(records) if record.area]

        def draw(start: int, stop: int) -> dict[int, MaskRecord]:
            return self._draw({i: records[i] for i in numbers[start:stop]})

        at_once = self._decoder.n_at_once
        for stop, drawn in in_batches(
            draw, len(numbers), batch_size, n_at_once=at_once
        ):
            for i, record in drawn.items():
                refined[i] = record
            report(stop, len(numbers))
            if cancel is not None and cancel.is_set():
                break
        return refined

    def _draw(self, records: dict[int, MaskRecord]) -> dict[int, MaskRecord]:
        """Ask about some masks; return the answers that replace them."""
        points = np.array([innermost_of(record) for record in records.values()])
        boxes = np.array([record.bbox for record in records.values()], np.float64)
        points -= self._origin
        boxes -= np.tile(self._origin, 2)
        lowest = self._maker.lowest_logit
        scores, logits = self._decoder.decode_clear(points, boxes, lowest)
        samples = sample_boxes(logits, lowest)
        drawn = {}
        for number, (i, old) in enumerate(records.items()):
            score = float(scores[number])
            if score <= max(old.predicted_iou, self._settings.pred_iou_thresh):
                continue
            new = self._maker.make(
                logits[number],
                samples[number],
                score,
                points[number],
                min_stability=self._settings.stability_score_thresh,
            )
            if new is not None and mask_iou(old, new) >= AGREES:
                drawn[i] = new
        return drawn


def innermost_of(record: MaskRecord) -> tuple[float, float]:
    """Return the pixel of a mask that is farthest from its border: row, column."""
    mask, y0, x0 = record.crop()
    found = innermost_pixel(mask)
    return float(y0 + found.y), float(x0 + found.x)
