# SPDX-License-Identifier: Apache-2.0
"""Masks kept by number in an eighth of their memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_sam.structures.mask_window import MaskWindow

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from napari_sam.structures.arrays import HalfOpenBox


class _Packed(NamedTuple):
    """A box, the pixels of its mask as bits, and how many of them are set."""

    box: HalfOpenBox
    bits: npt.NDArray[np.uint8]
    area: int


class PackedMasks:
    """Masks of an image by number."""

    def __init__(self) -> None:
        self._masks: dict[int, _Packed] = {}

    def __contains__(self, number: int) -> bool:
        """Tell whether a mask is kept."""
        return number in self._masks

    def put(self, number: int, mask: MaskWindow) -> None:
        """Keep a mask in place of an older one of this number."""
        self._masks[number] = _Packed(mask.box, np.packbits(mask.crop), mask.area)

    def get(self, number: int) -> MaskWindow | None:
        """Return a mask, None if there is none of this number."""
        packed = self._masks.get(number)
        if packed is None:
            return None
        y0, x0, y1, x1 = packed.box
        bits = np.unpackbits(packed.bits, count=(y1 - y0) * (x1 - x0))
        return MaskWindow(y0, x0, bits.reshape(y1 - y0, x1 - x0).astype(np.bool_))

    def box(self, number: int) -> HalfOpenBox | None:
        """Return the box around a mask, None if there is none of this number."""
        packed = self._masks.get(number)
        return None if packed is None else packed.box

    def area(self, number: int) -> int | None:
        """Return the pixels of a mask, None if there is none of this number."""
        packed = self._masks.get(number)
        return None if packed is None else packed.area

    def items(self) -> Iterator[tuple[int, MaskWindow]]:
        """Yield numbers and masks."""
        for number in self._masks:
            mask = self.get(number)
            if mask is not None:
                yield number, mask
