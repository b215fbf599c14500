# SPDX-License-Identifier: Apache-2.0
"""From which size on what is enlarged, and in which regions."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam.prediction.magnification import (
    is_same_object,
    magnification,
    size_of,
)
from napari_sam.prediction.regions import Regions
from napari_sam.structures.plane_view import Region


@pytest.mark.parametrize(
    ("size", "times"), [(100, 1), (32, 1), (31.9, 2), (24, 2), (23.9, 4), (0, 4)]
)
def test_an_object_is_enlarged_until_it_is_large_enough(size, times) -> None:
    assert magnification(size, 32.0) == times


def test_a_model_without_a_least_size_never_enlarges() -> None:
    assert magnification(1.0, None) == 1
    regions = Regions((2000, 2000), 512)
    assert regions.enlarging_scales == ()
    small = np.array([(100.0, 100.0), (104.0, 104.0)])
    assert regions.enlarging(small, 4.0, regions.best_for(small)) is None


def test_long_thin_things_are_not_tiny() -> None:
    assert size_of((10, 20, 14, 420)) == 40
    assert size_of((14, 420, 10, 20)) == 40


def test_what_is_empty_or_much_larger_is_another_object() -> None:
    assert is_same_object(10, 12)
    assert is_same_object(10, 3)
    assert not is_same_object(10, 0)
    assert not is_same_object(10, 21)


def object_at(y: float, x: float, size: float) -> np.ndarray:
    half = size / 2
    return np.array([(y, x), (y - half, x - half), (y + half, x + half)])


@pytest.mark.parametrize(
    ("size", "scale"), [(31, 1 / 2), (24, 1 / 2), (23, 1 / 4), (5, 1 / 4), (2, 1 / 4)]
)
def test_of_a_large_image_a_region_of_a_power_of_two_shows_it(size, scale) -> None:
    regions = Regions((1000, 1500), 512, 32.0)
    corners = object_at(700, 333, size)
    usual = regions.best_for(corners)
    region = regions.enlarging(corners, size, usual)
    assert region.scale == scale
    assert region.size == (512 * scale, 512 * scale)
    (y0, x0, y1, x1), side = region.box, 512 * scale
    # Well inside: the regions of a scale overlap by half.
    assert min(700 - y0, 333 - x0, y1 - 700, x1 - 333) >= side / 4 - 2


def test_an_image_seen_whole_is_shown_at_least_as_large_as_needed() -> None:
    # 256 pixels fill a frame of 512: an object of 10 appears with 20 of the frame.
    regions = Regions((256, 256), 512, 32.0)
    assert regions.scales == ()
    assert regions.enlarging_scales == (1 / 8, 1 / 4)
    corners = object_at(100, 100, 10)
    assert regions.enlarging(corners, 10, regions.whole).scale == 1 / 8
    assert regions.enlarging(corners, 12, regions.whole).scale == 1 / 4
    assert regions.enlarging(object_at(100, 100, 16), 16, regions.whole) is None
    # 700 pixels in the frame of 512: there is no region twice as fine, but a finer one.
    regions = Regions((700, 600), 512, 32.0)
    corners = object_at(300, 300, 40)
    assert regions.enlarging(corners, 40, regions.whole).scale == 1 / 2


def test_an_image_smaller_than_every_region_has_none() -> None:
    regions = Regions((60, 90), 512, 32.0)
    assert regions.enlarging_scales == ()
    assert regions.enlarging(object_at(30, 30, 2), 2, regions.whole) is None


def test_prompts_that_are_far_apart_are_enlarged_less() -> None:
    regions = Regions((2000, 2000), 512, 32.0)
    near = object_at(700, 700, 6)
    far = np.concatenate([near, [(760.0, 850.0)]])
    usual = regions.best_for(far)
    assert regions.enlarging(near, 6, usual).scale == 1 / 4
    region = regions.enlarging(far, 6, usual)
    assert region.scale == 1 / 2
    assert regions.holds(region, far)
    everywhere = np.concatenate([near, [(1900.0, 1900.0)]])
    assert regions.enlarging(everywhere, 6, usual) is None


def test_specks_of_a_huge_image_are_looked_for_at_finer_scales() -> None:
    regions = Regions((40000, 40000), 512, 32.0)
    corners = object_at(20000, 20000, 160)
    seen = regions.best_for(corners, 16)
    assert seen.scale == 16
    assert regions.enlarging(corners, 160, seen).scale == 4


def test_enlarged_regions_are_known_again_and_grow() -> None:
    regions = Regions((1000, 1000), 512, 32.0)
    corners = object_at(500, 500, 6)
    region = regions.enlarging(corners, 6, regions.best_for(corners))
    assert region.scale == 1 / 4
    assert Regions((1000, 1000), 512, 32.0).among([region]) == [region]
    assert Regions((1000, 1000), 512).among([region]) == []
    assert regions.grown(region, object_at(500, 500, 150)).scale == 1 / 2
    assert regions.is_cut((region.box[0], 480, 520, 520), region)
    assert not regions.is_cut((region.box[0] + 1, 480, 520, 520), region)


def test_scales_from_one_on_are_what_they_were() -> None:
    for shape in ((512, 1024), (380, 380), (5000, 300)):
        plain, enlarging = Regions(shape, 256), Regions(shape, 256, 32.0)
        assert enlarging.scales == plain.scales
        assert enlarging.usual_scale == plain.usual_scale
        place = np.array([(100.0, 120.0)])
        assert enlarging.best_for(place) == plain.best_for(place)
        assert list(enlarging.around(place)) == list(plain.around(place))


@pytest.mark.parametrize("place", [np.nan, -5.0, 4000.0])
def test_impossible_places_are_left_to_the_image(place) -> None:
    regions = Regions((1000, 1000), 512, 32.0)
    corners = np.array([(place, 20.0)])
    assert regions.enlarging(corners, 3, regions.whole) is None


def test_regions_of_a_thin_image_are_as_thin() -> None:
    regions = Regions((20, 3000), 512, 32.0)
    region = regions.enlarging(object_at(10, 700, 6), 6, Region((0, 400, 20, 912)))
    assert region.scale == 1 / 4
    assert region.size == (20, 128)
