# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time

import numpy as np
import pytest

from napari_sam.prediction.regions import Regions
from napari_sam.structures.plane_view import PlaneView, Region


def corners(*yx: tuple[float, float]) -> np.ndarray:
    return np.array(yx, dtype=float)


def view(step: float) -> PlaneView:
    return PlaneView((0, 0, 600 * step, 800 * step), step)


def inner_distances(region: Region, yx: tuple[float, float], shape) -> list[float]:
    """Pixels from a position to each side of a region that is not the image's."""
    (y0, x0, y1, x1), (y, x), (height, width) = region.box, yx, shape
    return [
        distance
        for distance, is_outer in (
            (y - y0, y0 == 0),
            (x - x0, x0 == 0),
            (y1 - y, y1 == height),
            (x1 - x, x1 == width),
        )
        if not is_outer
    ]


@pytest.mark.parametrize("scale", [1, 2])
def test_prompts_go_to_the_region_whose_inner_borders_are_farthest(scale) -> None:
    """Lesson 25: large images are looked at in regions of full resolution."""
    shape = (700, 1024)
    regions = Regions(shape, 256)
    for yx in [(200.0, 300.0), (5.0, 5.0), (699.0, 1023.0), (255.0, 640.0)]:
        region = regions.best_for(corners(yx), scale)
        assert region.scale == scale
        assert region.size == (256 * scale, 256 * scale)
        # Regions overlap by half their side.
        assert min(inner_distances(region, yx, shape)) >= 64 * scale


def test_scales_double_as_long_as_a_region_is_much_smaller_than_the_image() -> None:
    assert Regions((32768, 32768), 512).scales == (1, 2, 4, 8, 16, 32)
    assert Regions((512, 1024), 256).scales == (1, 2)
    assert Regions((32768, 32768), 512).whole == Region((0, 0, 32768, 32768), 64)


def test_a_narrow_image_has_regions_as_narrow() -> None:
    regions = Regions((100, 5000), 256)
    region = regions.best_for(corners((50.0, 2500.0)), 4)
    assert region.size == (100, 1024)


def test_what_is_too_far_apart_for_a_scale_goes_to_the_next_that_shows_it() -> None:
    regions = Regions((8192, 8192), 256)
    near, far = (4000.0, 4000.0), (4300.0, 4600.0)
    assert regions.best_for(corners(near)).scale == 1
    region = regions.best_for(corners(near, far))
    assert region.scale == 4
    assert regions.holds(region, corners(near, far))
    assert regions.best_for(corners((1.0, 1.0), (8000.0, 8000.0))) == regions.whole


@pytest.mark.parametrize(
    "yx",
    [
        [(10.0, 10.0), (10.0, 900.0)],  # farther apart than any region
        [(-3.0, 5.0)],
        [(5.0, 1025.0)],
        [(np.nan, 5.0)],
    ],
)
def test_what_no_region_shows_goes_to_the_whole_image(yx) -> None:
    regions = Regions((512, 1024), 256)
    assert regions.best_for(corners(*yx)) == regions.whole
    assert list(regions.around(corners(*yx))) == [regions.whole]


def test_small_images_have_no_regions() -> None:
    regions = Regions((380, 380), 256)
    assert regions.scales == ()
    assert regions.best_for(corners((7.0, 9.0))) == regions.whole
    assert not regions.holds(regions.whole, corners((7.0, 9.0)))
    assert regions.scale_for(view(1.0)) == regions.whole.scale


def test_published_models_see_the_whole_image_unless_a_screen_is_told() -> None:
    regions = Regions((5000, 5000), 1024)
    assert regions.best_for(corners((7.0, 9.0))) == regions.whole
    scale = regions.scale_for(view(0.5))
    assert regions.best_for(corners((7.0, 9.0)), scale).scale == 1


@pytest.mark.parametrize(
    ("step", "small_frame", "large_frame"),
    [(0.1, 1, 1), (1.0, 1, 2), (1.05, 1, 2), (1.2, 2, 2), (7.9, 8, 16), (32.0, 32, 64)],
)
def test_the_scale_goes_by_the_screen(step, small_frame, large_frame) -> None:
    """A model sees no more than the user; one slow region holds most of a screen."""
    shape = (1 << 17, 1 << 17)
    assert Regions(shape, 512).scale_for(view(step)) == small_frame
    assert Regions(shape, 1024).scale_for(view(step)) == large_frame


def test_a_screen_that_shows_everything_shows_the_whole() -> None:
    regions = Regions((8192, 8192), 512)
    assert regions.scale_for(view(40.0)) == regions.whole.scale


def test_an_object_is_seen_no_finer_than_it_fits() -> None:
    regions = Regions((32768, 32768), 512)
    for side in (10, 300, 1100, 5000):
        scale = regions.scale_for(view(0.5), (8000, 8000, 8000 + side, 8100))
        assert 512 * scale >= 2 * side  # fits into some region wherever it lies
        assert scale == 1 or 512 * scale < 4 * side


def test_a_cut_answer_is_asked_where_more_is_shown() -> None:
    regions = Regions((8192, 8192), 256)
    at = (4000.0, 4140.0)
    region = regions.best_for(corners(at))
    # The object goes on to the right: a neighbour of the same scale shows it better.
    y0, x0, y1, x1 = region.box
    box = ((at[0], at[1]), (at[0] + 20, float(x1)))
    shifted = regions.grown(region, corners(at, *box))
    assert shifted.scale == 1
    assert shifted.box[1] > x0
    # It fills the region: the finest scale that shows all of that.
    sides = ((float(y0), float(x0)), (float(y1), float(x1)))
    wider = regions.grown(region, corners(at, *sides))
    assert wider == regions.best_for(corners(at, *sides), 2)
    assert wider.scale in (2, 4)
    assert regions.holds(wider, corners(at, *sides))


def test_growing_ends_with_the_whole_image() -> None:
    regions = Regions((8192, 8192), 256)
    region, seen = (
        regions.best_for(corners((4000.0, 4000.0))),
        corners((4000.0, 4000.0)),
    )
    scales = []
    while region != regions.whole:
        y0, x0, y1, x1 = region.box
        seen = np.concatenate([seen, [(y0, x0), (y1, x1)]])
        region = regions.grown(region, seen)
        scales.append(region.scale)
    assert scales == sorted(set(scales))
    assert len(scales) <= len(regions.scales)


def test_a_region_holds_what_does_not_touch_its_inner_borders() -> None:
    regions = Regions((512, 1024), 256)
    region = regions.best_for(corners((0.0, 0.0)))
    assert region == Region((0, 0, 256, 256), 1)
    assert regions.holds(region, corners((0.0, 0.0), (255.0, 255.0)))
    assert not regions.holds(region, corners((0.0, 0.0), (255.0, 256.0)))
    assert regions.is_cut((3, 3, 40, 256), region)
    assert not regions.is_cut((0, 0, 40, 200), region)
    assert not regions.is_cut((0, 0, 0, 0), region)
    assert not regions.is_cut((0, 0, 512, 1024), regions.whole)
    other = Region((1, 1, 257, 257), 1)
    assert regions.among([other, region, Region(region.box, 2)]) == [region]
    assert not regions.holds(other, corners((9.0, 9.0)))


def test_a_coarse_region_is_left_a_little_earlier() -> None:
    regions = Regions((8192, 8192), 256)
    region = regions.best_for(corners((4000.0, 4000.0)), 8)
    y0, x0, y1, x1 = region.box
    assert regions.is_cut((y0 + 300, x0 + 300, y1 - 12, x1 - 300), region)
    assert not regions.is_cut((y0 + 300, x0 + 300, y1 - 30, x1 - 300), region)


def test_regions_around_are_the_finest_and_best_first() -> None:
    regions = Regions((2048, 2048), 256)
    at = corners((900.0, 1000.0))
    found = list(regions.around(at, 1))
    assert found[0] == regions.best_for(at, 1)
    assert [r.scale for r in found] == sorted(r.scale for r in found)
    assert found[-1] == regions.whole
    for region in found[:-1]:
        margin = min(inner_distances(region, (900.0, 1000.0), (2048, 2048)))
        assert margin >= 256 * region.scale / 8


def test_an_enormous_image_takes_no_more_time() -> None:
    started = time.process_time()
    regions = Regions((1_000_000, 1_000_000), 256)
    region = regions.best_for(corners((543_210.0, 98_765.0)))
    assert time.process_time() - started < 1
    assert region.size == (256, 256)
