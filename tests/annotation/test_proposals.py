# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.annotation.ports import PlaneKey
from napari_sam.annotation.proposals import Proposals, ProposalStatus
from napari_sam.annotation.record_stats import STATISTICS
from napari_sam.errors import LabelsError, SettingsError
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.rle import encode_window

FLAT = PlaneKey()
SHAPE = (40, 60)
OPEN, TAKEN, DROPPED = ProposalStatus


def record_of(box, iou, stability=0.9, shape=SHAPE):
    y0, x0, y1, x1 = box
    area = (y1 - y0) * (x1 - x0)
    window = np.ones((y1 - y0, x1 - x0), bool)
    return MaskRecord(
        rle=encode_window(window, y0, x0, shape),
        bbox=box,
        area=area,
        predicted_iou=iou,
        stability_score=stability,
        point_yx=(0.0, 0.0),
        crop_box=(0, 0, *shape),
    )


@pytest.fixture
def proposals():
    """Ids 10..13: a large square, a small one inside it, a bar, and background."""
    plane = np.zeros(SHAPE)
    plane[10:20, 10:20] = 100
    records = [
        record_of((25, 5, 27, 45), 0.6, 0.5),  # id 12: a bar of 80 px
        record_of((0, 0, 40, 60), 0.4),  # id 13: everything
        record_of((10, 10, 20, 20), 0.9, 0.95),  # id 10: 100 px
        record_of((12, 12, 16, 16), 0.8, 0.7),  # id 11: 16 px
    ]
    return Proposals.measured(FLAT, plane, records, first_id=10)


def test_best_first_and_measured(proposals):
    assert list(proposals.ids) == [10, 11, 12, 13]
    assert proposals.statistics["predicted_iou"].tolist() == [0.9, 0.8, 0.6, 0.4]
    assert proposals.statistics["area"].tolist() == [100, 16, 80, 2400]
    assert proposals.describe(10)["mean_intensity"] == 100
    assert proposals.describe(13)["mean_intensity"] == pytest.approx(100 * 100 / 2400)
    assert (
        proposals.describe(12)["roundness"] < 0.25 < proposals.describe(11)["roundness"]
    )
    assert proposals.mask(11) == MaskWindow(12, 12, np.ones((4, 4), bool))
    with pytest.raises(
        LabelsError, match="no proposal 14 on this plane; there are 10 to 13"
    ):
        proposals.mask(14)


def test_background_is_dropped_unless_switched_off(proposals):
    """Lesson 15: a rule with a switch, and the number is told."""
    assert proposals.drops_background
    assert proposals.n_background == 1
    assert proposals.visible_ids() == [10, 11, 12]
    assert proposals.counts().dropped["background"] == 1
    proposals.drops_background = False
    assert proposals.visible_ids() == [10, 11, 12, 13]
    assert proposals.counts().dropped["background"] == 0
    proposals.drops_background = True
    assert proposals.visible_ids() == [10, 11, 12]


def test_filters_tell_what_each_drops(proposals):
    """Lesson 16: counts of kept and dropped, and which threshold dropped what."""
    proposals.set_filter("predicted_iou", 0.7, 1.0)  # drops 12 and 13
    proposals.set_filter("roundness", 0.5, 1.0)  # drops 12
    proposals.set_filter("area", 0, 50)  # drops 10, 12 and 13
    counts = proposals.counts()
    assert proposals.visible_ids() == [11]
    assert (counts.n_all, counts.n_kept) == (4, 1)
    assert counts.dropped == {
        "predicted_iou": 2,
        "stability_score": 0,
        "area": 3,
        "roundness": 1,
        "mean_intensity": 0,
        "background": 1,
        "covered": 0,
    }
    # 10 fails the area alone; 12 and 13 fail several.
    assert {k: n for k, n in counts.dropped_alone.items() if n} == {"area": 1}
    proposals.clear_filters()
    assert proposals.visible_ids() == [10, 11, 12]
    assert proposals.filter_of("area") == (-np.inf, np.inf)


def test_limits_of_a_filter_are_inside(proposals):
    proposals.set_filter("area", 16, 100)
    assert proposals.visible_ids() == [10, 11, 12]
    assert proposals.extent("area") == (16, 2400)


def test_a_value_that_is_missing_passes_an_open_filter_only():
    records = [record_of((0, 0, 2, 2), 0.5, float("nan"))]
    proposals = Proposals.measured(FLAT, np.full(SHAPE, np.nan), records)
    assert proposals.extent("stability_score") == (0.0, 0.0)
    assert proposals.visible_ids() == [1]
    proposals.set_filter("stability_score", 0.0, 1.0)
    assert proposals.visible_ids() == []
    proposals.set_filter("stability_score", -np.inf, np.inf)
    assert proposals.visible_ids() == [1]


def test_wrong_filters_say_what_is_allowed(proposals):
    with pytest.raises(SettingsError, match=r"Unknown statistic 'size'.*roundness"):
        proposals.set_filter("size", 0, 1)
    with pytest.raises(SettingsError, match="must not be empty: 2 to 1"):
        proposals.set_filter("area", 2, 1)


def test_what_lies_on_objects_is_not_proposed(proposals):
    labels = np.zeros(SHAPE, np.uint32)
    labels[10:15, 10:20] = 3  # half of id 10, 12 of the 16 px of id 11
    proposals.hide_covered(labels)
    assert proposals.visible_ids() == [10, 12]
    assert proposals.counts().dropped["covered"] == 1
    labels[15, 10] = 3  # one more than half
    proposals.hide_covered(labels)
    assert proposals.visible_ids() == [12]
    labels[:] = 0
    proposals.hide_covered(labels)
    assert proposals.visible_ids() == [10, 11, 12]


def test_covered_after_an_edit_is_that_of_the_whole_plane(proposals):
    labels = np.zeros(SHAPE, np.uint32)
    proposals.hide_covered(labels)
    reads = []

    def read(box):
        reads.append(box)
        return labels[box[0] : box[2], box[1] : box[3]]

    labels[24:28, 0:60] = 1
    proposals.update_covered((24, 0, 28, 60), read)
    assert proposals.visible_ids() == [10, 11]
    assert (10, 10, 20, 20) not in reads  # far from the edit


def test_status_follows_changes_and_their_inverse(proposals):
    changes = proposals.changes([10, 12], TAKEN)
    proposals.apply(changes)
    assert proposals.status(10) is TAKEN
    assert proposals.visible_ids() == [11]
    assert proposals.n_of(TAKEN) == 2
    assert proposals.changes([10, 11], TAKEN) == proposals.changes([11], TAKEN)
    proposals.apply(change.inverse() for change in changes)
    assert proposals.visible_ids() == [10, 11, 12]
    assert proposals.n_of(OPEN) == 4


def test_pointer_finds_the_smallest_visible_one(proposals):
    assert proposals.at((13, 13)) == 11
    assert proposals.at((18, 18)) == 10
    assert proposals.at((0, 0)) is None  # the background is dropped
    proposals.apply(proposals.changes([11], DROPPED))
    assert proposals.at((13, 13)) == 10
    proposals.drops_background = False
    assert proposals.at((0, 0)) == 13


def test_paint_shows_what_can_be_taken(proposals):
    canvas = np.zeros(SHAPE, np.uint16, order="F")
    proposals.paint(canvas, [1, 2, 3, 4])
    expected = np.zeros(SHAPE, int)
    expected[10:20, 10:20], expected[12:16, 12:16], expected[25:27, 5:45] = 1, 2, 3
    np.testing.assert_array_equal(canvas, expected)
    proposals.set_filter("area", 20, 1000)
    proposals.paint(canvas, [1, 2, 3, 4], [11, 12, 13, 14])
    expected[12:16, 12:16], expected[25:27, 5:45] = 1, 13
    expected[10:20, 10:20][[0, -1]] = 11
    expected[10:20, 10:20][:, [0, -1]] = 11
    np.testing.assert_array_equal(canvas, expected)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 9)), min_size=1, max_size=8),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.tuples(st.integers(0, 81), st.integers(0, 81)),
)
def test_counts_are_those_of_plain_comparisons(specs, iou_range, area_range):
    records = [record_of((9, 9, 9 + side, 9 + side), iou) for iou, side in specs]
    proposals = Proposals.measured(FLAT, np.zeros(SHAPE), records)
    (iou_low, iou_high), (low, high) = sorted(iou_range), sorted(area_range)
    proposals.set_filter("predicted_iou", iou_low, iou_high)
    proposals.set_filter("area", low, high)
    bad_iou = [not iou_low <= iou <= iou_high for iou, _ in specs]
    bad_area = [not low <= side**2 <= high for _, side in specs]
    counts = proposals.counts()
    assert counts.dropped["predicted_iou"] == sum(bad_iou)
    assert counts.dropped_alone["area"] == sum(
        a and not i for a, i in zip(bad_area, bad_iou, strict=True)
    )
    assert counts.n_kept == len(proposals.visible_ids())
    assert counts.n_kept == sum(
        not (a or i) for a, i in zip(bad_area, bad_iou, strict=True)
    )


def test_two_thousand_records_are_filtered_at_once():
    """A slider is moved without running the model: far below 20 ms for one step."""
    rng = np.random.default_rng(0)
    records = [
        record_of((y, x, y + 8, x + 8), float(rng.random()), shape=(1024, 1024))
        for y, x in rng.integers(0, 1000, (2000, 2)).tolist()
    ]
    statistics = {name: rng.random(2000) for name in STATISTICS}
    proposals = Proposals(FLAT, (1024, 1024), records, statistics)
    best = np.inf
    for low in (0.1, 0.2, 0.3):
        start = time.perf_counter()
        proposals.set_filter("roundness", low, 0.9)
        proposals.set_filter("area", low, 0.9)
        counts = proposals.counts()
        best = min(best, time.perf_counter() - start)
    inside = (statistics["area"] >= 0.3) & (statistics["area"] <= 0.9)
    assert counts.dropped["area"] == (~inside).sum()
    assert best < 0.02
    n_bytes = sum(record.rle.counts.nbytes for record in proposals.records)
    assert n_bytes < 2000 * 200  # not a plane each


def test_the_worst_of_too_many_are_left_out(monkeypatch):
    monkeypatch.setattr("napari_sam.annotation.proposals.MAX_PROPOSALS", 2)
    records = [record_of((0, 0, 3, 3), iou) for iou in (0.1, 0.9, 0.5)]
    proposals = Proposals.measured(FLAT, np.zeros(SHAPE), records)
    assert proposals.statistics["predicted_iou"].tolist() == [0.9, 0.5]
    assert proposals.n_left_out == 1


def test_no_proposals_at_all():
    proposals = Proposals.measured(FLAT, np.zeros(SHAPE), [])
    assert proposals.visible_ids() == []
    assert proposals.counts().n_kept == 0
    assert proposals.at((3, 3)) is None
    proposals.hide_covered(np.ones(SHAPE, np.uint32))
    canvas = np.ones(SHAPE, np.uint16)
    proposals.paint(canvas, [])
    assert not canvas.any()


def test_proposals_of_a_part_lie_on_the_plane_and_cost_what_the_part_costs():
    part, shape = (90_010, 80_020, 90_050, 80_080), (100_000, 100_000)
    records = [
        record_of((10, 10, 20, 20), 0.9),
        record_of((12, 12, 16, 16), 0.8),
        record_of((0, 0, 40, 60), 0.4),  # fills the part: no background of the plane
    ]
    pixels = np.full(SHAPE, 3.0)
    proposals = Proposals.measured(FLAT, pixels, records, 1, part=part, shape=shape)
    assert proposals.size == SHAPE
    assert proposals.n_background == 0
    small = MaskWindow(90_022, 80_032, np.ones((4, 4), bool))
    assert proposals.mask(2) == small
    assert proposals.at((90_023, 80_033)) == 2
    assert proposals.at((90_011, 80_021)) == 3
    assert proposals.at((11, 11)) is None
    canvas = np.zeros(proposals.size, np.uint8, order="F")
    proposals.paint(canvas, [1, 2, 3])
    assert canvas[13, 13] == 2
    assert canvas[11, 11] == 1

    labels = np.zeros(SHAPE, np.uint32)
    labels[10:20, 10:20] = 7
    proposals.hide_covered(labels)
    assert proposals.visible_ids() == [3]
    asked = []

    def read(box):
        asked.append(box)
        y0, x0, y1, x1 = box
        return np.zeros((y1 - y0, x1 - x0), np.uint32)

    assert proposals.n_touching((90_022, 80_032, 90_023, 80_033)) == 3
    assert proposals.n_touching((10, 10, 20, 20)) == 0
    proposals.update_covered((90_022, 80_032, 90_023, 80_033), read)
    assert proposals.visible_ids() == [1, 2, 3]
    assert small.box in asked
