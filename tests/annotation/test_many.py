# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_sam.annotation.commit_policy import CommitSettings, LabelMode, Overlap
from napari_sam.annotation.ledger import Ledger
from napari_sam.annotation.many import write_step
from napari_sam.annotation.object_changes import measured, unknown_objects
from napari_sam.annotation.objects import (
    AnnotatedObject,
    ObjectChange,
    Origin,
    Status,
    Turn,
)
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import LabelsError
from napari_sam.structures.drawn import DrawnPrompts
from napari_sam.structures.mask_window import MaskWindow

FLAT = PlaneKey()
FRONT, BACK = PlaneKey((1, 2), (0,)), PlaneKey((1, 2), (1,))


def square(y0, x0, size=10):
    return MaskWindow(y0, x0, np.ones((size, size), bool))


def like(iou=None, plane=FLAT, **fields):
    return AnnotatedObject(
        0, plane, (0, 0, 0, 0), 0, predicted_iou=iou, origin=Origin.BATCH, **fields
    )


@pytest.fixture
def ledger(store):
    """Object 5 covers rows 0 to 4 of the first twenty columns."""
    store.array[0:5, 0:20] = 5
    ledger = Ledger(store)
    ledger.note(unknown_objects(ledger.objects, store, FLAT, (40, 60)))
    return ledger


def write(ledger, items, **rule):
    step, made = write_step(ledger, CommitSettings(**rule), "Write", items)
    ledger.do(step)
    return made


def assert_table_is_true(ledger, planes=(FLAT,)):
    for plane in planes:
        image = ledger.labels.array[plane.locate(slice(None), slice(None))]
        known = {o.object_id: (o.box, o.area) for o in ledger.objects.on_plane(plane)}
        assert known == {i: (box, area) for i, box, area in measured(image)}


def test_the_better_mask_keeps_what_two_claim(ledger, store):
    made = write(ledger, [(square(20, 20), like(0.4)), (square(25, 25), like(0.9))])
    assert [(o.object_id, o.predicted_iou, o.area) for o in made] == [
        (6, 0.9, 100),
        (7, 0.4, 75),
    ]
    assert (store.array == 6).sum() == 100
    assert_table_is_true(ledger)


@pytest.mark.parametrize(
    ("overlap", "n_old", "n_new"),
    [(Overlap.KEEP, 100, 50), (Overlap.FILL, 100, 50), (Overlap.OVERWRITE, 50, 100)],
)
def test_older_objects_are_treated_by_the_rule(ledger, store, overlap, n_old, n_new):
    write(ledger, [(square(0, 0), like(0.9))], overlap=overlap)
    assert ((store.array == 5).sum(), (store.array == 6).sum()) == (n_old, n_new)
    assert_table_is_true(ledger)


def test_overwriting_spares_locked_objects_and_those_just_written(ledger, store):
    known = ledger.objects[FLAT, 5]
    ledger.note([ObjectChange(known, replace(known, is_locked=True))])
    items = [(square(0, 0), like(0.9)), (square(4, 0), like(0.8))]
    write(ledger, items, overlap=Overlap.OVERWRITE)
    assert [(store.array == i).sum() for i in (5, 6, 7)] == [100, 50, 40]
    assert_table_is_true(ledger)


def test_a_store_that_keeps_what_exists_is_the_stricter_one(ledger, store):
    store.keeps_existing = True
    write(ledger, [(square(0, 0), like(0.9))], overlap=Overlap.OVERWRITE)
    assert (store.array == 5).sum() == 100


def test_masks_without_room_or_size_are_left_out(ledger):
    empty = MaskWindow.of_mask(np.zeros((3, 3), bool))
    items = [
        (square(0, 0, size=4), like(0.9)),  # all on object 5
        (empty, like(0.9)),
        (square(20, 20, size=3), like(0.9)),  # too small
        (square(30, 30), like(0.1)),
    ]
    made = write(ledger, items, min_area=10)
    assert [(known.object_id, known.area) for known in made] == [(6, 100)]
    assert_table_is_true(ledger)


def test_what_is_known_of_an_object_is_kept(ledger):
    template = like(0.7, class_name="cell", status=Status.PROPOSED, model="m")
    (made,) = write(ledger, [(square(20, 20), template)])
    assert made == replace(template, object_id=6, box=(20, 20, 30, 30), area=100)
    assert ledger.objects[FLAT, 6] == made


def test_planes_are_written_as_one_step(fakes):
    ledger = Ledger(fakes.Store(np.zeros((2, 40, 40), np.uint16)))
    items = [(square(2, 2), like(0.5, BACK)), (square(2, 2), like(None, FRONT))]
    made = write(ledger, items)
    assert [(known.plane, known.object_id) for known in made] == [(BACK, 1), (FRONT, 2)]
    assert_table_is_true(ledger, (FRONT, BACK))
    ledger.undo()
    assert not ledger.labels.array.any()
    assert len(ledger.objects) == 0


def test_masks_of_a_class_become_one_object(ledger, store):
    items = [
        (square(20, 20), like(0.9, class_name="a", is_locked=True, seconds=1.0)),
        (square(25, 25), like(0.8, class_name="b")),
        (square(22, 12), like(0.7, class_name="a", seconds=2.0)),
        (square(21, 21, size=3), like(0.6, class_name="a")),  # on its own class
    ]
    made = write(ledger, items, mode=LabelMode.SEMANTIC)
    assert [(o.object_id, o.class_name, o.area, o.box) for o in made] == [
        (6, "a", 184, (20, 12, 32, 30)),
        (7, "b", 75, (25, 25, 35, 35)),
    ]
    assert {o.origin for o in made} == {Origin.CLASS}
    assert (made[0].is_locked, made[0].seconds) == (False, 3.0)
    assert_table_is_true(ledger)
    (more,) = write(
        ledger, [(square(0, 40), like(0.9, class_name="a"))], mode=LabelMode.SEMANTIC
    )
    assert (more.object_id, more.area, more.box) == (6, 284, (0, 12, 32, 50))
    assert ledger.objects[FLAT, 6] == more
    assert_table_is_true(ledger)
    ledger.undo()
    assert ledger.objects[FLAT, 6] == made[0]
    assert_table_is_true(ledger)
    ledger.undo()
    assert [known.object_id for known in ledger.objects] == [5]


def test_a_class_has_its_value_on_each_plane(fakes):
    ledger = Ledger(fakes.Store(np.zeros((2, 40, 40), np.uint16)))
    turns = (Turn(DrawnPrompts()),)
    items = [
        (square(2, 2), like(0.5, plane, class_name="a", turns=turns))
        for plane in (BACK, FRONT)
    ]
    made = write(ledger, items, mode=LabelMode.SEMANTIC)
    assert [(known.plane, known.object_id) for known in made] == [(BACK, 1), (FRONT, 1)]
    assert made[0].turns == turns  # of one mask, they mean the whole
    assert_table_is_true(ledger, (FRONT, BACK))


def test_masks_on_their_own_class_change_nothing(ledger):
    rule = {"mode": LabelMode.SEMANTIC}
    write(ledger, [(square(20, 20), like(0.9))], **rule)
    assert write(ledger, [(square(21, 21, size=4), like(0.9))], **rule) == []


def test_a_locked_class_is_refused(ledger):
    known = ledger.objects[FLAT, 5]
    locked = replace(known, is_locked=True, class_name="a")
    ledger.note([ObjectChange(known, locked)])
    rule = CommitSettings(mode=LabelMode.SEMANTIC)
    items = [(square(20, 20), like(0.9, class_name="a"))]
    with pytest.raises(LabelsError, match="is locked"):
        write_step(ledger, rule, "Write", items)


def test_nothing_asks_for_no_id(fakes):
    full = Ledger(fakes.Store(np.full((40, 40), 255, np.uint8)))
    step, made = write_step(full, CommitSettings(), "Write", [])
    assert (step.edits, step.objects, made) == ((), (), [])


def test_too_many_for_the_dtype_are_refused_as_a_whole(fakes):
    array = np.zeros((40, 40), np.uint8)
    array[39, 39] = 254
    ledger = Ledger(fakes.Store(array))
    items = [(square(0, x), like(0.5)) for x in (0, 12)]
    with pytest.raises(LabelsError, match="uint8"):
        write_step(ledger, CommitSettings(), "Write", items)
    assert (array > 0).sum() == 1
