# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.annotation.history import PlaneEdit
from napari_sam.annotation.object_changes import unknown_objects
from napari_sam.annotation.object_edits import (
    change_step,
    cut,
    delete_step,
    merge_step,
    painting_step,
    split_step,
    unlocked,
)
from napari_sam.annotation.objects import (
    AnnotatedObject,
    ObjectChange,
    ObjectTable,
    Status,
)
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import LabelsError
from napari_sam.structures.labels import LabelEdit

FLAT = PlaneKey()
FRONT, BACK = PlaneKey((1, 2), (0,)), PlaneKey((1, 2), (1,))


@pytest.fixture
def table(store):
    """Objects 1 and 2 side by side, 3 inside the box around both."""
    store.array[2:12, 3:13] = 1
    store.array[2:12, 30:40] = 2
    store.array[4:6, 20:22] = 3
    return table_of(store, FLAT)


def table_of(store, *planes):
    table = ObjectTable()
    for plane in planes:
        table.apply(unknown_objects(table, store, plane, store.array.shape[-2:]))
    return table


def apply(step, store, table):
    before = store.array.copy()
    for item in step.edits:
        np.testing.assert_array_equal(
            store.read(item.plane, item.edit.box), item.edit.old
        )
        store.write(item.plane, item.edit)
    table.apply(step.objects)
    return before


def test_building_a_step_changes_nothing(store, table):
    before, objects = store.array.copy(), list(table)
    delete_step(table, store, [(FLAT, 1)])
    merge_step(table, store, [(FLAT, 1), (FLAT, 2)])
    split_step(table, store, (FLAT, 1), [(7, 0), (7, 59)])
    change_step(table, [(FLAT, 1)], is_locked=True)
    np.testing.assert_array_equal(store.array, before)
    assert list(table) == objects


def test_delete_leaves_what_lies_between(store, table):
    step = delete_step(table, store, [(FLAT, 1), (FLAT, 2), (FLAT, 1)])
    apply(step, store, table)
    assert step.text == "Delete 2 objects"
    assert np.unique(store.array).tolist() == [0, 3]
    assert [known.object_id for known in table] == [3]


@pytest.mark.parametrize("looks", [0, 4])  # all ids at once, or box by box
def test_objects_that_surround_each_other(fakes, monkeypatch, looks):
    monkeypatch.setattr("napari_sam.annotation.object_edits.MAX_LOOKS", looks)
    array = np.zeros((30, 30), np.uint32)
    for inset, value in enumerate([7, 4_000_000_000, 9, 2], start=1):
        array[3 * inset : 30 - 3 * inset, 3 * inset : 30 - 3 * inset] = value
    array[0, 0] = 5
    store = fakes.Store(array)
    before = array.copy()
    ids = [9, 7, 4_000_000_000]
    step = delete_step(table_of(store, FLAT), store, [(FLAT, i) for i in ids])
    apply(step, store, ObjectTable())
    np.testing.assert_array_equal(array, np.where(np.isin(before, ids), 0, before))
    array[:] = before
    step = merge_step(table_of(store, FLAT), store, [(FLAT, i) for i in ids])
    assert step.edits[0].edit.new.dtype == np.uint32
    apply(step, store, ObjectTable())
    np.testing.assert_array_equal(array, np.where(np.isin(before, ids), 9, before))


def test_delete_on_several_planes(fakes):
    store = fakes.Store(np.ones((2, 8, 8), np.uint8))
    table = table_of(store, FRONT, BACK)
    step = delete_step(table, store, [(FRONT, 1), (BACK, 1)])
    assert [item.plane for item in step.edits] == [FRONT, BACK]
    apply(step, store, table)
    assert not store.array.any()


@pytest.mark.parametrize("keys", [[], [(FLAT, 9)], [(BACK, 1)]])
def test_objects_that_are_not_there(store, table, keys):
    with pytest.raises(LabelsError, match=r"No object|no object"):
        delete_step(table, store, keys)


def test_locked_objects_are_refused(table):
    apply_change = change_step(table, [(FLAT, 2)], is_locked=True)
    table.apply(apply_change.objects)
    with pytest.raises(LabelsError, match="Object 2 is locked"):
        unlocked(table, [(FLAT, 1), (FLAT, 2)])


def test_merge(store, table):
    step = merge_step(table, store, [(FLAT, 2), (FLAT, 1)])
    apply(step, store, table)
    assert step.text == "Merge 2 objects"
    assert ((store.array == 2).sum(), (store.array == 1).sum()) == (200, 0)
    assert (store.array == 3).sum() == 4
    merged = table[FLAT, 2]
    assert (merged.area, merged.box) == (200, (2, 3, 12, 40))
    assert merged.status is Status.EDITED
    assert (FLAT, 1) not in table


@pytest.mark.parametrize(
    "keys", [[(FRONT, 1)], [(FRONT, 1), (FRONT, 1)], [(FRONT, 1), (BACK, 1)]]
)
def test_merge_needs_two_objects_of_a_plane(fakes, keys):
    store = fakes.Store(np.ones((2, 8, 8), np.uint8))
    with pytest.raises(LabelsError, match="two or more objects of one plane"):
        merge_step(table_of(store, FRONT, BACK), store, keys)


def test_split_gives_the_largest_part_the_id(store, table):
    step = split_step(table, store, (FLAT, 1), [(5, 0), (5, 59)])
    apply(step, store, table)
    first, second = table[FLAT, 1], table[FLAT, 4]
    assert (first.area + second.area, first.area > second.area) == (100, True)
    for known in (first, second):
        y0, x0, y1, x1 = known.box
        inside = store.array[y0:y1, x0:x1]
        assert (inside == known.object_id).sum() == known.area == inside.size
        assert known.status is Status.EDITED
        assert known.turns == ()


@pytest.mark.parametrize(
    "line",
    [
        [(7, 5), (7, 9)],  # ends inside
        [(20, 0), (20, 59)],  # passes by
        [(-5, -5), (-5, 90)],  # outside the plane
        [(7, 7)],  # a point
    ],
)
def test_split_needs_a_line_across(store, table, line):
    with pytest.raises(LabelsError, match="from outside to outside"):
        split_step(table, store, (FLAT, 1), line)


def test_split_refuses_ids_that_do_not_fit(fakes):
    array = np.zeros((20, 20), np.uint8)
    array[2:12, 2:12], array[15, 15] = 1, 255
    store = fakes.Store(array)
    with pytest.raises(LabelsError, match="uint8"):
        split_step(table_of(store, FLAT), store, (FLAT, 1), [(7, 0), (7, 19)])


@pytest.mark.parametrize(
    "line",
    [
        [(-1, -1), (10, 10)],  # a diagonal leaves no gap
        [(10, -1), (-1, 10)],
        [(-1, 3), (10, 5)],
        [(-1, 4), (5, 5), (10, 3)],  # with a bend
        [(-3, 4.4), (12.7, 4.6)],
    ],
)
def test_cut_leaves_no_pixel_out(line):
    mask = np.ones((10, 10), bool)
    parts = cut(mask, line)
    assert parts.min() == 1
    assert parts.max() == 2


def test_cut_twice_makes_four():
    parts = cut(np.ones((11, 11), bool), [(5, -1), (5, 12), (12, 12), (12, 5), (-1, 5)])
    assert parts.max() == 4


def test_corners_hold_an_object_together():
    """The commit rule keeps pieces that touch with a corner; so does the cut."""
    mask = np.zeros((10, 12), bool)
    mask[1:9, 1:9] = True
    mask[0, 9] = True  # touches the rest with its corner
    parts = cut(mask, [(5, -1), (5, 12)])
    assert parts.max() == 2
    assert parts[0, 9] == parts[1, 8]


def test_pieces_that_lie_apart_are_parts():
    mask = np.zeros((5, 12), bool)
    mask[:, :4] = mask[:, 8:] = True
    assert cut(mask, [(-1, 6), (6, 6)]).max() == 2


def test_change(table):
    step = change_step(
        table, [(FLAT, 1), (FLAT, 2)], class_name="cell", status="unsure"
    )
    assert step.edits == ()
    table.apply(step.objects)
    assert [known.class_name for known in table] == ["cell", "cell", ""]
    assert table[FLAT, 2].status is Status.UNSURE
    assert change_step(table, [(FLAT, 1)], class_name="cell").objects == ()


@pytest.mark.parametrize("fields", [{"area": 5}, {"object_id": 3}, {}])
def test_only_some_fields_can_be_changed(table, fields):
    with pytest.raises(LabelsError, match="can be changed"):
        change_step(table, [(FLAT, 1)], **fields)


def test_a_status_that_there_is_not(table):
    with pytest.raises(LabelsError, match="'done'"):
        change_step(table, [(FLAT, 1)], status="done")


def test_painting_on_two_planes_is_one_step(fakes):
    store = fakes.Store(np.ones((2, 8, 8), np.uint8))
    table = table_of(store, FRONT, BACK)
    edits = []
    for plane, value in [(FRONT, 0), (BACK, 2)]:
        old = store.read(plane, (0, 0, 4, 8))
        edit = LabelEdit((0, 0, 4, 8), old, np.full_like(old, value))
        store.write(plane, edit)
        edits.append(PlaneEdit(plane, edit))
    step = painting_step(table, store, edits)
    table.apply(step.objects)
    assert [(o.plane, o.object_id, o.area, o.box) for o in table] == [
        (FRONT, 1, 32, (4, 0, 8, 8)),
        (BACK, 1, 32, (4, 0, 8, 8)),
        (BACK, 2, 32, (0, 0, 4, 8)),
    ]
    assert table[FRONT, 1].status is Status.EDITED


def test_planes_that_were_only_touched_are_left_out(store, table):
    old = store.read(FLAT, (0, 0, 4, 4))
    step = painting_step(
        table, store, [PlaneEdit(FLAT, LabelEdit((0, 0, 4, 4), old, old.copy()))]
    )
    assert (step.edits, step.objects) == ((), ())


def test_table_keeps_its_order_through_removal_and_return():
    known = [AnnotatedObject(i, FLAT, (0, 0, 1, 1), 1) for i in range(5)]
    table = ObjectTable()
    table.apply(ObjectChange(None, one) for one in known)
    gone = [ObjectChange(known[i], None) for i in (1, 3)]
    table.apply(gone)
    table.apply(change.inverse() for change in reversed(gone))
    assert list(table) == known
