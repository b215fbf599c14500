# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.structures.mask_sketch import MaskSketch
from napari_sam.structures.mask_window import MaskWindow

SKETCH = MaskSketch(MaskWindow(2, 3, np.ones((1, 2), bool)), (100.0, 40.0), (8.0, 4.0))


def test_a_pixel_of_the_grid_covers_its_pixels_of_the_plane() -> None:
    # Row 2 covers rows 116 to 123 of the plane, column 3 columns 52 to 55.
    assert SKETCH.to_plane((2.0, 3.0)) == (119.5, 53.5)
    assert SKETCH.to_grid((119.5, 53.5)) == (2.0, 3.0)


@pytest.mark.parametrize(
    ("yx", "is_on"),
    [
        ((116, 52), True),
        ((123, 59), True),
        ((115, 55), False),
        ((124, 55), False),
        ((120, 51), False),
        ((120, 60), False),
    ],
)
def test_positions_on_the_mask(yx, is_on) -> None:
    assert SKETCH.holds(yx) is is_on


def test_without_steps_the_grid_is_the_plane() -> None:
    plain = MaskSketch(MaskWindow(5, 6, np.eye(3, dtype=bool)))
    assert plain.to_plane((7.0, 8.0)) == (7.0, 8.0)
    assert plain.holds((6, 7))
    assert not plain.holds((5, 7))
