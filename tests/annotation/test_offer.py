# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_sam.annotation.answers import Answered
from napari_sam.annotation.commit_policy import CommitSettings, LabelMode, Overlap
from napari_sam.annotation.draft import Draft
from napari_sam.annotation.history import DraftChange
from napari_sam.annotation.ledger import Ledger
from napari_sam.annotation.object_changes import unknown_objects
from napari_sam.annotation.objects import ObjectChange, Origin, Status, Turn
from napari_sam.annotation.offer import (
    Credit,
    accepting_step,
    advice_on,
    frozen,
    offer,
    reopened,
    site_of,
)
from napari_sam.annotation.phases import Editing, Loading, Ready
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import LabelsError, PhaseError
from napari_sam.structures.candidates import Answer
from napari_sam.structures.drawn import DrawnPrompts, DrawnShape, ShapeKind
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import PointPrompt

FLAT = PlaneKey()
RULE = CommitSettings()
DRAWN = DrawnPrompts((PointPrompt((5, 5)),))
TURN = Turn(DRAWN, 2)
CREDIT = Credit("cell", 2.0, "sam abc")


@pytest.fixture
def ledger(store):
    store.array[0:10, 0:4] = 3
    ledger = Ledger(store)
    ledger.note(unknown_objects(ledger.objects, store, FLAT, (40, 60)))
    return ledger


def editing(*, index=2, object_id=None, drawn=DRAWN, is_pending=False):
    """Single of 10 x 10 pixels, then 2, 6 and 10 columns of it."""
    masks = tuple(MaskWindow(0, 0, np.ones((10, n), bool)) for n in (10, 2, 6, 10))
    scores = np.array([0.8, 0.1, 0.9, 0.2], np.float32)
    answer = Answer(masks, scores, np.zeros((4, 4, 4), np.float32))
    draft = Draft(FLAT, (Turn(drawn),), object_id)
    return Editing(None, draft, Answered(answer, True, index), is_pending)


def test_offer_is_what_commit_writes(ledger):
    shown = offer(editing(), ledger, RULE)
    assert (shown.mask.box, shown.name, shown.order) == (
        (0, 4, 10, 6),
        "medium",
        (1, 2, 3),
    )
    assert shown.predicted_iou == pytest.approx(0.9)
    ledger.do(accepting_step(editing(), ledger, RULE, CREDIT)[0])
    np.testing.assert_array_equal(
        ledger.labels.array == 4, shown.mask.on_plane((40, 60))
    )


def test_walking(ledger):
    shown = offer(editing(), ledger, RULE)
    assert [shown.next_index(step) for step in (-2, -1, 0, 1, 2)] == [3, 1, 2, 3, 1]
    single = offer(editing(index=0), ledger, RULE)  # chosen, yet not in the order
    assert [single.next_index(step) for step in (1, -1)] == [1, 1]


def test_no_answer_is_no_offer(ledger):
    phase = Editing(None, Draft(FLAT, (Turn(DRAWN),)))
    assert offer(phase, ledger, RULE) is None
    assert advice_on(phase, ledger, RULE) is None
    assert advice_on(Loading(), ledger, RULE) is None
    assert advice_on(editing(index=1), ledger, RULE).kind == "inside"


def test_accepted_object_remembers_how_it_was_made(ledger):
    step, made = accepting_step(editing(), ledger, RULE, CREDIT)
    assert step.text == "Accept object 4"
    assert (made.object_id, made.box, made.area) == (4, (0, 4, 10, 6), 20)
    assert made.turns == (Turn(DRAWN, 2),)
    assert (made.class_name, made.candidate, made.seconds, made.model) == (
        "cell",
        "medium",
        2.0,
        "sam abc",
    )
    assert (made.status, made.origin) == (Status.ACCEPTED, Origin.PROMPTS)
    assert step.objects == (ObjectChange(None, made),)
    # Its undo brings back the mask that was accepted, whatever is preferred by then.
    chosen = Draft(FLAT, (Turn(DRAWN, 2),))
    assert step.draft == DraftChange(chosen, None)


def test_objects_that_lose_pixels_are_part_of_the_step(ledger):
    rule = CommitSettings(overlap=Overlap.OVERWRITE)
    step, _ = accepting_step(editing(index=1), ledger, rule, CREDIT)
    ledger.do(step)
    assert ledger.objects[FLAT, 3].area == 20
    assert ledger.objects[FLAT, 3].box == (0, 2, 10, 4)
    step, _ = accepting_step(editing(index=3), ledger, rule, CREDIT)
    ledger.do(step)
    assert [known.object_id for known in ledger.objects] == [5]


def test_object_opened_again_keeps_what_it_was(ledger):
    step, made = accepting_step(editing(object_id=3), ledger, RULE, CREDIT)
    assert (made.object_id, made.area, made.class_name) == (3, 60, "")
    assert made.origin is Origin.PAINTED
    assert made.seconds == 2.0
    assert step.objects == (ObjectChange(ledger.objects[FLAT, 3], made),)


def test_joining_a_class_leaves_no_prompts_for_the_whole(ledger):
    rule = CommitSettings(mode=LabelMode.SEMANTIC)
    known = ledger.objects[FLAT, 3]
    ledger.note([ObjectChange(known, replace(known, class_name="cell"))])
    step, made = accepting_step(editing(), ledger, rule, CREDIT)
    assert (made.object_id, made.area, made.turns) == (3, 60, ())
    assert (made.origin, made.class_name) == (Origin.CLASS, "cell")
    ledger.do(step)
    ledger.undo()
    assert ledger.objects[FLAT, 3].origin is Origin.PAINTED


def test_a_class_of_no_name_is_not_what_is_unclassed(ledger):
    rule = CommitSettings(mode=LabelMode.SEMANTIC)
    step, made = accepting_step(editing(), ledger, rule, Credit("", 1.0, ""))
    assert (made.object_id, made.origin, made.turns) == (4, Origin.CLASS, (TURN,))
    ledger.do(step)
    assert ledger.objects[FLAT, 3].area == 40
    _, instance = accepting_step(editing(object_id=3), ledger, rule, CREDIT)
    assert (instance.origin, instance.class_name) == (Origin.PAINTED, "")


def test_pieces_that_stay_are_not_what_the_prompts_mean(ledger):
    ledger.labels.array[30:35, 50:55] = 3
    ledger.note([ObjectChange(ledger.objects[FLAT, 3], None)])
    ledger.note(unknown_objects(ledger.objects, ledger.labels, FLAT, (40, 60)))
    step, made = accepting_step(editing(object_id=3), ledger, RULE, CREDIT)
    assert (made.area, made.box, made.turns) == (60 + 25, (0, 0, 35, 55), ())
    ledger.do(step)
    assert (ledger.labels.array == 3).sum() == 85
    ledger.undo()
    assert (ledger.labels.array == 3).sum() == 65


def test_accepting_needs_an_answer(ledger):
    phase = Editing(None, Draft(FLAT, (Turn(DRAWN),)))
    with pytest.raises(PhaseError, match="add a prompt"):
        accepting_step(phase, ledger, RULE, CREDIT)


@pytest.mark.parametrize(
    ("class_name", "kind"), [("a", None), ("b", "inside"), (None, None)]
)
def test_advice_of_a_class(ledger, class_name, kind):
    rule = CommitSettings(mode=LabelMode.SEMANTIC)
    known = ledger.objects[FLAT, 3]
    area = replace(known, class_name="a", origin=Origin.CLASS)
    ledger.note([ObjectChange(known, area)])
    advice = advice_on(editing(index=1), ledger, rule, class_name)
    assert (advice and advice.kind) == kind
    assert advice_on(editing(index=1), ledger, RULE, class_name).kind == "inside"


def test_reopened_draft(ledger):
    draft = reopened(ledger.objects, ledger.labels, (FLAT, 3))
    assert draft.object_id == 3
    assert draft.drawn.mask == MaskWindow(0, 0, np.ones((10, 4), bool))
    step, made = accepting_step(editing(), ledger, RULE, CREDIT)
    ledger.do(step)
    draft = reopened(ledger.objects, ledger.labels, made.key)
    assert draft == Draft(FLAT, made.turns, 4)
    with pytest.raises(LabelsError, match="no object 9"):
        reopened(ledger.objects, ledger.labels, (FLAT, 9))


def test_only_points_and_strokes_say_which_pieces_stay(ledger):
    stroke = DrawnShape(ShapeKind.LINE, ((3.0, 3.0), (3.0, 5.0)))
    phase = editing(drawn=DrawnPrompts((PointPrompt((5, 5)),), (stroke,)))
    points = site_of(phase, ledger, RULE).points
    assert [point.yx for point in points] == [(5, 5), (3, 4)]


def test_frozen_writes_down_what_is_shown():
    phase = editing(index=3)
    assert frozen(phase.draft, phase).choice == 3
    assert frozen(phase.draft, editing(index=3, is_pending=True)) == phase.draft
    assert frozen(phase.draft, Ready(None)) == phase.draft
    other = Draft(FLAT, (Turn(DRAWN),), object_id=7)
    assert frozen(other, phase) == other
