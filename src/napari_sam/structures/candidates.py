# SPDX-License-Identifier: Apache-2.0
"""Masks a model offers: for one set of prompts, or found by the automatic mode."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from napari_sam.errors import SettingsError
from napari_sam.structures.arrays import BoolMask, FloatArray, HalfOpenBox
from napari_sam.structures.geometry import half_open_to_xywh
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.rle import Rle, encode_window

OutputMode = Literal["binary_mask", "uncompressed_rle", "coco_rle"]
OUTPUT_MODES: tuple[OutputMode, ...] = ("binary_mask", "uncompressed_rle", "coco_rle")


@dataclass(frozen=True, eq=False)
class Candidates:
    """Masks for one object, in the decoder's own order.

    Attributes
    ----------
    masks : (n, H, W) bool array
        Masks in pixels of the plane.
    predicted_iou : (n,) float32 array
        The model's own estimate of each mask's quality; about 0 to 1.
    low_res_logits : (n, h, w) float32 array
        Logits before any enlarging. One of them may be given back as ``mask_input``
        to refine the mask.
    """

    masks: BoolMask
    predicted_iou: FloatArray
    low_res_logits: FloatArray

    def __len__(self) -> int:
        """Return the number of masks."""
        return int(self.predicted_iou.shape[0])

    @property
    def best(self) -> int:
        """Index of the mask with the highest predicted IoU."""
        return int(np.argmax(self.predicted_iou))


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model answers to the prompts of one object, at any size of the plane.

    Attributes
    ----------
    masks : tuple of n MaskWindow
        In the decoder's own order. Of four, the first is the answer to clear prompts
        and the others are the three readings of an ambiguous one.
    predicted_iou : (n,) float32 array
        The model's own estimate of each mask's quality; about 0 to 1.
    low_res_logits : (n, h, w) float32 array
        Logits before any enlarging; one may be given back as ``mask_input``.
    seconds : float
        Time that the model took.
    """

    masks: tuple[MaskWindow, ...]
    predicted_iou: FloatArray
    low_res_logits: FloatArray
    seconds: float = 0.0

    def __len__(self) -> int:
        """Return the number of masks."""
        return len(self.masks)


@dataclass(frozen=True)
class MaskRecord:
    """One mask of the automatic mode, in a few hundred bytes.

    Attributes
    ----------
    rle : Rle
        The mask in the plane's frame.
    bbox : (y0, x0, y1, x1)
        Half-open box around the mask; without extent for an empty mask.
    area : int
        Number of pixels.
    predicted_iou : float
        The model's own estimate of the mask's quality.
    stability_score : float
        IoU of the masks at a raised and a lowered threshold; NaN for an empty mask.
    point_yx : (y, x)
        The grid point that prompted the mask, in pixels of the plane.
    crop_box : (y0, x0, y1, x1)
        Half-open box of the crop the model was shown.
    output_mode : {"binary_mask", "uncompressed_rle", "coco_rle"}
        Form in which `to_dict` writes the mask.
    """

    rle: Rle
    bbox: HalfOpenBox
    area: int
    predicted_iou: float
    stability_score: float
    point_yx: tuple[float, float]
    crop_box: HalfOpenBox
    output_mode: OutputMode = "binary_mask"

    def mask(self) -> BoolMask:
        """Return the whole mask, ``(H, W)`` bool."""
        return self.rle.decode()

    def crop(self) -> tuple[BoolMask, int, int]:
        """Return the mask inside its box, and the box's upper left pixel.

        Returns
        -------
        crop : (h, w) bool array
        y0, x0 : int
        """
        return self.rle.decode_window(self.bbox), self.bbox[0], self.bbox[1]

    def moved(self, y0: int, x0: int, size: tuple[int, int]) -> "MaskRecord":
        """Return the record of a part of a plane as one of the whole plane.

        Parameters
        ----------
        y0, x0 : int
            Upper left pixel of the part.
        size : (H, W)
            Size of the whole plane.

        Returns
        -------
        MaskRecord
        """
        window, top, left = self.crop()
        y, x = self.point_yx
        return replace(
            self,
            rle=encode_window(window, y0 + top, x0 + left, size),
            bbox=_shift(self.bbox, y0, x0),
            point_yx=(y0 + y, x0 + x),
            crop_box=_shift(self.crop_box, y0, x0),
        )

    def to_dict(self, output_mode: OutputMode | None = None) -> dict[str, Any]:
        """Return the record in the reference implementation's form.

        Parameters
        ----------
        output_mode : {"binary_mask", "uncompressed_rle", "coco_rle"} or None
            Form of ``segmentation``; None takes the record's own.

        Returns
        -------
        dict
            ``segmentation``, ``area``, ``bbox`` as ``[x, y, w, h]`` with a width of
            last minus first column, ``predicted_iou``, ``point_coords`` as
            ``[[x, y]]``, ``stability_score``, ``crop_box`` as ``[x, y, w, h]``.

        Raises
        ------
        SettingsError
            If the output mode is none of the three.
        """
        y, x = self.point_yx
        crop_y0, crop_x0, crop_y1, crop_x1 = self.crop_box
        return {
            "segmentation": self._segmentation(output_mode or self.output_mode),
            "area": self.area,
            "bbox": half_open_to_xywh(self.bbox),
            "predicted_iou": self.predicted_iou,
            "point_coords": [[x, y]],
            "stability_score": self.stability_score,
            "crop_box": [crop_x0, crop_y0, crop_x1 - crop_x0, crop_y1 - crop_y0],
        }

    def _segmentation(self, output_mode: OutputMode) -> BoolMask | dict[str, Any]:
        """Return the mask in one of the three forms."""
        if output_mode not in OUTPUT_MODES:
            msg = (
                f"Unknown output mode {output_mode!r}. Choose one of: "
                f"{', '.join(OUTPUT_MODES)}."
            )
            raise SettingsError(msg)
        if output_mode == "binary_mask":
            return self.mask()
        is_compressed = output_mode == "coco_rle"
        return self.rle.to_coco() if is_compressed else self.rle.to_dict()


def _shift(box: HalfOpenBox, dy: int, dx: int) -> HalfOpenBox:
    """Move a box."""
    return box[0] + dy, box[1] + dx, box[2] + dy, box[3] + dx
