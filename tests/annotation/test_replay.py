# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.commit_policy import CommitSettings, Overlap
from napari_sam.annotation.history import PlaneEdit
from napari_sam.annotation.ports import PlaneKey
from napari_sam.annotation.replay import replay
from napari_sam.annotation.state import AnnotationState
from napari_sam.structures.labels import LabelEdit

FLAT = PlaneKey()


@pytest.fixture
def annotator(source, store, segmenter):
    annotator = Annotator(source, store)
    annotator.attach(segmenter)
    return annotator


def click(annotator, *points, plane=FLAT):
    """Make one object of (y, x, label) points."""
    for y, x, label in points:
        annotator.add_point(plane, (float(y), float(x)), label)
    return annotator.commit()


def state_of(annotator, store):
    axes = (store.array.ndim - 2, store.array.ndim - 1)
    keys = [PlaneKey(axes, i) for i in np.ndindex(store.array.shape[:-2])]
    return AnnotationState(
        image_identity="regions",
        shape=store.array.shape,
        settings=annotator.settings,
        objects=tuple(annotator.objects),
        labels={key: store.array[key.index].copy() for key in keys},
    )


def test_same_prompts_give_the_same_labels(annotator, source, store, segmenter):
    annotator.class_name = "nucleus"
    click(annotator, (5, 5, 1))
    click(annotator, (5, 15, 1), (30, 50, 1), (5, 16, 1))
    annotator.add_point(FLAT, (1.0, 1.0))
    annotator.next_candidate()
    annotator.commit()
    state = state_of(annotator, store)
    seen = []
    done = replay(
        state, segmenter, source, progress=lambda *numbers: seen.append(numbers)
    )
    np.testing.assert_array_equal(done.labels, store.array)
    assert [item.iou for item in done.remade] == [1.0, 1.0, 1.0]
    assert done.below(1.0) == done.taken == []
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_what_was_chosen_is_chosen_again(annotator, source, store, segmenter):
    annotator.add_point(FLAT, (5.0, 5.0))
    annotator.choose(1)
    assert annotator.commit().area == 1
    done = replay(state_of(annotator, store), segmenter, source)
    np.testing.assert_array_equal(done.labels, store.array)


def test_other_rule_for_overlaps(annotator, source, store, segmenter):
    annotator.settings = CommitSettings(overlap=Overlap.OVERWRITE)
    click(annotator, (5, 5, 1))
    annotator.add_point(FLAT, (30.0, 50.0))
    annotator.choose(3)  # the whole plane
    annotator.commit()
    click(annotator, (5, 15, 1))
    state = state_of(annotator, store)
    assert len(state.objects) == 2
    done = replay(state, segmenter, source)
    np.testing.assert_array_equal(done.labels, store.array)


def test_other_model_is_found_out(annotator, source, store, segmenter):
    click(annotator, (5, 5, 1))
    click(annotator, (30, 50, 1))
    state = state_of(annotator, store)
    source.array[7:12, 3:13] = 0  # now the model sees half of the first object
    done = replay(state, segmenter, source)
    (worse,) = done.below(0.99)
    assert worse.item.object_id == 1
    assert worse.iou == 0.5
    assert done.objects[1].iou == 1.0


def test_work_of_hands_is_taken_and_kept(annotator, source, store, segmenter):
    click(annotator, (5, 5, 1))
    click(annotator, (30, 50, 1))
    box = (2, 13, 12, 22)
    old = store.array[2:12, 13:22].copy()
    new = np.full_like(old, 9)
    store.array[2:12, 13:22] = new
    annotator.record_painting([PlaneEdit(FLAT, LabelEdit(box, old, new))])
    box = (2, 3, 4, 5)
    old = store.array[2:4, 3:5].copy()
    new = np.zeros_like(old)
    store.array[2:4, 3:5] = new
    annotator.record_painting([PlaneEdit(FLAT, LabelEdit(box, old, new))])
    state = state_of(annotator, store)
    done = replay(state, segmenter, source)
    np.testing.assert_array_equal(done.labels, store.array)
    reasons = {item.item.object_id: item.taken for item in done.objects}
    assert reasons == {
        1: "edited by hand after it was accepted",
        2: "",
        9: "painted by hand",
    }


def test_painted_object_is_not_overwritten(annotator, source, store, segmenter):
    annotator.settings = CommitSettings(overlap=Overlap.OVERWRITE)
    click(annotator, (5, 5, 1))
    old = store.array[4:6, 4:6].copy()
    new = np.full_like(old, 9)
    edit = PlaneEdit(FLAT, LabelEdit((4, 4, 6, 6), old, new))
    store.array[4:6, 4:6] = new
    annotator.record_painting([edit])
    state = state_of(annotator, store)
    # As if only the painted one had been noticed.
    accepted = replace(state.objects[0], status="accepted")
    done = replay(
        replace(state, objects=(accepted, *state.objects[1:])), segmenter, source
    )
    np.testing.assert_array_equal(done.labels, store.array)


def test_labels_that_nobody_knows_are_kept(annotator, source, store, segmenter):
    store.array[20:22, 3:6] = 77
    click(annotator, (5, 5, 1))
    state = state_of(annotator, store)
    assert [item.object_id for item in state.objects] == [78]
    done = replay(state, segmenter, source)
    np.testing.assert_array_equal(done.labels, store.array)
    assert done.n_unknown == 1


def test_object_that_cannot_be_made(annotator, source, store, segmenter):
    made = click(annotator, (5, 5, 1))
    click(annotator, (30, 50, 1))
    state = state_of(annotator, store)
    twin = replace(made, object_id=5)
    state = replace(state, objects=(*state.objects, twin))
    done = replay(state, segmenter, source)
    (lost,) = [item for item in done.objects if item.problem]
    assert lost.item == twin
    assert "whole mask lies on" in lost.problem
    segmenter.error = ValueError("no memory")
    done = replay(state, segmenter, source)
    assert [item.iou for item in done.objects[:2]] == [0.0, 0.0]
    assert "no memory" in done.objects[0].problem


def test_planes_of_a_stack_are_embedded_once(stack_source, segmenter):
    from typing import Any

    class Store:
        keeps_existing = False
        array = np.zeros(stack_source.array.shape, np.uint16)

        def next_id(self) -> int:
            return int(self.array.max()) + 1

        def forget_id(self, object_id: int) -> None:
            """Nothing is counted here."""

        def read(self, key: PlaneKey, box: Any) -> np.ndarray:
            y0, x0, y1, x1 = box
            return self.array[key.locate(slice(y0, y1), slice(x0, x1))].copy()

        def write(self, key: PlaneKey, edit: Any) -> None:
            y0, x0, y1, x1 = edit.box
            self.array[key.locate(slice(y0, y1), slice(x0, x1))] = edit.new

    store = Store()
    annotator = Annotator(stack_source, store)
    annotator.attach(segmenter)
    first, second = PlaneKey((1, 2), (0,)), PlaneKey((1, 2), (1,))
    click(annotator, (5, 5, 1), plane=first)
    click(annotator, (30, 5, 1), plane=second)
    click(annotator, (5, 15, 1), plane=first)
    segmenter.n_embedded = 0
    done = replay(state_of(annotator, store), segmenter, stack_source)
    np.testing.assert_array_equal(done.labels, store.array)
    assert done.labels.dtype == np.uint32
    assert segmenter.n_embedded == 2
