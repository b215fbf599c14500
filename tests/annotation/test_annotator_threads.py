# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from napari_sam.annotation import history as history_module
from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.jobs import ModelThread
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
def threaded(source, store, segmenter):
    runner = ModelThread()
    annotator = Annotator(source, store, runner)
    annotator.attach(segmenter)
    yield annotator, runner
    runner.close()


def test_stale_answers_are_dropped(threaded, source):
    annotator, runner = threaded
    seen, go_on = [], threading.Event()
    runner.submit(lambda _: go_on.wait(5), priority=0)
    for position in [(5, 5), (5, 15), (30, 45)]:
        annotator.set_drawn(FLAT, drawn(position))
    annotator.answer_changed.connect(seen.append)
    go_on.set()
    runner.wait(5)
    assert len(seen) == 1
    np.testing.assert_array_equal(seen[0].mask.on_plane((40, 60)), source.array == 9)


def test_late_answer_of_a_running_question_is_dropped(held):
    annotator, runner = held
    annotator.add_point(FLAT, (5, 5))
    asked_first = runner.begin()
    annotator.set_drawn(FLAT, drawn((5, 15)))
    runner.finish(asked_first)
    assert annotator.shown is None
    runner.run_all()
    assert annotator.shown.mask.box == (2, 13, 12, 20)


def test_discard_drops_the_answer_under_way(held):
    annotator, runner = held
    annotator.add_point(FLAT, (5, 5))
    asked = runner.begin()
    seen = []
    annotator.answer_changed.connect(seen.append)
    annotator.discard()
    runner.finish(asked)
    assert seen == [None]
    assert isinstance(annotator.phase, Ready)


def test_answer_of_a_model_that_was_replaced_is_dropped(held, fakes):
    annotator, runner = held
    annotator.add_point(FLAT, (5, 5))
    asked = runner.begin()
    other = fakes.Segmenter(name="other")
    annotator.attach(other)
    runner.finish(asked)
    assert annotator.shown is None
    runner.run_all()
    assert annotator.shown.mask.area == 100
    assert len(other.asked) == 1


def test_accept_before_the_answer_commits_on_arrival(held, source, store):
    annotator, runner = held
    annotator.add_point(FLAT, (5, 5))
    assert annotator.commit() is None
    runner.run_all()
    np.testing.assert_array_equal(store.array == 1, source.array == 7)
    annotator.undo()
    assert not store.array.any()
    assert annotator.draft.drawn == drawn((5, 5))


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.add_point(FLAT, (5, 15)),
        lambda a: a.undo(),
        lambda a: a.discard(),
        lambda a: a.detach(),
        lambda a: a.replace_labels(a.labels),
    ],
)
def test_accept_is_for_the_prompts_that_it_was_said_of(held, store, segmenter, change):
    annotator, runner = held
    annotator.add_point(FLAT, (5, 5))
    annotator.commit()
    change(annotator)
    annotator.attach(segmenter)
    if annotator.draft is None:
        annotator.add_point(FLAT, (6, 6))
    runner.run_all()
    assert annotator.shown is not None
    assert not store.array.any()


def test_accept_is_for_the_plane_that_it_was_said_of(stack_source, fakes, segmenter):
    runner = fakes.HeldRunner()
    store = fakes.Store(np.zeros(stack_source.array.shape, np.uint8))
    annotator = Annotator(stack_source, store, runner)
    annotator.attach(segmenter)
    annotator.add_point(BACK, (34, 5))
    annotator.add_point(FRONT, (5, 5))
    annotator.commit()
    annotator.look_at(BACK)
    runner.run_all()
    assert annotator.shown is not None
    assert not store.array.any()


def test_late_commit_that_fails_is_reported(held, store):
    annotator, runner = held
    errors = []
    annotator.failed.connect(errors.append)
    store.array[:] = 3
    annotator.add_point(FLAT, (5, 5))
    annotator.commit()
    runner.run_all()
    assert [type(error) for error in errors] == [LabelsError]
    assert annotator.draft is not None


def test_leaving_a_plane_cancels_its_embedding(stack_source, fakes, segmenter):
    runner = fakes.HeldRunner()
    annotator = Annotator(stack_source, None, runner)
    annotator.attach(segmenter)
    states, errors = [], []
    annotator.embedding_changed.connect(lambda p, r: states.append((p.index, r)))
    annotator.failed.connect(errors.append)
    annotator.look_at(FRONT)
    assert annotator.desk.is_embedding
    annotator.look_at(BACK)
    runner.run_all()
    assert states == [((0,), False), ((1,), False), ((1,), True)]
    assert segmenter.n_embedded == 1
    assert errors == []
    assert not annotator.desk.is_embedding


def test_a_thousand_clicks_leave_nothing_behind(source, store, segmenter):
    runner = ModelThread()
    annotator = Annotator(source, store, runner)
    annotator.attach(segmenter)
    threads = threading.active_count()
    places = [(5, 5), (5, 15), (30, 45)]
    for i in range(1000):
        y, x = places[i % 3]
        annotator.add_point(FLAT, (y + i % 2, x + i % 4))
        if i % 10 == 9:
            runner.wait(5)
            annotator.undo()
            annotator.redo()
            annotator.commit() if i % 20 == 9 else annotator.discard()
            runner.wait(5)
            if annotator.objects:
                annotator.delete([known.key for known in annotator.objects])
    runner.wait(5)
    assert len(annotator.ledger.history._done) <= history_module.MAX_STEPS
    assert len(annotator.desk._memory._answers) <= 64
    assert not runner.is_busy
    assert len(runner._generations) <= 4
    assert threading.active_count() <= threads + 1
    segmenter.asked.clear()
    gone = weakref.ref(annotator)
    del annotator
    gc.collect()
    assert gone() is None
    runner.close()


def test_long_drafts_stay_quick_to_undo(annotator, store, segmenter):
    for i in range(40):
        annotator.add_point(FLAT, (2 + i % 10, 3 + i % 9))
    for _ in range(40):
        annotator.undo()
    assert annotator.draft is None
    assert not store.array.any()
    assert len(segmenter.asked) <= 40
