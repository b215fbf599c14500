# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.commit_policy import CommitSettings, LabelMode
from napari_sam.annotation.objects import Origin
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
def stack(stack_source, fakes, segmenter):
    """An annotator of two planes; the second is the first upside down."""
    store = fakes.Store(np.zeros(stack_source.array.shape, np.uint32))
    annotator = Annotator(stack_source, store)
    annotator.attach(segmenter)
    return annotator


# Objects that are opened again.


def test_reopened_object_has_its_prompts_and_keeps_its_id(annotator, source, store):
    annotator.class_name = "cell"
    annotator.add_point(FLAT, (5, 5))
    annotator.add_point(FLAT, (6, 6))
    annotator.commit()
    annotator.class_name = "fibre"
    prompts = []
    annotator.draft_changed.connect(lambda plane, draft: prompts.append(draft))
    annotator.reopen(FLAT, 1)
    assert prompts[-1].drawn == drawn((5, 5), (6, 6))
    assert annotator.shown.mask.area == 100  # its own pixels are free
    annotator.set_drawn(FLAT, drawn((5, 15)))
    made = annotator.commit()
    np.testing.assert_array_equal(store.array == 1, source.array == 8)
    assert (made.object_id, made.class_name, made.area) == (1, "cell", 70)
    assert list(annotator.objects) == [made]
    annotator.undo()
    np.testing.assert_array_equal(store.array == 1, source.array == 7)


def test_object_without_prompts_is_refined_from_its_own_mask(
    annotator, source, store, segmenter
):
    store.array[3:8, 4:9] = 6  # painted into the rectangle
    annotator.adopt(FLAT, (40, 60))
    annotator.reopen(FLAT, 6)
    mask = segmenter.asked[-1].mask
    assert (mask.box, mask.area) == ((3, 4, 8, 9), 25)
    made = annotator.commit()
    np.testing.assert_array_equal(store.array == 6, source.array == 7)
    assert made.origin is Origin.PAINTED
    annotator.undo()
    annotator.discard()
    assert (store.array == 6).sum() == 25


def test_reopened_and_accepted_as_it_was(annotator, store):
    annotator.add_point(FLAT, (5, 5))
    first = annotator.commit()
    annotator.reopen(FLAT, 1)
    again = annotator.commit()
    assert (again.box, again.area, again.turns) == (first.box, first.area, first.turns)
    assert again.seconds >= first.seconds
    assert (store.array == 1).sum() == 100


def test_reopening_again_returns_no_step(annotator):
    annotator.add_point(FLAT, (5, 5))
    annotator.commit()
    annotator.reopen(FLAT, 1)
    annotator.reopen(FLAT, 1)
    annotator.undo()
    assert annotator.draft is None
    with pytest.raises(LabelsError, match="no object 9"):
        annotator.reopen(FLAT, 9)


def test_reopening_while_prompting_shows_nothing_of_the_other(held):
    annotator, runner = held
    annotator.add_point(FLAT, (5, 5))
    annotator.commit()
    runner.run_all()
    annotator.add_point(FLAT, (30, 45))
    runner.run_all()
    annotator.reopen(FLAT, 1)
    assert annotator.shown is None
    runner.run_all()
    assert annotator.shown.mask.box == (2, 3, 12, 13)
    annotator.undo()
    assert annotator.draft.drawn == drawn((30, 45))


def test_pieces_of_a_label_survive_that_it_is_accepted_again(annotator, store, source):
    """An imported id that covers two cells, one of them roughly."""
    store.array[3:8, 4:9] = store.array[25:35, 40:55] = 6
    annotator.adopt(FLAT, (40, 60))
    annotator.reopen(FLAT, 6)
    annotator.set_drawn(FLAT, drawn((5, 5)))
    shown = annotator.shown.mask
    assert shown.box == (2, 3, 12, 13)
    made = annotator.commit()
    np.testing.assert_array_equal(store.array == 6, np.isin(source.array, [7, 9]))
    assert (made.area, made.box) == (250, (2, 3, 35, 55))
    assert list(annotator.objects) == [made]
    annotator.reopen(FLAT, 6)
    assert annotator.draft.drawn.mask.area == 250, "all of it, not the last prompts"
    annotator.undo()
    annotator.undo()
    assert (store.array == 6).sum() == 175


# Semantic mode: one value for each class.


def test_semantic_mode_gives_a_class_one_value(annotator, store, source):
    annotator.settings = CommitSettings(mode=LabelMode.SEMANTIC)
    for class_name, position in [("a", (5, 5)), ("b", (5, 15)), ("a", (30, 45))]:
        annotator.class_name = class_name
        annotator.add_point(FLAT, position)
        annotator.commit()
    np.testing.assert_array_equal(store.array == 1, np.isin(source.array, [7, 9]))
    np.testing.assert_array_equal(store.array == 2, source.array == 8)
    known = annotator.objects[FLAT, 1]
    assert (known.area, known.box, known.class_name) == (250, (2, 3, 35, 55), "a")
    annotator.undo()
    assert annotator.objects[FLAT, 1].area == 100
    np.testing.assert_array_equal(store.array == 1, source.array == 7)


def test_semantic_mode_keeps_the_value_on_other_planes(stack):
    stack.settings = CommitSettings(mode=LabelMode.SEMANTIC)
    stack.class_name = "a"
    stack.add_point(FRONT, (5, 5))
    stack.commit()
    stack.class_name = "b"
    stack.add_point(FRONT, (5, 15))
    stack.commit()
    stack.class_name = "a"
    stack.add_point(BACK, (34, 5))
    stack.commit()
    assert [(o.plane, o.object_id) for o in stack.objects] == [
        (FRONT, 1),
        (FRONT, 2),
        (BACK, 1),
    ]


def test_area_of_a_class_is_refined_as_a_whole(annotator, store, segmenter):
    """The prompts of the last of its masks do not stand for all of them."""
    annotator.settings = CommitSettings(mode=LabelMode.SEMANTIC)
    for position in [(5, 5), (30, 45)]:
        annotator.add_point(FLAT, position)
        annotator.commit()
    annotator.reopen(FLAT, 1)
    assert segmenter.asked[-1].mask.area == 250


def test_a_class_is_not_cut_by_its_own_pixels(source, store, segmenter):
    """In semantic mode a mask that reaches over pixels of its class joins them."""
    annotator = Annotator(source, store)
    annotator.attach(segmenter)
    annotator.settings = CommitSettings(mode=LabelMode.SEMANTIC)
    annotator.class_name = "cell"
    plane = PlaneKey()
    annotator.add_point(plane, (5, 15))
    value = annotator.commit().object_id
    # Both regions: the one that has the class already lies in the middle of it.
    annotator.add_point(plane, (5, 5))
    annotator.add_point(plane, (5, 15))
    assert annotator.shown.mask.area == 170
    annotator.commit()
    assert (store.array == value).sum() == 170
    (known,) = annotator.objects
    assert (known.area, known.class_name) == (170, "cell")
    annotator.add_point(plane, (5, 5))  # wholly on its own class: nothing is taken
    annotator.commit()
    assert (store.array == value).sum() == 170
