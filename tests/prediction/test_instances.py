# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.evaluation.matching import match_objects
from napari_sam.io.sample_data import load_sample
from napari_sam.prediction.instances import (
    ObjectMaps,
    RegionRule,
    find_regions,
    innermost,
    region_confidence,
)


def maps_of(centre, foreground=None, boundary=None):
    centre = np.asarray(centre, np.float32)
    if foreground is None:
        foreground = (centre > 0).astype(np.float32)
    if boundary is None:
        boundary = np.zeros_like(centre)
    return ObjectMaps(foreground, boundary, centre)


PLAIN = {"blur": 0.0, "boundary": 0.0, "min_area": 1}


def regions_of(decoder):
    """Regions of a decoder's maps, and the truth in the same samples."""
    regions = find_regions(ObjectMaps.of_logits(decoder.object_logits()))
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * px).astype(int), own - 1)
        for n, px, own in zip(
            regions.shape, decoder.sample_px, decoder.labels.shape, strict=True
        )
    )
    return decoder.labels[np.ix_(rows, columns)], regions


def average_precision(truth, regions):
    return match_objects(
        truth, regions, iou_threshold=0.5, min_area=4
    ).average_precision


@pytest.mark.parametrize("name", ["nuclei", "axons", "tissue"])
def test_true_maps_of_real_images_give_the_true_objects(name, truth_decoder):
    labels = load_sample(name).labels.astype(np.int32)
    assert average_precision(*regions_of(truth_decoder(labels))) > 0.97


def test_true_maps_of_a_crowd_give_the_true_objects(crowded, truth_decoder):
    assert crowded.max() > 100
    assert average_precision(*regions_of(truth_decoder(crowded))) > 0.97


def test_spoiled_maps_give_most_objects(crowded, truth_decoder):
    scores = [
        average_precision(*regions_of(truth_decoder(crowded, **how)))
        for how in (
            {"blur": 1.0},
            {"blur": 1.0, "noise": 0.1},
            {"blur": 1.5, "noise": 0.2},
        )
    ]
    assert scores[0] > 0.9
    assert scores[1] > 0.85
    assert scores[2] > 0.6


@pytest.mark.parametrize(("joined", "n"), [(0.8, 1), (0.9, 2)])
def test_summits_are_one_object_by_the_height_of_the_pass(joined, n):
    line = np.array([[0.3, 0.6, 0.9, 0.8, 0.7, 0.75, 0.8, 0.4]], np.float32)
    # The pass of 0.7 has 0.875 of the lower summit's 0.8.
    regions = find_regions(maps_of(line), RegionRule(joined=joined, **PLAIN))
    assert regions.max() == n
    assert (regions > 0).all()
    if n == 2:
        assert regions[0, :4].tolist() == [1, 1, 1, 1]
        assert regions[0, 5:].tolist() == [2, 2, 2]


def test_the_pass_counts_for_objects_of_all_sizes():
    def pair(radius):
        rows, columns = np.mgrid[: 2 * radius + 1, : 4 * radius + 1]
        first = np.hypot(rows - radius, columns - radius)
        second = np.hypot(rows - radius, columns - 3 * radius)
        return np.clip(1 - np.minimum(first, second) / radius, 0, 1)

    for radius in (3, 12, 60):
        regions = find_regions(maps_of(pair(radius)))
        assert regions.max() == 2
        areas = np.bincount(regions.ravel())[1:]
        assert abs(areas[0] - areas[1]) <= 0.1 * areas.max()


def test_a_rod_with_a_level_ridge_is_one_object():
    rows = np.minimum(np.arange(9), np.arange(9)[::-1]) / 4
    rod = np.repeat(rows[:, None], 80, axis=1)
    rod += np.random.default_rng(0).normal(0, 0.02, rod.shape)
    regions = find_regions(maps_of(np.clip(rod, 0.01, 1)))
    assert regions.max() == 1


def test_a_boundary_between_two_objects_divides_them():
    centre = np.ones((9, 21), np.float32)
    boundary = np.zeros_like(centre)
    boundary[:, 10] = 1
    rule = RegionRule(joined=0.75, blur=0.0, boundary=0.5)
    assert find_regions(maps_of(centre), rule).max() == 1
    assert find_regions(maps_of(centre, boundary=boundary), rule).max() == 2


def test_low_summits_and_specks_are_no_objects():
    centre = np.zeros((20, 30), np.float32)
    centre[2:8, 2:8] = 0.9
    centre[2:8, 12:18] = 0.15  # too low
    centre[12, 12] = 0.9  # too small
    regions = find_regions(
        maps_of(centre), RegionRule(blur=0.0, summit=0.2, min_area=3)
    )
    assert regions.max() == 1
    assert (regions > 0).sum() == 36


def test_regions_are_numbered_in_reading_order():
    centre = np.zeros((12, 12), np.float32)
    for number, (y, x) in enumerate([(1, 7), (2, 1), (8, 4)], start=1):
        centre[y : y + 3, x : x + 3] = 0.3 * number
    regions = find_regions(maps_of(centre), RegionRule(**PLAIN))
    assert [regions[2, 8], regions[3, 2], regions[9, 5]] == [1, 2, 3]


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (40, 3)])
def test_maps_of_nothing_and_of_one_object_only(shape):
    nothing = np.zeros(shape, np.float32)
    assert find_regions(maps_of(nothing)).max() == 0
    everything = np.ones(shape, np.float32)
    regions = find_regions(maps_of(everything), RegionRule(min_area=1))
    assert (regions == 1).all()
    assert innermost(regions).shape == (1, 2)
    assert innermost(np.zeros(shape, np.int32)).shape == (0, 2)


def test_what_is_not_finite_is_no_object():
    logits = np.full((3, 8, 8), np.nan, np.float32)
    logits[:, :4] = np.inf
    logits[0, :, :2] = -np.inf
    regions = find_regions(ObjectMaps.of_logits(logits), RegionRule(boundary=0.0))
    assert np.array_equal(regions > 0, np.isposinf(logits[0]))


def test_innermost_is_far_from_the_border_and_from_neighbours():
    regions = np.zeros((11, 20), np.int32)
    regions[2:9, 0:7] = 1
    regions[2:9, 7:20] = 2
    first, second = innermost(regions).tolist()
    # Column 6 touches the neighbour, column 0 the edge: 3 from both, in the middle row.
    assert first == [5, 3]
    assert second[0] == 5
    assert 10 <= second[1] <= 16
    thin = np.zeros((3, 9), np.int32)
    thin[1, 2:7] = 1
    assert innermost(thin).tolist() == [[1, 4]]


def test_confidence_is_expected_intersection_over_expected_union():
    regions = np.zeros((12, 12), np.int32)
    regions[4:8, 4:8] = 1
    foreground = np.where(regions > 0, 0.75, 0.0).astype(np.float32)
    foreground[3, 4:8] = 0.25  # four samples outside, of which one belongs to it
    foreground[0, 0] = 1.0  # too far away
    assert region_confidence(regions, foreground) == pytest.approx([12 / 17])
    assert region_confidence(np.zeros((4, 4), np.int32), foreground[:4, :4]).size == 0
