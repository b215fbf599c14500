# SPDX-License-Identifier: Apache-2.0
"""What was found in one tile of a large image: a few kilobytes."""

from dataclasses import dataclass
from typing import Protocol

from napari_sam.structures.arrays import HalfOpenBox, LabelImage
from napari_sam.structures.candidates import MaskRecord


@dataclass(frozen=True, eq=False)
class TileResult:
    """Objects of one tile.

    Attributes
    ----------
    box : (y0, x0, y1, x1)
        Half-open box of the tile in the image.
    records : tuple of MaskRecord
        Masks that do not overlap, best first, in the frame of the tile, so that their
        size does not depend on that of the image.
    is_cut : tuple of bool
        Per record: whether it ends at a border of the tile inside the image.
    is_doubtful : tuple of bool
        Per record: whether it looks like background in its tile, and may be the middle
        of an object larger than that.
    is_partial : bool
        Whether the search was cancelled on the way.
    """

    box: HalfOpenBox
    records: tuple[MaskRecord, ...] = ()
    is_cut: tuple[bool, ...] = ()
    is_doubtful: tuple[bool, ...] = ()
    is_partial: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the tile."""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]


class TileResults(Protocol):
    """Results by the number of their tile, wherever they are kept."""

    def get(self, number: int, /) -> TileResult | None:
        """Return the result of a tile, or None if it was not worked on."""
        ...


class FoundObjects(Protocol):
    """Labelled objects of an image that need not fit into memory; labels begin at 1."""

    def __len__(self) -> int:
        """Return the number of objects."""
        ...

    def labels_in(self, box: HalfOpenBox) -> LabelImage:
        """Return the labels of a part of the image, (h, w) uint32."""
        ...

    def box(self, label: int) -> HalfOpenBox:
        """Return the half-open box around an object."""
        ...

    def area(self, label: int) -> int:
        """Return the pixels of an object."""
        ...

    def scores(self, label: int) -> tuple[float, float]:
        """Return predicted IoU and stability score of an object."""
        ...

    def record(self, label: int) -> MaskRecord:
        """Return all that is known of an object, in the frame of the image."""
        ...
