# SPDX-License-Identifier: Apache-2.0
"""From low-resolution logits to a record of the automatic mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_sam.prediction.logit_windows import EnlargedWindow, LogitWindow
from napari_sam.prediction.window_masks import Thresholds, WindowMasks
from napari_sam.structures import rle
from napari_sam.structures.candidates import MaskRecord

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sam.structures.arrays import Coordinates, HalfOpenBox
    from napari_sam.structures.settings import AutoSettings


class MaskEnlarger(Protocol):
    """What brings logits to the size of a crop: a `PointDecoder`, for instance."""

    def window(
        self, logits: Tensor, box: HalfOpenBox | None
    ) -> LogitWindow | EnlargedWindow | None:
        """Enlarge one mask's (a, b) logits to the crop, inside the box of samples."""


class RecordMaker:
    """Makes records of masks on one crop of a picture.

    Parameters
    ----------
    crop_box : (y0, x0, y1, x1)
        Half-open box of the crop.
    shape : (H, W)
        Size of the picture.
    settings : AutoSettings
        Threshold of masks, offset of the stability, form of the output.
    enlarger : MaskEnlarger
        Of the crop.

    Attributes
    ----------
    lowest_logit : float
        Logits up to it change nothing in a record.
    """

    def __init__(
        self,
        crop_box: HalfOpenBox,
        shape: tuple[int, int],
        settings: AutoSettings,
        enlarger: MaskEnlarger,
    ) -> None:
        self._crop_box = crop_box
        self._shape = shape
        self._settings = settings
        self._enlarger = enlarger
        middle, offset = settings.mask_threshold, settings.stability_score_offset
        self._thresholds = Thresholds(middle - offset, middle, middle + offset)
        self._masks = WindowMasks()
        self.lowest_logit = middle - offset

    def make(
        self,
        logits: Tensor,
        box: HalfOpenBox | None,
        score: float,
        point_yx: Coordinates,
        *,
        min_stability: float,
    ) -> MaskRecord | None:
        """Enlarge one mask, measure it, and make a record of it if it is good.

        Parameters
        ----------
        logits : (a, b) float32 tensor
            Low-resolution logits.
        box : (y0, x0, y1, x1) or None
            Half-open box around the samples above `lowest_logit`.
        score : float
            Predicted IoU.
        point_yx : (2,) array
            What prompted the mask, in pixels of the crop.
        min_stability : float
            Less stable masks give no record; 0 or less switches that off.

        Returns
        -------
        MaskRecord or None
            None for a mask that is not stable.
        """
        window = self._enlarger.window(logits, box)
        if window is None:
            window = LogitWindow(logits.new_zeros((0, 0)), 0, 0)
        mask, stability = self._masks.measure(window, self._thresholds)
        threshold = np.float32(min_stability)
        if threshold > 0 and not stability >= threshold:
            return None
        crop_y0, crop_x0 = self._crop_box[:2]
        y0, x0 = crop_y0 + window.y0, crop_x0 + window.x0
        encoded = rle.encode_window(mask, y0, x0, self._shape)
        bbox = encoded.bounding_box() or (crop_y0, crop_x0, crop_y0, crop_x0)
        return MaskRecord(
            rle=encoded,
            bbox=bbox,
            area=encoded.area,
            predicted_iou=score,
            stability_score=float(stability),
            point_yx=(crop_y0 + float(point_yx[0]), crop_x0 + float(point_yx[1])),
            crop_box=self._crop_box,
            output_mode=self._settings.output_mode,
        )
