# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.commit_policy import Overlap
from napari_sam.annotation.jobs import ModelThread
from napari_sam.annotation.phases import Editing, Loading, Ready
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import LabelsError, PhaseError, PromptError
from napari_sam.structures.prompts import BoxPrompt, PointPrompt, PromptSet

FLAT = PlaneKey()


def click(y: float, x: float) -> PromptSet:
    return PromptSet(points=(PointPrompt((y, x)),))


@pytest.fixture
def annotator(source, store, segmenter):
    annotator = Annotator(source, store)
    annotator.attach(segmenter)
    return annotator


@pytest.fixture
def threaded(source, store, segmenter):
    runner = ModelThread()
    annotator = Annotator(source, store, runner)
    annotator.attach(segmenter)
    yield annotator, runner
    runner.close()


def test_phases(annotator):
    assert isinstance(annotator.phase, Ready)
    annotator.set_prompts(FLAT, click(5, 5))
    assert isinstance(annotator.phase, Editing)
    annotator.discard()
    assert isinstance(annotator.phase, Ready)
    annotator.detach()
    assert isinstance(annotator.phase, Loading)


@pytest.mark.parametrize(
    ("call", "arguments"),
    [("set_prompts", (FLAT, click(5, 5))), ("prepare", (FLAT,)), ("commit", ())],
)
def test_calls_without_a_model_say_what_is_missing(source, store, call, arguments):
    with pytest.raises(PhaseError, match=r"attach|add a point"):
        getattr(Annotator(source, store), call)(*arguments)


def test_click_offers_the_object_and_commit_writes_it(annotator, source, store):
    seen, done = [], []
    annotator.candidates_changed.connect(lambda c, i: seen.append((c, i)))
    annotator.accepted.connect(done.append)
    annotator.set_prompts(FLAT, click(5, 5))
    candidates, chosen = seen[-1]
    assert chosen == 1  # the best of the three
    np.testing.assert_array_equal(candidates.masks[chosen], source.array == 7)
    assert store.array.max() == 0
    accepted = annotator.commit()
    np.testing.assert_array_equal(store.array == 1, source.array == 7)
    assert store.written == [(2, 3, 12, 13)]  # the mask's bounding box, no more
    assert done == [accepted]
    assert accepted.object_id == 1
    assert accepted.predicted_iou == pytest.approx(0.9)
    assert isinstance(annotator.phase, Ready)
    assert seen[-1] == (None, 0)


def test_box_prompt(annotator, source, store):
    annotator.set_prompts(FLAT, PromptSet(box=BoxPrompt(24, 39, 36, 56)))
    annotator.commit()
    np.testing.assert_array_equal(store.array > 0, source.array == 9)


def test_every_object_has_its_own_id(annotator, source, store):
    for position in [(5, 5), (5, 15), (30, 45)]:
        annotator.set_prompts(FLAT, click(*position))
        annotator.commit()
    for object_id, value in [(1, 7), (2, 8), (3, 9)]:
        np.testing.assert_array_equal(store.array == object_id, source.array == value)


def test_existing_objects_are_kept_unless_told_otherwise(annotator, source, store):
    store.array[2:7, 3:13] = 4  # the upper half of the rectangle
    annotator.set_prompts(FLAT, click(10, 5))
    annotator.commit()
    assert (store.array == 4).sum() == 50
    assert (store.array == 5).sum() == 50
    annotator.overlap = Overlap.OVERWRITE
    annotator.set_prompts(FLAT, click(10, 5))
    annotator.commit()
    np.testing.assert_array_equal(store.array == 6, source.array == 7)


def test_a_store_that_keeps_what_exists_wins_over_overwrite(annotator, store):
    store.array[2:7, 3:13] = 4
    store.keeps_existing = True
    annotator.overlap = Overlap.OVERWRITE
    annotator.set_prompts(FLAT, click(10, 5))
    annotator.commit()
    assert (store.array == 4).sum() == 50


def test_commit_that_cannot_write_keeps_the_prompts(annotator, store):
    store.array[:] = 3
    annotator.set_prompts(FLAT, click(5, 5))
    with pytest.raises(LabelsError):
        annotator.commit()
    assert isinstance(annotator.phase, Editing)
    assert store.written == []


def test_choose(annotator):
    seen = []
    with pytest.raises(PhaseError, match="no mask"):
        annotator.choose(0)
    annotator.set_prompts(FLAT, click(5, 5))
    annotator.candidates_changed.connect(lambda _, index: seen.append(index))
    annotator.choose(2)
    assert seen == [2]
    with pytest.raises(LabelsError, match="empty"):
        annotator.commit()
    with pytest.raises(PromptError, match="there are 3"):
        annotator.choose(3)


def test_plane_is_read_and_embedded_once(annotator, source, segmenter):
    ready = []
    annotator.embedding_changed.connect(lambda plane, is_ready: ready.append(is_ready))
    annotator.prepare(FLAT)
    for position in [(5, 5), (5, 15), (30, 45)]:
        annotator.set_prompts(FLAT, click(*position))
    assert (source.n_reads, segmenter.n_embedded) == (1, 1)
    assert ready == [False, True]


def test_planes_of_a_stack(stack_source, segmenter, regions):
    labels = np.zeros(stack_source.array.shape, np.uint32)
    from dataclasses import dataclass

    @dataclass
    class Store:
        keeps_existing: bool = False

        def next_id(self) -> int:
            return int(labels.max()) + 1

        def read(self, key, box):
            y0, x0, y1, x1 = box
            return labels[key.locate(slice(y0, y1), slice(x0, x1))].copy()

        def write(self, key, edit):
            y0, x0, y1, x1 = edit.box
            labels[key.locate(slice(y0, y1), slice(x0, x1))] = edit.new

    annotator = Annotator(stack_source, Store())
    annotator.attach(segmenter)
    annotator.set_prompts(PlaneKey((1, 2), (1,)), click(34, 5))
    annotator.commit()
    assert labels[0].max() == 0
    np.testing.assert_array_equal(labels[1] > 0, regions[::-1] == 7)


def test_new_pixels_make_a_new_embedding(annotator, source, segmenter, store):
    annotator.set_prompts(FLAT, click(5, 5))
    annotator.replace_source(type(source)(source.array[::-1]))
    assert isinstance(annotator.phase, Ready)
    annotator.set_prompts(FLAT, click(34, 5))
    annotator.commit()
    np.testing.assert_array_equal(store.array > 0, source.array[::-1] == 7)
    assert segmenter.n_embedded == 2


def test_model_change_clears_no_labels(annotator, store, segmenter):
    annotator.set_prompts(FLAT, click(5, 5))
    annotator.commit()
    before = store.array.copy()
    annotator.attach(type(segmenter)(name="another"))
    np.testing.assert_array_equal(store.array, before)


def test_error_is_reported_and_the_next_prompt_works(annotator, segmenter):
    errors = []
    annotator.failed.connect(errors.append)
    segmenter.error = RuntimeError("CUDA out of memory")
    annotator.set_prompts(FLAT, click(5, 5))
    assert errors == [segmenter.error]
    with pytest.raises(PhaseError, match="no mask"):
        annotator.commit()
    segmenter.error = None
    annotator.set_prompts(FLAT, click(6, 6))
    assert annotator.commit() is not None


def test_stale_answers_are_dropped(threaded, source):
    annotator, runner = threaded
    seen, go_on = [], threading.Event()
    annotator.candidates_changed.connect(lambda c, i: seen.append(c.masks[i]))
    runner.submit(lambda _: go_on.wait(5), priority=0)
    for position in [(5, 5), (5, 15), (30, 45)]:
        annotator.set_prompts(FLAT, click(*position))
    go_on.set()
    runner.wait(5)
    assert len(seen) == 1
    np.testing.assert_array_equal(seen[0], source.array == 9)


def test_discard_drops_the_answer_under_way(threaded):
    annotator, runner = threaded
    seen, go_on = [], threading.Event()
    runner.submit(lambda _: go_on.wait(5), priority=0)
    annotator.set_prompts(FLAT, click(5, 5))
    annotator.candidates_changed.connect(lambda c, i: seen.append(c))
    annotator.discard()
    go_on.set()
    runner.wait(5)
    assert seen == [None]
    assert isinstance(annotator.phase, Ready)


def test_accept_before_the_answer_commits_on_arrival(threaded, source, store):
    annotator, runner = threaded
    annotator.set_prompts(FLAT, click(5, 5))
    assert annotator.commit() is None
    runner.wait(5)
    np.testing.assert_array_equal(store.array == 1, source.array == 7)


def test_late_commit_that_fails_is_reported(threaded, store):
    annotator, runner = threaded
    errors = []
    annotator.failed.connect(errors.append)
    store.array[:] = 3
    annotator.set_prompts(FLAT, click(5, 5))
    annotator.commit()
    runner.wait(5)
    assert [type(error) for error in errors] == [LabelsError]


def test_leaving_a_plane_cancels_its_embedding(stack_source, store, segmenter):
    runner = ModelThread()
    annotator = Annotator(stack_source, store, runner)
    annotator.attach(segmenter)
    states, errors, go_on = [], [], threading.Event()
    annotator.embedding_changed.connect(lambda p, r: states.append((p.index, r)))
    annotator.failed.connect(errors.append)
    runner.submit(lambda _: go_on.wait(5), priority=0)
    annotator.prepare(PlaneKey((1, 2), (0,)))
    annotator.prepare(PlaneKey((1, 2), (1,)))
    go_on.set()
    runner.wait(5)
    runner.close()
    assert states == [((0,), False), ((1,), False), ((1,), True)]
    assert segmenter.n_embedded == 1
    assert errors == []


@pytest.mark.parametrize("overlap", list(Overlap))
def test_plan_is_what_commit_writes(annotator, store, overlap):
    assert annotator.planned_mask() is None
    store.array[2:12, 5] = 4  # two columns of the rectangle on its left
    annotator.overlap = overlap
    annotator.set_prompts(FLAT, click(6, 9))
    planned = annotator.planned_mask()
    assert planned.sum() == (70 if overlap is Overlap.KEEP else 100)
    annotator.commit()
    np.testing.assert_array_equal(store.array == 5, planned)


def test_plan_follows_labels_and_overlap(annotator, store):
    sizes = []
    annotator.set_prompts(FLAT, click(10, 5))
    annotator.candidates_changed.connect(
        lambda: sizes.append(int(annotator.planned_mask().sum()))
    )
    store.array[2:7, 3:13] = 4
    annotator.announce()
    annotator.overlap = Overlap.OVERWRITE
    annotator.overlap = Overlap.KEEP
    annotator.replace_labels(type(store)(np.zeros_like(store.array)))
    assert sizes == [50, 100, 50, 100]


def test_plane_asked_for_longest_ago_is_forgotten_first(segmenter, source, monkeypatch):
    monkeypatch.setattr("napari_sam.annotation.answers.MAX_EMBEDDINGS", 2)
    planes = type(source)(np.stack([source.array] * 3))
    annotator = Annotator(planes, None)
    annotator.attach(segmenter)
    for index in (0, 1, 0, 2, 0):
        annotator.set_prompts(PlaneKey((1, 2), (index,)), click(5, 5))
    assert segmenter.n_embedded == 3
