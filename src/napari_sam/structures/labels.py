# SPDX-License-Identifier: Apache-2.0
"""Instance labels: painting records into one image, and edits that can be undone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_sam.errors import LabelsError
from napari_sam.structures.arrays import HalfOpenBox, LabelImage
from napari_sam.structures.candidates import MaskRecord


@dataclass(frozen=True, eq=False)
class LabelEdit:
    """A change of the labels inside one box.

    Attributes
    ----------
    box : (y0, x0, y1, x1)
        Half-open box in the plane.
    old, new : (h, w) integer arrays
        Labels in the box before and after.
    """

    box: HalfOpenBox
    old: npt.NDArray[np.integer]
    new: npt.NDArray[np.integer]

    def __post_init__(self) -> None:
        """Refuse contents that do not fill the box."""
        y0, x0, y1, x1 = self.box
        shape = (y1 - y0, x1 - x0)
        if self.old.shape != shape or self.new.shape != shape:
            msg = (
                f"An edit of the box {self.box} needs two arrays of shape {shape}, "
                f"not {self.old.shape} and {self.new.shape}."
            )
            raise LabelsError(msg)

    def inverse(self) -> "LabelEdit":
        """Return the edit that takes this one back."""
        return LabelEdit(box=self.box, old=self.new, new=self.old)

    def apply_to(self, labels: npt.NDArray[np.integer]) -> None:
        """Write the new labels into a plane, touching nothing outside the box.

        Parameters
        ----------
        labels : (H, W) integer array
            Changed in place.

        Raises
        ------
        LabelsError
            If the box leaves the plane or a label does not fit the array's type.
        """
        y0, x0, y1, x1 = self.box
        if y0 < 0 or x0 < 0 or y1 > labels.shape[0] or x1 > labels.shape[1]:
            msg = f"The box {self.box} leaves a label image of {labels.shape}."
            raise LabelsError(msg)
        highest = int(self.new.max(initial=0))
        if highest > np.iinfo(labels.dtype).max:
            msg = (
                f"Label {highest} does not fit into {labels.dtype}. "
                "Convert the labels to uint32."
            )
            raise LabelsError(msg)
        labels[y0:y1, x0:x1] = self.new


def records_to_labels(
    records: Sequence[MaskRecord], shape: tuple[int, int]
) -> LabelImage:
    """Paint records into one label image.

    Where masks overlap, the one with the higher predicted IoU keeps the pixel; equal
    scores favour the earlier record. What an overlap leaves of a mask may be in pieces:
    `napari_sam.prediction.mask_cleanup.keep_largest_pieces` cuts those off.

    Parameters
    ----------
    records : sequence of MaskRecord
        Record ``i`` is painted with label ``i + 1``.
    shape : (H, W)
        Size of the plane.

    Returns
    -------
    (H, W) uint32 array
        0 is background.

    Raises
    ------
    LabelsError
        If a record belongs to a plane of another shape.
    """
    labels = np.zeros(shape, dtype=np.uint32)
    scores = np.array([record.predicted_iou for record in records], dtype=np.float64)
    # The best is painted last, over the others; a stable sort keeps earlier ones first.
    for index in np.argsort(-scores, kind="stable")[::-1].tolist():
        record = records[index]
        if record.rle.size != tuple(shape):
            msg = f"A mask of {record.rle.size} cannot be painted into {shape}."
            raise LabelsError(msg)
        crop, y0, x0 = record.crop()
        h, w = crop.shape
        labels[y0 : y0 + h, x0 : x0 + w][crop] = index + 1
    return labels
