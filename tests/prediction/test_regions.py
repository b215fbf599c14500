# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.prediction.regions import Regions


def corners(*yx: tuple[float, float]) -> np.ndarray:
    return np.array(yx, dtype=float)


def test_prompts_go_to_the_region_whose_inner_borders_are_farthest() -> None:
    """Lesson 25: large images are looked at in regions of full resolution."""
    regions = Regions((512, 1024), 256)
    for yx in [(200.0, 300.0), (5.0, 5.0), (511.0, 1023.0), (255.0, 640.0)]:
        y0, x0, y1, x1 = regions.best_for(corners(yx))
        assert y1 - y0 == x1 - x0 == 256
        inner = [
            distance
            for distance, is_outer in (
                (yx[0] - y0, y0 == 0),
                (yx[1] - x0, x0 == 0),
                (y1 - yx[0], y1 == 512),
                (x1 - yx[1], x1 == 1024),
            )
            if not is_outer
        ]
        assert min(inner) >= 64  # regions overlap by half their side


@pytest.mark.parametrize(
    "yx",
    [
        [(10.0, 10.0), (10.0, 600.0)],  # farther apart than a region
        [(-3.0, 5.0)],
        [(5.0, 1025.0)],
        [(np.nan, 5.0)],
    ],
)
def test_what_no_region_shows_goes_to_the_whole_image(yx) -> None:
    regions = Regions((512, 1024), 256)
    assert regions.best_for(corners(*yx)) == regions.whole == (0, 0, 512, 1024)


@pytest.mark.parametrize(("shape", "frame"), [((380, 380), 256), ((5000, 5000), 1024)])
def test_small_images_and_large_frames_have_no_regions(shape, frame) -> None:
    regions = Regions(shape, frame)
    assert regions.best_for(corners((7.0, 9.0))) == regions.whole
    assert not regions.holds(regions.whole, corners((7.0, 9.0)))


def test_a_region_holds_what_does_not_touch_its_inner_borders() -> None:
    regions = Regions((512, 1024), 256)
    region = regions.best_for(corners((0.0, 0.0)))
    assert region == (0, 0, 256, 256)
    assert regions.holds(region, corners((0.0, 0.0), (255.0, 255.0)))
    assert not regions.holds(region, corners((0.0, 0.0), (255.0, 256.0)))
    assert regions.is_cut((3, 3, 40, 256), region)
    assert not regions.is_cut((0, 0, 40, 200), region)
    assert regions.among([(1, 1, 2, 2), region]) == [region]
