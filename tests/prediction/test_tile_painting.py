# SPDX-License-Identifier: Apache-2.0
"""Painting by tiles against painting at once."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_sam.prediction.label_painting import paint_objects
from napari_sam.prediction.tile_joining import JoinedTiles
from napari_sam.prediction.tile_painting import TilePainting
from napari_sam.prediction.tile_run import join_tiles
from napari_sam.prediction.tile_work import objects_of_tile
from napari_sam.prediction.tiling import plan_tiles
from napari_sam.structures import rle
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.settings import LabelSettings

SHAPE = (90, 110)
PLAN = plan_tiles(SHAPE, 40, 16)


def drawn(rng, shape):
    """A disc, a ring or a bar somewhere, of any size."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    cy, cx = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
    radius = rng.choice([3, 6, 10, 18])
    distance = np.hypot(y - cy, x - cx)
    kind = rng.integers(4)
    if kind == 0:
        return (abs(y - cy) < 2) & (abs(x - cx) < 2 * radius)
    inner = radius * 0.6 if kind == 1 else -1
    return (distance <= radius) & (distance > inner)


def as_record(mask, score):
    encoded = rle.encode(mask)
    box = encoded.bounding_box()
    return MaskRecord(
        encoded, box, encoded.area, score, 0.9, (1.0, 2.0), (0, 0, *mask.shape)
    )


def random_results(seed, settings):
    """Tiles that see common objects with mistakes of their own."""
    rng = np.random.default_rng(seed)
    scene = [drawn(rng, SHAPE) for _ in range(rng.integers(1, 30))]
    results = {}
    for number in range(len(PLAN)):
        y0, x0, y1, x1 = tile = PLAN.box(number)
        records = []
        for mask in scene:
            dy, dx = rng.integers(-1, 2, 2) * (rng.random() < 0.4)
            seen = np.roll(mask, (dy, dx), (0, 1))[y0:y1, x0:x1]
            if seen.any() and rng.random() < 0.9:
                records.append(as_record(seen, float(rng.random())))
        results[number] = objects_of_tile(records, tile, SHAPE, settings)
    return results


def painted_at_once(results, settings):
    joined = JoinedTiles(PLAN, results)
    ranks = joined.objects.scores[:, 0] - joined.objects.is_cut
    records = [
        as_record(joined.mask(i).on_plane(SHAPE), score)
        for i, score in enumerate(joined.objects.scores[:, 0].tolist())
    ]
    labels, objects = paint_objects(records, SHAPE, settings, ranks)
    return TilePainting(joined, ranks, settings), labels, objects


SETTINGS = st.builds(
    LabelSettings,
    min_area=st.sampled_from([0, 5, 25]),
    max_taken=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    absorb_parts=st.booleans(),
    fill_holes=st.booleans(),
    background_fraction=st.sampled_from([0.25, 1.0]),
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6), SETTINGS)
def test_labels_are_those_of_painting_at_once(seed, chosen):
    results = random_results(seed, chosen)
    painting, labels, objects = painted_at_once(results, chosen)
    assert len(painting) == len(objects)
    np.testing.assert_array_equal(painting.labels_in((0, 0, *SHAPE)), labels)
    for label, record in enumerate(objects, start=1):
        assert painting.box(label) == record.bbox
        assert painting.record(label).rle == record.rle
        assert painting.record(label).area == record.area
        assert painting.scores(label) == pytest.approx((record.predicted_iou, 0.9))


def test_labels_by_box_are_those_of_the_whole():
    results = random_results(3, LabelSettings())
    painting = join_tiles(PLAN, results, LabelSettings())
    whole = painting.labels_in((0, 0, *SHAPE))
    assert whole.max() == len(painting) > 5
    for y0 in range(0, SHAPE[0], 32):
        for x0 in range(0, SHAPE[1], 32):
            box = (y0, x0, min(y0 + 32, SHAPE[0]), min(x0 + 32, SHAPE[1]))
            part = painting.labels_in(box)
            np.testing.assert_array_equal(part, whole[y0 : box[2], x0 : box[3]])


def test_every_label_begins_in_one_box():
    painting = join_tiles(PLAN, random_results(5, LabelSettings()), LabelSettings())
    halves = (0, 0, 45, SHAPE[1]), (45, 0, *SHAPE)
    labels = [label for box in halves for label in painting.labels_at(box)]
    assert sorted(labels) == list(range(1, len(painting) + 1))
    assert painting.labels_at((0, 0, *SHAPE)) == sorted(labels)


def test_the_order_in_which_tiles_were_finished_does_not_matter():
    results = random_results(7, LabelSettings())
    backward = dict(reversed(results.items()))
    first, second = (
        join_tiles(PLAN, found, LabelSettings()).labels_in((0, 0, *SHAPE))
        for found in (results, backward)
    )
    np.testing.assert_array_equal(first, second)


def test_tiles_that_are_missing_are_empty():
    results = random_results(7, LabelSettings())
    few = {number: results[number] for number in (0, 1)}
    painting = join_tiles(PLAN, few, LabelSettings())
    assert len(painting) > 0
    labels = painting.labels_in((0, 0, *SHAPE))
    assert not labels[PLAN.box(0)[2] :].any()
    assert len(join_tiles(PLAN, {}, LabelSettings())) == 0


@pytest.mark.parametrize("radius", [9, 12, 15])
def test_a_scene_in_tiles_is_the_scene(radius):
    """Objects no larger than a tile, found without mistakes, come out as they are."""
    settings = LabelSettings(background_fraction=1)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    centres = [(20, 20), (20, 60), (60, 35), (62, 80), (18, 92)]
    scene = [np.hypot(y - cy, x - cx) <= radius for cy, cx in centres]
    results = {}
    for number in range(len(PLAN)):
        y0, x0, y1, x1 = tile = PLAN.box(number)
        seen = [mask[y0:y1, x0:x1] for mask in scene]
        records = [as_record(mask, 0.9) for mask in seen if mask.any()]
        results[number] = objects_of_tile(records, tile, SHAPE, settings)
    labels = join_tiles(PLAN, results, settings).labels_in((0, 0, *SHAPE))
    assert labels.max() == len(scene)
    for mask in scene:
        (label,) = np.unique(labels[mask])
        np.testing.assert_array_equal(labels == label, mask)
