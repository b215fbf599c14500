# SPDX-License-Identifier: Apache-2.0
"""What each family of drawn scenes returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_sam.training.scenes.grounds import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and what may be taken as its objects.

    ``pixels`` (S, S) or (S, S, 3), 0..1, may reach beyond; ``levels`` label arrays
    (S, S) from parts to groups; ``usual`` is the level that people would label.
    """

    pixels: Floats
    levels: tuple[Ints, ...]
    usual: int = 0
