# SPDX-License-Identifier: Apache-2.0
"""Edits of instance labels that can be undone."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_sam.errors import LabelsError
from napari_sam.structures.arrays import HalfOpenBox


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
        self.check_fits((labels.shape[0], labels.shape[1]), labels.dtype)
        y0, x0, y1, x1 = self.box
        labels[y0:y1, x0:x1] = self.new

    def check_fits(self, shape: tuple[int, int], dtype: npt.DTypeLike) -> None:
        """Raise LabelsError unless a plane of this shape and type can take the edit."""
        y0, x0, y1, x1 = self.box
        if y0 < 0 or x0 < 0 or y1 > shape[0] or x1 > shape[1]:
            msg = f"The box {self.box} leaves a label image of {shape}."
            raise LabelsError(msg)
        highest = int(self.new.max(initial=0))
        if highest > np.iinfo(np.dtype(dtype)).max:
            msg = (
                f"Label {highest} does not fit into {np.dtype(dtype)}. "
                "Convert the labels to uint32."
            )
            raise LabelsError(msg)
