# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.annotation.draft import Draft
from napari_sam.annotation.history import DraftChange, PlaneEdit, Step
from napari_sam.annotation.ledger import Ledger
from napari_sam.annotation.objects import AnnotatedObject, ObjectChange, Turn
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import LabelsError, PhaseError
from napari_sam.structures.drawn import DrawnPrompts
from napari_sam.structures.labels import LabelEdit
from napari_sam.structures.prompts import PointPrompt

FLAT, OTHER = PlaneKey(), PlaneKey((1, 2), (1,))
BOX = (1, 1, 3, 3)
DRAFT = Draft(FLAT, (Turn(DrawnPrompts((PointPrompt((1, 1)),))),), object_id=4)


def edit_of(old, new, box=BOX):
    shape = box[2] - box[0], box[3] - box[1]
    arrays = (np.full(shape, value, np.uint32) for value in (old, new))
    return PlaneEdit(FLAT, LabelEdit(box, *arrays))


@pytest.fixture
def ledger(store):
    return Ledger(store)


def known(object_id):
    return AnnotatedObject(object_id, FLAT, BOX, 4)


def test_a_step_is_applied_taken_back_and_done_again(ledger, store):
    kinds = []
    ledger.stepped.connect(lambda step, kind: kinds.append((step.text, kind)))
    step = Step(
        "Write",
        edits=(edit_of(0, 4),),
        objects=(ObjectChange(None, known(4)),),
        draft=DraftChange(None, DRAFT),
    )
    ledger.do(step)
    assert (store.array == 4).sum() == 4
    assert list(ledger.objects) == [known(4)]
    assert ledger.drafts == {FLAT: DRAFT}
    assert ledger.undo().objects == step.inverse().objects
    assert not store.array.any()
    assert len(ledger.objects) == 0
    assert ledger.drafts == {}
    assert ledger.redo() is step
    assert (store.array == 4).sum() == 4
    assert ledger.drafts == {FLAT: DRAFT}
    assert kinds == [("Write", "do"), ("Write", "undo"), ("Write", "redo")]


def test_what_was_painted_is_not_written_again(ledger, store):
    ledger.do(Step("Paint", edits=(edit_of(0, 4),)), is_written=True)
    assert store.written == []


def test_all_edits_are_written_or_none(ledger, store):
    store.n_allowed = 2
    boxes = [(0, 0, 2, 2), (4, 4, 6, 6), (8, 8, 10, 10)]
    step = Step(
        "Write",
        edits=tuple(edit_of(0, 4, box) for box in boxes),
        objects=(ObjectChange(None, known(4)),),
    )
    with pytest.raises(LabelsError, match="locked"):
        ledger.do(step)
    assert not store.array.any()
    assert len(ledger.objects) == 0
    assert ledger.history.undo_text == ""


def test_undo_that_cannot_be_written_can_be_tried_again(ledger, store):
    ledger.do(Step("Write", edits=(edit_of(0, 4),)))
    store.n_allowed = 0
    with pytest.raises(LabelsError, match="locked"):
        ledger.undo()
    assert (store.array == 4).sum() == 4
    assert ledger.history.undo_text == "Write"
    ledger.undo()
    assert not store.array.any()


def test_pixels_that_others_changed_are_left_alone(ledger, store):
    ledger.do(Step("First", edits=(edit_of(0, 3, (9, 9, 11, 11)),)))
    ledger.do(
        Step("Write", edits=(edit_of(0, 4),), objects=(ObjectChange(None, known(4)),))
    )
    store.array[1, 1] = 7
    before = store.array.copy()
    with pytest.raises(LabelsError, match="begins anew"):
        ledger.undo()
    np.testing.assert_array_equal(store.array, before)
    assert list(ledger.objects) == [known(4)]
    with pytest.raises(PhaseError, match="nothing to undo"):
        ledger.undo()
    with pytest.raises(PhaseError, match="nothing to redo"):
        ledger.redo()


def test_drafts_of_planes_are_apart(ledger):
    other = Draft(OTHER, DRAFT.turns)
    ledger.do(Step("a", draft=DraftChange(None, DRAFT)))
    ledger.do(Step("b", draft=DraftChange(None, other)))
    ledger.do(Step("c", draft=DraftChange(DRAFT, None)))
    assert ledger.drafts == {OTHER: other}
    ledger.undo()
    assert ledger.drafts == {FLAT: DRAFT, OTHER: other}


def test_a_note_is_no_step(ledger):
    ledger.note([ObjectChange(None, known(4))])
    assert list(ledger.objects) == [known(4)]
    assert ledger.history.undo_text == ""


def test_other_labels_take_only_the_prompts_along(ledger, fakes):
    ledger.do(
        Step(
            "Write",
            edits=(edit_of(0, 4),),
            objects=(ObjectChange(None, known(4)),),
            draft=DraftChange(None, DRAFT),
        )
    )
    other = fakes.Store(np.full((40, 60), 4, np.uint8))
    ledger.replace_labels(other)
    assert (other.array == 4).all()
    assert len(ledger.objects) == 0
    assert ledger.history.undo_text == ""
    # Its id is that of something else here.
    assert ledger.drafts == {FLAT: Draft(FLAT, DRAFT.turns)}
