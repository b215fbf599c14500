# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_sam.annotation.advice import advise, find_repeated, guard
from napari_sam.annotation.answers import Answered
from napari_sam.annotation.commit_policy import CommitSettings, LabelMode
from napari_sam.annotation.draft import Draft
from napari_sam.annotation.objects import (
    AnnotatedObject,
    ObjectChange,
    ObjectTable,
    Origin,
    Turn,
)
from napari_sam.annotation.planning import Site
from napari_sam.annotation.ports import PlaneKey
from napari_sam.structures.candidates import Answer
from napari_sam.structures.drawn import DrawnPrompts, DrawnShape, ShapeKind
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import PointPrompt

FLAT = PlaneKey()


def square(y0, x0, size):
    return MaskWindow(y0, x0, np.ones((size, size), bool))


def answered(mask, iou, before=None, before_iou=0.0):
    answer = Answer((mask,), np.array([iou], np.float32), np.zeros((1, 4, 4), "f4"))
    return Answered(answer, True, 0, before, before_iou)


def draft_of(*labels, shape=None):
    """Points of these labels, one turn each; then a shape."""
    points, turns = (), []
    for x, label in enumerate(labels):
        points = (*points, PointPrompt((5, x), label))
        turns.append(Turn(DrawnPrompts(points)))
    if shape is not None:
        turns.append(Turn(DrawnPrompts(points, (shape,))))
    return Draft(FLAT, tuple(turns))


@pytest.fixture
def site(store):
    """A square object 4, known, of 100 pixels."""
    store.array[2:12, 3:13] = 4
    table = ObjectTable()
    known = AnnotatedObject(4, FLAT, (2, 3, 12, 13), 100)
    table.apply([ObjectChange(None, known)])
    return Site(store, table, FLAT, CommitSettings())


def test_a_prompt_that_makes_the_estimate_fall_is_worse():
    advice = guard(
        answered(square(0, 0, 10), 0.7, square(0, 0, 10), 0.9), draft_of(1, 1)
    )
    assert advice.kind == "worse"
    assert "0.90 to 0.70" in advice.text


@pytest.mark.parametrize("iou", [0.85, 0.9, 0.99])
def test_a_small_fall_is_no_matter(iou):
    now = answered(square(0, 0, 10), iou, square(0, 0, 10), 0.9)
    assert guard(now, draft_of(1, 1)) is None


@pytest.mark.parametrize(
    ("size", "labels", "kind"),
    [
        (6, (1, 1), "jumped"),  # a positive point that costs two thirds
        (6, (1, 0), None),  # a negative one is meant to
        (8, (1, 1), None),
        (16, (1, 0), "jumped"),  # a negative point that lets the mask grow
        (16, (1, 1), None),
        (13, (1, 0), None),
    ],
)
def test_a_mask_that_jumps(size, labels, kind):
    now = answered(square(0, 0, size), 0.9, square(0, 0, 10), 0.9)
    advice = guard(now, draft_of(*labels))
    assert (advice and advice.kind) == kind


def test_a_mask_that_is_elsewhere_now_has_jumped():
    now = answered(square(20, 20, 10), 0.9, square(0, 0, 10), 0.9)
    assert guard(now, draft_of(1, 1)).kind == "jumped"


def test_strokes_count_as_their_label():
    stroke = DrawnShape(ShapeKind.PATH, ((0, 0), (9, 9)), label=0)
    now = answered(square(0, 0, 20), 0.9, square(0, 0, 10), 0.9)
    assert guard(now, draft_of(1, shape=stroke)).kind == "jumped"


def test_the_first_prompt_corrects_nothing():
    assert guard(answered(square(0, 0, 3), 0.1), draft_of(1)) is None
    empty = MaskWindow.of_mask(np.zeros((4, 4), bool))
    assert guard(answered(square(0, 0, 3), 0.1, empty, 0.9), draft_of(1, 1)) is None


def test_an_object_again(site):
    advice = find_repeated(square(2, 3, 10), site)
    assert (advice.kind, advice.object_id) == ("repeats", 4)
    assert "object 4" in advice.text


def test_inside_an_object(site):
    advice = find_repeated(square(4, 4, 4), site)
    assert (advice.kind, advice.object_id) == ("inside", 4)


@pytest.mark.parametrize("mask", [square(20, 20, 10), square(8, 8, 10)])
def test_beside_or_across_objects_is_fine(site, mask):
    assert find_repeated(mask, site) is None


def test_the_object_itself_is_not_repeated(site):
    own = Site(site.labels, site.objects, FLAT, CommitSettings(), own_id=4)
    assert find_repeated(square(2, 3, 10), own) is None


def test_an_object_that_nobody_measured_is_seen_too(site):
    unknown = Site(site.labels, ObjectTable(), FLAT, CommitSettings())
    assert find_repeated(square(2, 3, 10), unknown).object_id == 4


@pytest.mark.parametrize(
    ("origin", "class_name", "of_mask", "is_said"),
    [
        (Origin.CLASS, "a", "a", False),
        (Origin.CLASS, "", "", False),
        (Origin.PAINTED, "a", "a", False),
        (Origin.CLASS, "a", "b", True),
        (Origin.CLASS, "a", None, False),  # the class is not known: any may be meant
        (Origin.PAINTED, "", "", True),
        (Origin.PROMPTS, "a", "a", True),
    ],
)
def test_masks_of_a_class_may_lie_on_each_other(
    site, origin, class_name, of_mask, is_said
):
    known = site.objects[FLAT, 4]
    area = replace(known, origin=origin, class_name=class_name)
    site.objects.apply([ObjectChange(known, area)])
    rule = CommitSettings(mode=LabelMode.SEMANTIC)
    here = replace(site, settings=rule, class_name=of_mask)
    for mask in (square(2, 3, 10), square(4, 4, 4)):
        assert (find_repeated(mask, here) is not None) == is_said
    assert find_repeated(square(2, 3, 10), replace(site, class_name=of_mask))


def test_an_empty_mask_repeats_nothing(site):
    empty = MaskWindow.of_mask(np.zeros((4, 4), bool))
    assert find_repeated(empty, site) is None


def test_worse_goes_before_repeated(site):
    now = answered(square(2, 3, 10), 0.5, square(2, 3, 10), 0.9)
    assert advise(now, draft_of(1, 1), site).kind == "worse"
    assert advise(now, draft_of(1), site).kind == "repeats"


# The same through the annotator.


def test_annotator_tells_once_and_takes_it_back(annotator):
    said = []
    annotator.advised.connect(lambda advice: said.append(advice and advice.kind))
    annotator.add_point(FLAT, (5, 5))
    annotator.commit()
    assert said == []
    annotator.add_point(FLAT, (6, 6))
    annotator.announce()
    assert said == ["repeats"]
    assert annotator.advice.object_id == 1
    annotator.choose(1)
    annotator.discard()
    assert said == ["repeats", "inside", None]
    assert annotator.advice is None


def test_going_to_the_object_that_is_repeated(annotator):
    annotator.add_point(FLAT, (5, 5))
    annotator.commit()
    annotator.add_point(FLAT, (6, 6))
    annotator.reopen(FLAT, annotator.advice.object_id)
    assert annotator.advice is None
    assert annotator.draft.object_id == 1


def test_one_undo_goes_back_from_a_worse_mask(annotator, segmenter, monkeypatch):
    predict = segmenter.predict

    def declining(embedding, prompts, **how):
        answer = predict(embedding, prompts, **how)
        scores = answer.predicted_iou - 0.3 * (len(prompts.points) > 1)
        return Answer(answer.masks, scores, answer.low_res_logits)

    monkeypatch.setattr(segmenter, "predict", declining, raising=False)
    annotator.add_point(FLAT, (5, 5))
    annotator.add_point(FLAT, (6, 6))
    assert annotator.advice.kind == "worse"
    annotator.undo()
    assert annotator.advice is None
    assert annotator.shown.predicted_iou == pytest.approx(0.9)
