# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.commit_policy import CommitSettings, Overlap
from napari_sam.annotation.objects import Origin, Status
from napari_sam.annotation.phases import Editing, Loading, Ready
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import LabelsError, PhaseError, PromptError
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
def stack(stack_source, fakes, segmenter):
    """An annotator of two planes; the second is the first upside down."""
    store = fakes.Store(np.zeros(stack_source.array.shape, np.uint32))
    annotator = Annotator(stack_source, store)
    annotator.attach(segmenter)
    return annotator


def test_phases(annotator):
    seen = []
    annotator.phase_changed.connect(lambda phase: seen.append(type(phase)))
    assert isinstance(annotator.phase, Ready)
    annotator.add_point(FLAT, (5, 5))
    assert isinstance(annotator.phase, Editing)
    annotator.discard()
    assert isinstance(annotator.phase, Ready)
    annotator.detach()
    assert isinstance(annotator.phase, Loading)
    assert seen == [Editing, Editing, Ready, Loading]


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("set_drawn", (FLAT, drawn((5, 5)))),
        ("add_point", (FLAT, (5, 5))),
        ("reopen", (FLAT, 1)),
        ("commit", ()),
        ("next_candidate", ()),
        ("choose", (0,)),
    ],
)
def test_calls_without_a_model_say_what_is_missing(source, store, call, arguments):
    with pytest.raises(PhaseError, match=r"attach|add a point"):
        getattr(Annotator(source, store), call)(*arguments)


def test_click_offers_the_object_and_commit_writes_it(annotator, source, store):
    seen, done = [], []
    annotator.answer_changed.connect(seen.append)
    annotator.accepted.connect(done.append)
    annotator.class_name = "cell"
    annotator.add_point(FLAT, (5, 5))
    shown = seen[-1]
    assert (shown.index, shown.name) == (2, "medium")  # the best of the three readings
    assert shown.predicted_iou == pytest.approx(0.9)
    np.testing.assert_array_equal(shown.mask.on_plane((40, 60)), source.array == 7)
    assert store.array.max() == 0
    made = annotator.commit()
    np.testing.assert_array_equal(store.array == 1, source.array == 7)
    assert store.written == [(2, 3, 12, 13)]  # the mask's bounding box, no more
    assert done == [made]
    assert list(annotator.objects) == [made]
    assert (made.object_id, made.box, made.area) == (1, (2, 3, 12, 13), 100)
    assert made.predicted_iou == pytest.approx(0.9)
    assert (made.class_name, made.candidate, made.model) == (
        "cell",
        "medium",
        "regions",
    )
    assert (made.status, made.origin) == (Status.ACCEPTED, Origin.PROMPTS)
    assert made.seconds > 0
    assert [(turn.drawn, turn.choice) for turn in made.turns] == [(drawn((5, 5)), 2)]
    assert isinstance(annotator.phase, Ready)
    assert seen[-1] is None
    assert annotator.draft is None


def test_box_prompt(annotator, source, store):
    annotator.set_drawn(FLAT, rectangle(24, 39, 36, 56))
    assert annotator.shown.name == "single"
    annotator.commit()
    np.testing.assert_array_equal(store.array > 0, source.array == 9)


def test_negative_point_alone_asks_nothing(annotator, segmenter):
    annotator.add_point(FLAT, (5, 5), label=0)
    assert isinstance(annotator.phase, Ready)
    assert segmenter.asked == []
    annotator.add_point(FLAT, (5, 15))
    assert isinstance(annotator.phase, Editing)


def test_every_object_has_its_own_id(annotator, source, store):
    for position in [(5, 5), (5, 15), (30, 45)]:
        annotator.add_point(FLAT, position)
        annotator.commit()
    for object_id, value in [(1, 7), (2, 8), (3, 9)]:
        np.testing.assert_array_equal(store.array == object_id, source.array == value)


@pytest.mark.parametrize(
    ("overlap", "n_old", "n_new"),
    [(Overlap.KEEP, 50, 50), (Overlap.FILL, 50, 50), (Overlap.OVERWRITE, 0, 100)],
)
def test_existing_objects_are_kept_unless_told_otherwise(
    annotator, store, overlap, n_old, n_new
):
    store.array[2:7, 3:13] = 4  # the upper half of the rectangle
    annotator.adopt(FLAT, (40, 60))
    annotator.settings = CommitSettings(overlap=overlap)
    annotator.add_point(FLAT, (10, 5))
    annotator.commit()
    assert ((store.array == 4).sum(), (store.array == 5).sum()) == (n_old, n_new)
    areas = {known.object_id: known.area for known in annotator.objects}
    assert areas == {i: n for i, n in [(4, n_old), (5, n_new)] if n}


def test_a_store_that_keeps_what_exists_wins_over_overwrite(annotator, store):
    store.array[2:7, 3:13] = 4
    store.keeps_existing = True
    annotator.settings = CommitSettings(overlap=Overlap.OVERWRITE)
    annotator.add_point(FLAT, (10, 5))
    annotator.commit()
    assert (store.array == 4).sum() == 50


def test_nothing_is_taken_from_a_locked_object(annotator, store):
    annotator.settings = CommitSettings(overlap=Overlap.OVERWRITE)
    store.array[2:7, 3:13] = 4
    annotator.adopt(FLAT, (40, 60))
    sizes = []
    annotator.add_point(FLAT, (10, 5))
    listener = annotator.answer_changed.connect(lambda s: sizes.append(s.mask.area))
    annotator.change([(FLAT, 4)], is_locked=True)
    assert sizes == [50]  # the preview knows of the lock at once
    annotator.answer_changed.disconnect(listener)
    annotator.commit()
    assert ((store.array == 4).sum(), (store.array == 5).sum()) == (50, 50)
    with pytest.raises(LabelsError, match="locked"):
        annotator.reopen(FLAT, 4)


def test_commit_that_cannot_write_keeps_the_prompts(annotator, store):
    store.array[:] = 3
    annotator.add_point(FLAT, (5, 5))
    with pytest.raises(LabelsError, match="overwrite"):
        annotator.commit()
    assert isinstance(annotator.phase, Editing)
    assert annotator.draft.drawn == drawn((5, 5))
    assert store.written == []


def test_too_small_a_mask_is_refused(annotator, store):
    annotator.settings = CommitSettings(min_area=101)
    annotator.add_point(FLAT, (5, 5))
    with pytest.raises(LabelsError, match="100 pixels"):
        annotator.commit()
    annotator.settings = CommitSettings(min_area=100)
    annotator.commit()
    assert (store.array == 1).sum() == 100


def test_store_that_refuses_leaves_everything(annotator, store):
    annotator.add_point(FLAT, (5, 5))
    draft, store.n_allowed = annotator.draft, 0
    with pytest.raises(LabelsError, match="locked"):
        annotator.commit()
    assert annotator.draft == draft
    assert len(annotator.objects) == 0
    assert annotator.ledger.history.undo_text == "Change prompts"
    annotator.commit()
    assert (store.array == 1).sum() == 100


def test_choose(annotator, store):
    with pytest.raises(PhaseError, match="no mask"):
        annotator.choose(0)
    annotator.add_point(FLAT, (5, 5))
    seen = []
    annotator.answer_changed.connect(lambda shown: seen.append(shown and shown.index))
    annotator.choose(1)
    annotator.choose(1)
    assert seen == [1]
    with pytest.raises(PromptError, match="there are 4"):
        annotator.choose(4)
    made = annotator.commit()
    assert seen == [1, None]
    assert (made.area, made.candidate) == (1, "small")
    assert store.array[5, 5] == 1


def test_walking_goes_from_small_to_large_and_round(annotator):
    annotator.add_point(FLAT, (5, 5))
    names = []
    annotator.answer_changed.connect(lambda shown: names.append(shown.name))
    for step in (1, 1, 1, -1):
        annotator.next_candidate(step)
    assert names == ["large", "small", "medium", "small"]


def test_clear_prompts_begin_with_the_single_answer(annotator):
    annotator.set_drawn(FLAT, rectangle(2, 3, 11, 12))
    assert annotator.shown.order == (0, 1, 2, 3)
    annotator.next_candidate()
    assert annotator.shown.name == "small"


@pytest.mark.parametrize("size", ["small", "medium", "large"])
def test_preference_holds_for_ambiguous_prompts(annotator, size):
    annotator.preference = size
    annotator.add_point(FLAT, (5, 5))
    assert annotator.shown.name == size
    annotator.add_point(FLAT, (6, 6))
    assert annotator.shown.name == "single"


def test_plane_is_read_and_embedded_once(annotator, source, segmenter):
    ready = []
    annotator.embedding_changed.connect(lambda plane, is_ready: ready.append(is_ready))
    annotator.look_at(FLAT)
    for position in [(5, 5), (5, 15), (30, 45)]:
        annotator.set_drawn(FLAT, drawn(position))
    assert (source.n_reads, segmenter.n_embedded) == (1, 1)
    assert ready == [False, True]


def test_planes_of_a_stack(stack, regions):
    labels = stack.labels.array
    stack.add_point(BACK, (34, 5))
    stack.commit()
    assert labels[0].max() == 0
    np.testing.assert_array_equal(labels[1] > 0, regions[::-1] == 7)


def test_each_plane_keeps_its_prompts(stack):
    stack.add_point(FRONT, (5, 5))
    stack.add_point(BACK, (34, 15))
    assert stack.plane == BACK
    assert stack.draft.drawn == drawn((34, 15))
    stack.look_at(FRONT)
    assert stack.draft.drawn == drawn((5, 5))
    assert stack.commit().plane == FRONT
    assert stack.draft is None
    stack.look_at(BACK)
    assert stack.commit().plane == BACK
    stack.undo()
    stack.undo()
    assert stack.plane == FRONT
    assert stack.shown.mask.area == 100


def test_new_pixels_make_a_new_embedding(annotator, source, segmenter, store):
    annotator.add_point(FLAT, (5, 5))
    annotator.discard()
    annotator.replace_source(type(source)(source.array[::-1]))
    annotator.add_point(FLAT, (34, 5))
    annotator.commit()
    np.testing.assert_array_equal(store.array > 0, source.array[::-1] == 7)
    assert segmenter.n_embedded == 2


def test_prompts_are_answered_anew_from_new_pixels(annotator, source):
    annotator.add_point(FLAT, (5, 5))
    pixels = source.array.copy()
    pixels[2:12, 3:8] = 5
    annotator.replace_source(type(source)(pixels))
    assert annotator.shown.mask.area == 50


def test_model_change_clears_nothing(annotator, store, segmenter):
    annotator.add_point(FLAT, (5, 5))
    annotator.commit()
    annotator.add_point(FLAT, (5, 15))
    before = store.array.copy()
    annotator.attach(type(segmenter)(name="another"))
    np.testing.assert_array_equal(store.array, before)
    assert annotator.draft.drawn == drawn((5, 15))
    assert annotator.commit().model == "another"
    for _ in range(4):
        annotator.undo()
    assert not store.array.any()


def test_commit_when_the_model_was_taken_away(annotator, store, segmenter):
    annotator.add_point(FLAT, (5, 5))
    annotator.detach()
    assert annotator.shown is None
    with pytest.raises(PhaseError):
        annotator.commit()
    annotator.attach(segmenter)
    annotator.commit()
    assert (store.array == 1).sum() == 100


def test_objects_are_edited_without_a_model(annotator, store, segmenter):
    annotator.add_point(FLAT, (5, 5))
    annotator.commit()
    annotator.detach()
    annotator.delete([(FLAT, 1)])
    assert not store.array.any()
    annotator.undo()
    annotator.undo()
    assert annotator.draft.drawn == drawn((5, 5))
    assert isinstance(annotator.phase, Loading)
    annotator.attach(segmenter)
    assert annotator.shown.mask.area == 100


def test_error_is_reported_and_the_next_prompt_works(annotator, segmenter):
    errors = []
    annotator.failed.connect(errors.append)
    segmenter.error = RuntimeError("CUDA out of memory")
    annotator.add_point(FLAT, (5, 5))
    assert errors == [segmenter.error]
    with pytest.raises(PhaseError, match="no mask"):
        annotator.commit()
    segmenter.error = None
    annotator.add_point(FLAT, (6, 6))
    assert annotator.commit() is not None


@pytest.mark.parametrize("overlap", list(Overlap))
def test_plan_is_what_commit_writes(annotator, store, overlap):
    store.array[2:12, 5] = 4  # two columns of the rectangle on its left
    annotator.settings = CommitSettings(overlap=overlap)
    annotator.add_point(FLAT, (6, 9))
    planned = annotator.shown.mask.on_plane((40, 60))
    expected = {Overlap.KEEP: 70, Overlap.FILL: 90, Overlap.OVERWRITE: 100}
    assert planned.sum() == expected[overlap]
    annotator.commit()
    np.testing.assert_array_equal(store.array == 5, planned)


def test_plan_follows_labels_and_rule(annotator, store):
    annotator.add_point(FLAT, (10, 5))
    store.array[2:7, 3:13] = 4
    sizes = []
    annotator.answer_changed.connect(lambda shown: sizes.append(shown.mask.area))
    annotator.announce()
    annotator.settings = CommitSettings(overlap=Overlap.OVERWRITE)
    annotator.settings = CommitSettings()
    annotator.replace_labels(type(store)(np.zeros_like(store.array)))
    assert sizes == [50, 100, 50, 100]


def test_cleaning_follows_the_rule_without_asking_the_model(
    annotator, source, segmenter
):
    source.array[5, 8] = 0  # a hole in the rectangle
    source.array[20, 30] = 7  # and a speck
    annotator.add_point(FLAT, (3, 4))
    areas = [annotator.shown.mask.area]
    for rule in ({"fill_holes": False}, {"largest_piece": False, "drop_specks": False}):
        annotator.settings = CommitSettings(**rule)
        areas.append(annotator.shown.mask.area)
    assert areas == [100, 99, 101]
    assert len(segmenter.asked) == 1


def test_plane_asked_for_longest_ago_is_forgotten_first(
    segmenter, source, store, monkeypatch
):
    monkeypatch.setattr("napari_sam.annotation.answers.MAX_EMBEDDINGS", 2)
    planes = type(source)(np.stack([source.array] * 3))
    annotator = Annotator(planes, type(store)(np.zeros(planes.array.shape, np.uint8)))
    annotator.attach(segmenter)
    for index in (0, 1, 0, 2, 0):
        plane = PlaneKey((1, 2), (index,))
        annotator.set_drawn(plane, drawn((5, 5)) if index else rectangle(2, 3, 9, 9))
        annotator.discard()
    assert segmenter.n_embedded == 3
