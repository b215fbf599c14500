# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.annotation import history as history_module
from napari_sam.annotation.commit_policy import CommitSettings, Overlap
from napari_sam.annotation.phases import Ready
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import LabelsError
from napari_sam.structures.drawn import DrawnPrompts, DrawnShape, ShapeKind
from napari_sam.structures.prompts import PointPrompt

FLAT = PlaneKey()
FRONT, BACK = PlaneKey((1, 2), (0,)), PlaneKey((1, 2), (1,))


def drawn(*points):
    return DrawnPrompts(points=tuple(PointPrompt(yx) for yx in points))


def rectangle(y0, x0, y1, x1):
    corners = ((y0, x0), (y0, x1), (y1, x1), (y1, x0))
    return DrawnPrompts(shapes=(DrawnShape(ShapeKind.RECTANGLE, corners),))


@pytest.fixture
def turbo(annotator):
    annotator.is_turbo = True
    return annotator


def test_turbo_accepts_the_first_prompt_and_one_undo_takes_it_back(
    turbo, source, store
):
    steps = []
    turbo.stepped.connect(lambda step, kind: steps.append((step.text, kind)))
    turbo.add_point(FLAT, (5, 5))
    np.testing.assert_array_equal(store.array == 1, source.array == 7)
    assert turbo.draft is None
    turbo.add_point(FLAT, (5, 15))
    assert [known.area for known in turbo.objects] == [100, 70]
    turbo.undo()
    assert [known.area for known in turbo.objects] == [100]
    assert turbo.draft is None
    assert isinstance(turbo.phase, Ready)
    turbo.redo()
    assert (store.array == 2).sum() == 70
    turbo.undo()
    turbo.undo()
    assert not store.array.any()
    assert turbo.ledger.history.undo_text == ""
    assert steps[:4] == [  # in the order in which they happened
        ("Change prompts", "do"),
        ("Accept object 1", "do"),
        ("Change prompts", "do"),
        ("Accept object 2", "do"),
    ]


def test_turbo_with_a_model_that_takes_its_time(held, store):
    annotator, runner = held
    annotator.is_turbo = True
    annotator.add_point(FLAT, (5, 5))
    assert not store.array.any()
    runner.run_all()
    assert (store.array == 1).sum() == 100
    annotator.undo()
    assert not store.array.any()
    assert annotator.draft is None


def test_turbo_joins_nothing_that_was_done_in_between(held, store):
    annotator, runner = held
    store.array[20:30, 3:13] = 4
    annotator.adopt(FLAT, (40, 60))
    annotator.is_turbo = True
    annotator.add_point(FLAT, (5, 5))
    annotator.change([(FLAT, 4)], class_name="cell")
    runner.run_all()
    assert (store.array == 5).sum() == 100
    annotator.undo()
    assert not (store.array == 5).any()
    assert annotator.objects[FLAT, 4].class_name == "cell"
    annotator.undo()
    assert annotator.objects[FLAT, 4].class_name == ""


def test_turbo_that_fails_leaves_the_prompts(turbo, store):
    store.array[:] = 3
    turbo.adopt(FLAT, (40, 60))
    errors = []
    turbo.failed.connect(errors.append)
    turbo.add_point(FLAT, (5, 5))
    assert [type(error) for error in errors] == [LabelsError]
    assert turbo.draft.drawn == drawn((5, 5))
    assert (store.array == 3).all()
    turbo.undo()
    assert turbo.draft is None
    assert turbo.ledger.history.undo_text == ""
    turbo.redo()
    assert turbo.draft.drawn == drawn((5, 5))
    assert (store.array == 3).all()  # accepted by hand, if at all
    turbo.settings = CommitSettings(overlap=Overlap.OVERWRITE)
    turbo.commit()
    assert (store.array == 4).sum() == 100


def test_after_a_failed_turbo_only_prompt_and_commit_are_one(turbo, store):
    store.array[:] = 3
    turbo.adopt(FLAT, (40, 60))
    turbo.add_point(FLAT, (5, 5))
    turbo.change([(FLAT, 3)], class_name="cell")
    turbo.settings = CommitSettings(overlap=Overlap.OVERWRITE)
    turbo.commit()
    turbo.undo()
    assert (store.array == 3).all()
    assert turbo.draft.drawn == drawn((5, 5))
    assert turbo.objects[FLAT, 3].class_name == "cell"


def test_turbo_does_not_accept_what_is_being_refined(turbo, store):
    turbo.add_point(FLAT, (5, 5))
    turbo.reopen(FLAT, 1)
    turbo.add_point(FLAT, (5, 15))
    assert turbo.draft is not None
    assert (store.array == 1).sum() == 100
    turbo.commit()
    assert (store.array == 1).sum() == 170


def test_turbo_survives_a_history_that_forgets(turbo, store, monkeypatch):
    monkeypatch.setattr(history_module, "MAX_BYTES", 10)
    turbo.add_point(FLAT, (5, 5))
    turbo.add_point(FLAT, (5, 15))
    turbo.undo()
    assert ((store.array == 1).sum(), (store.array == 2).sum()) == (100, 0)
