# SPDX-License-Identifier: Apache-2.0
"""Pictures of flat regions and a model that fills them: every action is known."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from napari_sam.errors import ImageError, LabelsError, SettingsError
from napari_sam.evaluation.annotation_effort import Action, ActionTimes, Habits
from napari_sam.evaluation.simulated_annotator import (
    annotate_images,
    simulate_annotation,
)
from napari_sam.structures.candidates import Answer, MaskRecord
from napari_sam.structures.geometry import mask_bounding_box
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.rle import encode

STEADY = Habits(aim_px=0.0)


@dataclass
class FlatModel:
    """Fills regions of equal value under positive points but not negative ones.

    Its four masks: the region (single), one pixel (small), the region (medium), the
    whole plane (large). `found` are the automatic mode's masks with predicted IoU and
    stability.
    """

    predicted_iou: tuple[float, ...] = (0.8, 0.1, 0.9, 0.2)
    found: list[tuple[np.ndarray, float, float]] = field(default_factory=list)
    seconds: float = 0.0
    error: Exception | None = None
    clicks: list[tuple[float, float, int]] = field(default_factory=list)
    settings: dict = field(default_factory=dict)
    name: str = "flat"
    auto_defaults: dict = field(default_factory=dict)

    def describe(self):
        return {"model": self.name}

    def see(self, pixels):
        return pixels

    def embed(self, pixels, *, view=None, cancel=None, digests=None):
        time.sleep(self.seconds)
        return SimpleNamespace(plane=pixels.read((0, 0, *pixels.shape)))

    def scale_for(self, embedding, view, extent=None):
        return None

    def region_at(self, embedding, yx, scale):
        return None

    def predict(self, embedding, prompts, *, scale=None, cancel=None):
        if self.error is not None:
            raise self.error
        plane = (
            embedding.plane if embedding.plane.ndim == 2 else embedding.plane[..., 0]
        )
        places = [(p.yx, p.label) for p in prompts.points]
        self.clicks += [(*yx, label) for yx, label in places[-1:]]
        if prompts.mask is not None:
            y, x = np.argwhere(prompts.mask.crop)[0]
            places.append(((prompts.mask.y0 + y, prompts.mask.x0 + x), 1))
        under = {
            wanted: [
                plane[round(y), round(x)] for (y, x), label in places if label == wanted
            ]
            for wanted in (0, 1)
        }
        region = np.isin(plane, under[1]) & ~np.isin(plane, under[0])
        first = places[0][0]
        small = np.zeros_like(region)
        small[round(first[0]), round(first[1])] = True
        masks = [region, small, region, np.ones_like(region)]
        return Answer(
            tuple(MaskWindow.of_mask(mask) for mask in masks),
            np.array(self.predicted_iou, np.float32),
            np.zeros((4, 4, 4), np.float32),
        )

    def segment_everything(self, plane, settings, *, progress, cancel):
        if self.error is not None:
            raise self.error
        self.settings = dict(settings)
        labels = np.zeros(plane.shape[:2], np.uint32)
        records = []
        for number, (mask, iou, stability) in enumerate(self.found, start=1):
            labels[mask] = number
            records.append(
                MaskRecord(
                    encode(mask),
                    mask_bounding_box(mask),
                    int(mask.sum()),
                    iou,
                    stability,
                    (0.0, 0.0),
                    (0, 0, *plane.shape[:2]),
                )
            )
        return labels, records


def box(y0, x0, y1, x1):
    mask = np.zeros((40, 60), bool)
    mask[y0:y1, x0:x1] = True
    return mask


A, B, C = box(2, 2, 14, 14), box(2, 20, 12, 30), box(25, 40, 33, 48)


@pytest.fixture
def scene():
    """Three objects of 144, 100 and 64 pixels; the picture shows each as a value."""
    labels = np.zeros((40, 60), np.int32)
    for number, mask in enumerate((A, B, C), start=1):
        labels[mask] = 3 * number
    return "scene", labels.astype(np.uint8), labels


def only(report):
    (effort,) = report.images
    return effort


def test_clear_objects_take_a_click_and_a_key_each(scene):
    report = simulate_annotation([scene], FlatModel(), ways=["hand"], habits=STEADY)
    effort = only(report)
    assert effort.actions == Counter(
        {Action.LOOK: 6, Action.POINT: 3, Action.ACCEPT: 3}
    )
    np.testing.assert_array_equal(effort.ious, [1, 1, 1])
    (row,) = report.rows()
    assert (row["clicks"], row["keys"], row["done"], row["surplus"]) == (3, 3, 3, 0)
    # Six looks, three times pointer and button, three keys.
    assert row["seconds_human"] == pytest.approx(
        6 * 1.35 + 3 * 1.3 + 3 * 0.28, abs=0.01
    )


def test_the_largest_object_comes_first_and_clicks_hit_its_middle(scene):
    model = FlatModel()
    simulate_annotation([scene], model, ways=["hand"], habits=STEADY)
    # Innermost pixels, the first of several in row-major order.
    assert model.clicks == [(7, 7, 1), (6, 24, 1), (28, 43, 1)]


def test_a_missing_part_takes_a_second_click():
    labels = np.zeros((40, 60), np.int32)
    labels[5:15, 5:21] = 1
    picture = labels.astype(np.uint8)
    picture[5:15, 15:21] = 2  # 60 of the object's 160 pixels
    model = FlatModel()
    effort = only(
        simulate_annotation(
            [("x", picture, labels)], model, ways=["hand"], habits=STEADY
        )
    )
    assert effort.actions[Action.POINT] == 2
    assert model.clicks[1][2] == 1
    assert picture[tuple(int(v) for v in model.clicks[1][:2])] == 2
    np.testing.assert_array_equal(effort.ious, [1])


def test_a_surplus_part_takes_a_click_beside_the_object():
    labels = np.zeros((40, 60), np.int32)
    labels[5:15, 5:21] = 1
    picture = np.zeros((40, 60), np.uint8)
    picture[5:15, 5:13], picture[5:15, 13:21] = 1, 2
    picture[5:15, 21:29] = 2  # looks like the second half and touches it
    model = FlatModel()
    habits = Habits(aim_px=0.0, max_clicks=3, usable_iou=0.4)
    effort = only(
        simulate_annotation(
            [("x", picture, labels)], model, ways=["hand"], habits=habits
        )
    )
    # Half of it; with the other half comes the surplus; without that, half again.
    assert [label for *_, label in model.clicks] == [1, 1, 0]
    assert effort.ious.tolist() == [0.5]
    assert effort.actions[Action.ACCEPT] == 1


def test_clicks_end_at_the_limit_and_what_is_useless_is_discarded():
    labels = np.zeros((40, 60), np.int32)
    labels[5:15, 5:15] = 1
    model = FlatModel()
    blank = np.zeros((40, 60), np.uint8)
    effort = only(
        simulate_annotation(
            [("x", blank, labels)],
            model,
            ways=["hand"],
            habits=Habits(aim_px=0.0, max_clicks=2),
        )
    )
    # The whole plane comes; a click beside the object leaves nothing.
    assert [label for *_, label in model.clicks] == [1, 0]
    assert effort.actions[Action.DISCARD] == 1
    assert effort.actions[Action.ACCEPT] == 0
    assert effort.ious.tolist() == [0]
    assert effort.n_surplus == 0


def test_a_better_reading_is_walked_to_with_a_key(scene):
    whole_first = FlatModel(predicted_iou=(0.8, 0.1, 0.5, 0.9))
    effort = only(
        simulate_annotation([scene], whole_first, ways=["hand"], habits=STEADY)
    )
    # From the large one round to the small one and on to the medium one: two keys each.
    assert effort.actions[Action.NEXT_MASK] == 6
    assert effort.actions[Action.POINT] == 3
    np.testing.assert_array_equal(effort.ious, [1, 1, 1])


def test_an_object_that_another_one_swallowed_cannot_be_had():
    labels = np.zeros((40, 60), np.int32)
    labels[2:12, 2:12] = 1
    labels[2:12, 12:13] = 2
    picture = (labels > 0).astype(
        np.uint8
    )  # one region: 100 of 110 pixels are object 1
    habits = Habits(aim_px=0.0, min_area=1)
    effort = only(
        simulate_annotation(
            [("x", picture, labels)], FlatModel(), ways=["hand"], habits=habits
        )
    )
    np.testing.assert_allclose(effort.ious, [100 / 110, 0])
    assert effort.actions[Action.POINT] == 1
    assert effort.actions[Action.LOOK] == 3


def test_semi_automatically(scene):
    beside = box(25, 5, 35, 15)
    model = FlatModel(found=[(A, 0.95, 0.97), (beside, 0.9, 0.96), (B, 0.7, 0.9)])
    effort = only(simulate_annotation([scene], model, ways=["semi"], habits=STEADY))
    assert effort.actions == Counter(
        {
            Action.START: 1,
            # A and what is beside are filled in, locked and looked at; B is found as a
            # proposal, C is looked for and its mask judged.
            Action.LOOK: 2 + 1 + 2,
            Action.UNLOCK: 1,
            Action.DELETE: 1,
            Action.TAKE: 1,
            Action.POINT: 1,
            Action.ACCEPT: 1,
        }
    )
    np.testing.assert_array_equal(effort.ious, [1, 1, 1])
    assert effort.n_surplus == 0
    assert model.settings["pred_iou_thresh"] == pytest.approx(0.6 * 0.88)


def test_sure_and_right_needs_no_more_than_looks(scene):
    model = FlatModel(found=[(m, 0.95, 0.97) for m in (A, B, C)])
    effort = only(simulate_annotation([scene], model, ways=["semi"], habits=STEADY))
    assert effort.actions == Counter({Action.START: 1, Action.LOOK: 3})


def test_from_proposals(scene):
    half, beside = box(2, 2, 14, 9), box(25, 5, 35, 15)
    model = FlatModel(found=[(half, 0.9, 0.97), (B, 0.9, 0.97), (beside, 0.6, 0.1)])
    effort = only(
        simulate_annotation([scene], model, ways=["proposals"], habits=STEADY)
    )
    assert effort.actions == Counter(
        {
            Action.START: 1,
            Action.TAKE_ALL: 1,
            # All of it, three objects, A after it was opened again, C found and judged.
            Action.LOOK: 1 + 3 + 1 + 2,
            Action.DELETE: 1,
            Action.REOPEN: 1,
            Action.POINT: 1,
            Action.ACCEPT: 2,
        }
    )
    np.testing.assert_array_equal(effort.ious, [1, 1, 1])
    assert effort.n_surplus == 0
    assert model.settings == {}


def test_what_gets_worse_when_opened_again_stays(scene):
    name, _, labels = scene
    most = box(2, 2, 14, 11)  # IoU 0.75
    model = FlatModel(found=[(most, 0.9, 0.97)])
    blank = np.zeros((40, 60), np.uint8)
    habits = Habits(aim_px=0.0, max_clicks=1)
    effort = only(
        simulate_annotation(
            [(name, blank, labels)], model, ways=["proposals"], habits=habits
        )
    )
    assert effort.actions[Action.REOPEN] == 1
    assert effort.actions[Action.DISCARD] == 3  # A's correction, B, C
    np.testing.assert_allclose(effort.ious, [0.75, 0, 0])


def test_a_mediocre_proposal_is_taken_and_corrected(scene):
    model = FlatModel(found=[(box(2, 2, 14, 9), 0.7, 0.9)])
    effort = only(simulate_annotation([scene], model, ways=["semi"], habits=STEADY))
    assert effort.actions[Action.TAKE] == 1
    assert effort.actions[Action.REOPEN] == 1
    assert effort.actions[Action.POINT] == 2  # for B and C
    np.testing.assert_array_equal(effort.ious, [1, 1, 1])


def test_what_is_too_small_to_count_is_neither_annotated_nor_deleted(scene):
    name, picture, labels = scene
    labels = labels.copy()
    small = box(36, 2, 39, 5)
    labels[small] = 99
    model = FlatModel(found=[(m, 0.95, 0.97) for m in (A, B, C, box(36, 2, 39, 6))])
    effort = only(
        simulate_annotation(
            [(name, picture, labels)],
            model,
            ways=["semi"],
            habits=Habits(min_area=10, aim_px=0.0),
        )
    )
    assert len(effort.ious) == 3
    assert effort.actions[Action.DELETE] == 0
    assert effort.n_surplus == 0


def test_the_seed_decides_where_clicks_land_and_they_stay_on_the_object(scene):
    def clicks(seed, ways=("hand",), name="scene"):
        model = FlatModel()
        simulate_annotation(
            [(name, *scene[1:])], model, ways=ways, habits=Habits(aim_px=3.0), seed=seed
        )
        return model.clicks

    first = clicks(0)
    assert first == clicks(0)
    assert first != clicks(1)
    assert first != clicks(0, name="another")
    assert first == clicks(0, ways=("proposals", "hand"))[:3]
    for seed in range(5):
        assert all(scene[2][int(y), int(x)] for y, x, _ in clicks(seed))


def test_model_seconds_are_measured_and_told_apart(scene):
    effort = only(simulate_annotation([scene], FlatModel(seconds=0.05), ways=["hand"]))
    assert effort.seconds_ahead >= 0.05
    assert 0 < effort.seconds_answers < 0.05 + effort.seconds_ahead


def test_ways_are_summed_and_each_image_is_annotated_in_all(scene):
    images = [scene, ("none", np.ones((9, 9), np.uint8), np.zeros((9, 9), int))]
    report = simulate_annotation(images, FlatModel(), habits=STEADY)
    assert [(e.name, e.way) for e in report.images] == [
        (name, way)
        for name in ("scene", "none")
        for way in ("hand", "semi", "proposals")
    ]
    assert [(e.way, len(e.ious)) for e in report.totals] == [
        ("hand", 3),
        ("semi", 3),
        ("proposals", 3),
    ]
    assert report.images[3].actions == Counter()  # nothing there, nothing to be done


def test_colours_and_images_with_nan():
    labels = np.zeros((20, 20), int)
    labels[5:15, 5:15] = 1
    colours = np.repeat(labels[..., None].astype(np.float32), 3, axis=2)
    colours[0, 0] = np.nan
    effort = only(
        simulate_annotation([("c", colours, labels)], FlatModel(), ways=["hand"])
    )
    assert effort.ious.tolist() == [1]


def test_an_error_of_the_model_ends_it(scene):
    for way in ("hand", "semi"):
        model = FlatModel(error=RuntimeError("out of memory"))
        with pytest.raises(RuntimeError, match="out of memory"):
            simulate_annotation([scene], model, ways=[way])


def test_bad_input_is_refused(scene):
    name, picture, labels = scene
    with pytest.raises(LabelsError, match="do not fit"):
        simulate_annotation([(name, picture, labels[:-1])], FlatModel())
    with pytest.raises(ImageError, match="4 axes"):
        simulate_annotation([(name, np.zeros((2, 3, 4, 5)), labels)], FlatModel())
    with pytest.raises(SettingsError, match="by-foot"):
        simulate_annotation([scene], FlatModel(), ways=["by-foot"])
    with pytest.raises(SettingsError, match="Allowed: hand"):
        next(annotate_images([scene], FlatModel(), ways=[]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"target_iou": 1.5},
        {"usable_iou": 0.9},
        {"max_clicks": 0},
        {"min_area": -1},
        {"aim_px": float("nan")},
    ],
)
def test_habits_have_ranges(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Habits(**wrong)


def test_times_are_refused_or_used():
    with pytest.raises(SettingsError, match="key"):
        ActionTimes(key=-1)
    times = ActionTimes(look=1, move=10, click=100, key=1000)
    assert times.of(Action.POINT) == 110
    assert times.of(Action.DELETE) == 2010


def test_a_real_model_gets_the_drawn_picture_done(tiny_sam, blobs):
    from napari_sam.prediction.model_segmenter import ModelSegmenter

    report = simulate_annotation(
        [("blobs", blobs.image, blobs.labels)], ModelSegmenter(tiny_sam), ways=["hand"]
    )
    effort = only(report)
    assert effort.ious.min() >= 0.85
    assert 11 <= effort.actions[Action.POINT] <= 22
