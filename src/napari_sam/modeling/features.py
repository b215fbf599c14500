# SPDX-License-Identifier: Apache-2.0
"""What an image encoder hands to a mask decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class ImageFeatures(NamedTuple):
    """What the image encoder says of one image or several.

    ``embedding`` is (B, C, g, g); ``high_res`` holds finer maps (B, C/4, 2g, 2g) and
    (B, C/8, 4g, 4g) for architectures that have them, else nothing.
    """

    embedding: Tensor
    high_res: tuple[Tensor, ...] = ()
