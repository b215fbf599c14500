# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.commit_policy import CommitSettings, Overlap
from napari_sam.annotation.objects import Origin
from napari_sam.annotation.phases import Editing, Ready
from napari_sam.annotation.ports import PlaneKey
from napari_sam.annotation.snapshot import recall, restore, snapshot
from napari_sam.errors import LabelsError, PhaseError

PLANES = tuple(PlaneKey((1, 2), (i,)) for i in range(3))
SHAPE = (3, 40, 60)


@pytest.fixture
def make(fakes, regions):
    """Make an annotator of three planes that are alike, with empty labels."""

    def make(dtype=np.uint32):
        source = fakes.Source(np.stack([regions] * 3))
        annotator = Annotator(source, fakes.Store(np.zeros(SHAPE, dtype)))
        annotator.attach(fakes.Segmenter())
        return annotator

    return make


@pytest.fixture
def annotator(make):
    """Two objects on the first plane, one on the last, one of them being refined."""
    annotator = make()
    annotator.settings = CommitSettings(overlap=Overlap.OVERWRITE)
    for plane, position in [(0, (5, 5)), (2, (5, 15)), (0, (30, 45))]:
        annotator.add_point(PLANES[plane], position)
        annotator.commit()
    annotator.change([(PLANES[2], 2)], class_name="cell", status="unsure")
    annotator.reopen(PLANES[0], 1)
    annotator.add_point(PLANES[0], (6, 6))
    annotator.choose(3)
    return annotator


def taken(annotator):
    return snapshot(
        annotator,
        image_identity="abc",
        shape=SHAPE,
        dtype=str(annotator.labels.array.dtype),
        image_name="cells",
        view={"gamma": 1.0},
        model={"model": "regions"},
    )


def test_snapshot_holds_what_there_is(annotator):
    state = taken(annotator)
    assert (state.image_name, state.dtype, state.view) == (
        "cells",
        "uint32",
        {"gamma": 1.0},
    )
    assert state.objects == tuple(annotator.objects)
    assert state.draft == annotator.draft
    assert state.settings == annotator.settings
    assert set(state.labels) == {PLANES[0], PLANES[2]}  # the middle one is empty
    np.testing.assert_array_equal(state.label_image(), annotator.labels.array)


def test_snapshot_is_a_copy(annotator):
    state = taken(annotator)
    before = state.label_image()
    annotator.delete([(PLANES[2], 2)])
    annotator.discard()
    assert state.draft is not None
    np.testing.assert_array_equal(state.label_image(), before)


def test_restored_elsewhere_everything_is_the_same(annotator, make):
    state, other = taken(annotator), make()
    restore(other, state, SHAPE)
    np.testing.assert_array_equal(other.labels.array, annotator.labels.array)
    assert list(other.objects) == list(annotator.objects)
    assert other.draft is None  # whoever shows planes decides which is looked at
    other.look_at(PLANES[0])
    assert other.draft == annotator.draft
    assert other.settings == annotator.settings
    assert taken(other) == state
    # The prompts are answered again and go on where they were.
    assert isinstance(other.phase, Editing)
    assert other.shown.index == 3
    assert other.shown.mask == annotator.shown.mask
    assert other.commit().object_id == 1
    other.undo()
    assert (other.shown.index, other.ledger.history.undo_text) == (3, "Open annotation")


def test_what_was_there_is_replaced(annotator, make):
    state, other = taken(annotator), make()
    for plane in PLANES:
        other.add_point(plane, (30, 45))
        other.commit()
    other.add_point(PLANES[1], (5, 5))
    gone = []
    other.draft_changed.connect(lambda plane, draft: gone.append((plane, draft)))
    restore(other, state, SHAPE)
    np.testing.assert_array_equal(other.labels.array, annotator.labels.array)
    assert list(other.objects) == list(annotator.objects)
    assert (PLANES[1], None) in gone
    assert other.ledger.drafts == {PLANES[0]: annotator.draft}


def test_going_back_to_an_earlier_state(annotator):
    early = taken(annotator)
    annotator.discard()
    annotator.delete([(PLANES[0], 1), (PLANES[2], 2)])
    annotator.add_point(PLANES[1], (5, 5))
    annotator.commit()
    restore(annotator, early, SHAPE)
    annotator.look_at(PLANES[0])
    assert taken(annotator) == early


def everything(annotator):
    return annotator.labels.array.tolist(), list(annotator.objects)


def test_undo_takes_it_back_and_redo_does_it_again(annotator, make):
    state, other = taken(annotator), make()
    other.add_point(PLANES[0], (30, 45))
    other.commit()
    other.add_point(PLANES[1], (5, 5))
    other.commit()
    other.change([(PLANES[1], 2)], class_name="mine", is_locked=True)
    mine = everything(other)
    restore(other, state, SHAPE)
    theirs = everything(other)
    np.testing.assert_array_equal(other.labels.array, annotator.labels.array)
    assert other.ledger.history.undo_text == "Open annotation"
    other.undo()
    assert everything(other) == mine
    other.redo()
    assert everything(other) == theirs
    for _ in range(6):  # what was done before it can be taken back, too
        other.undo()
    assert not other.labels.array.any()
    assert len(other.objects) == 0
    with pytest.raises(PhaseError, match="nothing to undo"):
        other.undo()


def test_planes_that_nobody_looked_at_are_replaced_and_come_back(annotator, make):
    state, other = taken(annotator), make()
    for plane in (0, 1):
        other.labels.array[plane, 20:24, 30:33] = 77
    restore(other, state, SHAPE, PLANES)
    np.testing.assert_array_equal(other.labels.array, annotator.labels.array)
    assert list(other.objects) == list(annotator.objects)
    other.undo()
    assert [int((plane == 77).sum()) for plane in other.labels.array] == [12, 12, 0]
    assert {known.key for known in other.objects} == {
        (PLANES[0], 77),
        (PLANES[1], 77),
    }
    assert {known.origin for known in other.objects} == {Origin.PAINTED}
    other.redo()
    np.testing.assert_array_equal(other.labels.array, annotator.labels.array)
    assert list(other.objects) == list(annotator.objects)


def test_planes_that_cross_are_replaced_as_one_image(annotator, make):
    """The state knows planes of one direction, the labels were met in another."""
    state, other = taken(annotator), make()
    across = [PlaneKey((0, 1), (column,)) for column in (3, 45)]
    other.labels.array[:, 5:30, 3] = 4
    other.labels.array[:, 5:30, 45] = 5
    for plane in across:
        other.adopt(plane, (3, 40))
    before = other.labels.array.copy()
    restore(other, state, SHAPE, PLANES)
    np.testing.assert_array_equal(other.labels.array, annotator.labels.array)
    assert list(other.objects) == list(annotator.objects)
    other.undo()
    np.testing.assert_array_equal(other.labels.array, before)
    assert {known.plane for known in other.objects} >= set(across)


def test_history_keeps_no_whole_planes(annotator, make):
    other = make()
    restore(other, taken(annotator), SHAPE)
    edits = other.ledger.history.peek_undo().edits
    assert len(edits) == 2
    assert all(e.edit.old.base is None and e.edit.new.base is None for e in edits)


def test_order_of_the_objects_is_that_of_the_state(annotator, make):
    state, other = taken(annotator), make()
    turned = replace(state, objects=state.objects[::-1])
    restore(other, turned, SHAPE)
    assert tuple(other.objects) == turned.objects


def test_the_same_again_is_no_step(annotator):
    before = annotator.ledger.history.undo_text
    restore(annotator, taken(annotator), SHAPE, PLANES)
    assert annotator.ledger.history.undo_text == before


def test_only_what_differs_is_written(annotator):
    state = taken(annotator)
    annotator.labels.written.clear()
    restore(annotator, state, SHAPE)
    assert annotator.labels.written == []
    annotator.discard()
    annotator.delete([(PLANES[2], 2)])
    annotator.labels.written.clear()
    restore(annotator, state, SHAPE)
    assert annotator.labels.written == [(2, 13, 12, 20)]


def test_all_listeners_are_told(annotator, make):
    other, told = make(), []
    other.objects_changed.connect(lambda changes: told.append(changes))
    other.history_changed.connect(lambda: told.append("history"))
    other.settings_changed.connect(lambda rule: told.append("rule"))
    other.draft_changed.connect(lambda plane, draft: told.append(draft))
    restore(other, taken(annotator), SHAPE)
    assert () in told  # the whole table is another one
    assert {"history", "rule"} <= {item for item in told if isinstance(item, str)}
    assert annotator.draft in told


def test_labels_that_the_state_does_not_explain_are_painted_objects(annotator, make):
    state = taken(annotator)
    less, other = replace(state, objects=state.objects[1:], draft=None), make()
    restore(other, less, SHAPE)
    found = other.objects[PLANES[0], 1]
    assert (found.origin, found.area) == (Origin.PAINTED, 100)
    assert isinstance(other.phase, Ready)


def test_without_a_model_prompts_wait_for_one(annotator, make, fakes):
    other = make()
    other.detach()
    restore(other, taken(annotator), SHAPE)
    other.look_at(PLANES[0])
    assert other.draft == annotator.draft
    other.attach(fakes.Segmenter())
    assert other.shown.index == 3


@pytest.mark.parametrize("problem", ["shape", "plane", "dtype", "locked"])
def test_what_does_not_fit_changes_nothing(annotator, make, problem):
    state = taken(annotator)
    other = make(np.uint8)
    other.add_point(PLANES[1], (5, 5))
    other.commit()
    other.add_point(PLANES[1], (30, 45))
    shape = SHAPE
    if problem == "shape":
        shape = (3, 40, 61)
    elif problem == "plane":
        state = replace(state, labels={PLANES[0]: np.ones((5, 5), np.uint32)})
    elif problem == "dtype":
        high = np.full((40, 60), 300, np.uint32)
        state = replace(state, labels={PLANES[0]: high})
    else:
        other.labels.n_allowed = 1
    before = taken(other)
    with pytest.raises(LabelsError):
        restore(other, state, shape)
    assert taken(other) == before
    assert other.ledger.history.undo_text == "Change prompts"
    other.undo()
    other.undo()
    other.undo()
    assert not other.labels.array.any()


def test_recalled_are_objects_that_are_as_they_were(annotator, make):
    state, other = taken(annotator), make()
    other.labels.array[:] = annotator.labels.array
    first, second, third = state.objects
    other.labels.array[2, 0, 59] = second.object_id  # outside its box
    y0, x0, _, _ = third.box
    other.labels.array[0, y0, x0] = 0
    for plane in PLANES:
        other.adopt(plane, SHAPE[1:])
    told = []
    other.objects_changed.connect(told.append)
    recall(other, state.objects)
    assert other.objects[first.key] == first
    assert other.objects[second.key].origin is Origin.PAINTED
    assert other.objects[third.key].origin is Origin.PAINTED
    assert [change.after for change in told[-1]] == [first]
