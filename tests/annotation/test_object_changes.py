# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_sam.annotation.object_changes import (
    measured,
    touched_objects,
    unknown_objects,
)
from napari_sam.annotation.objects import ObjectTable, Origin, Status
from napari_sam.annotation.ports import PlaneKey
from napari_sam.structures.geometry import mask_bounding_box
from napari_sam.structures.labels import LabelEdit

FLAT = PlaneKey()


def table_of(store):
    table = ObjectTable()
    table.apply(unknown_objects(table, store, FLAT, store.array.shape))
    return table


@given(arrays(np.uint16, (6, 7), elements=st.integers(0, 4)))
def test_measured_is_what_one_counts(image):
    found = {object_id: (box, area) for object_id, box, area in measured(image)}
    assert found == {
        int(i): (mask_bounding_box(image == i), int((image == i).sum()))
        for i in np.unique(image)
        if i
    }


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_measured_knows_high_and_sparse_ids(dtype):
    image = np.zeros((4, 4), dtype)
    highest = int(np.iinfo(dtype).max)
    image[1, 1:3], image[3, 3] = highest, 7
    assert list(measured(image)) == [
        (7, (3, 3, 4, 4), 1),
        (highest, (1, 1, 2, 3), 2),
    ]


@pytest.mark.parametrize("is_written", [False, True])
@given(
    before=arrays(np.uint8, (7, 8), elements=st.integers(0, 3)),
    box=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    painted=arrays(np.uint8, (4, 4), elements=st.integers(0, 4)),
)
def test_table_follows_any_edit(fakes, is_written, before, box, painted):
    """Asked before or after the labels are written: the table is right afterwards."""
    y0, x0 = box
    store = fakes.Store(before.copy())
    table = table_of(store)
    box = (y0, x0, y0 + 4, x0 + 4)
    edit = LabelEdit(box, store.read(FLAT, box), painted)
    if is_written:
        store.write(FLAT, edit)
    changes = touched_objects(table, store, FLAT, edit, status=Status.EDITED)
    if not is_written:
        store.write(FLAT, edit)
    table.apply(changes.values())
    assert {o.object_id: (o.box, o.area) for o in table} == {
        i: (box, area) for i, box, area in measured(store.array)
    }
    for object_id, change in changes.items():
        assert change.before is None or change.before.object_id == object_id
        if change.after is not None and change.before is not None:
            assert change.after.status is Status.EDITED


def test_new_ids_are_painted_objects(store):
    box = (4, 4, 6, 8)
    edit = LabelEdit(box, store.read(FLAT, box), np.full((2, 4), 9, np.uint32))
    change = touched_objects(ObjectTable(), store, FLAT, edit)[9]
    assert change.before is None
    assert (change.after.box, change.after.area) == (box, 8)
    assert change.after.origin is Origin.PAINTED


def test_what_was_there_unknown_stays_unknown(store):
    """Its size cannot be told from an edit of a part of it; `adopt` measures it."""
    store.array[0:20, 0:20] = 5
    box = (0, 0, 4, 4)
    edit = LabelEdit(box, store.read(FLAT, box), np.eye(4, dtype=np.uint32) * 5)
    table = ObjectTable()
    assert touched_objects(table, store, FLAT, edit) == {}
    store.write(FLAT, edit)
    table.apply(unknown_objects(table, store, FLAT, (40, 60)))
    assert table[FLAT, 5].area == 388


def test_only_unknown_objects_are_found(store):
    store.array[0:2, 0:2] = 5
    table = table_of(store)
    store.array[4:6, 0:2] = 6
    changes = unknown_objects(table, store, FLAT, (40, 60))
    assert [change.after.object_id for change in changes] == [6]
