# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from napari_sam.annotation.commit_policy import CommitSettings, LabelMode, Overlap
from napari_sam.annotation.object_changes import unknown_objects
from napari_sam.annotation.objects import (
    AnnotatedObject,
    ObjectChange,
    ObjectTable,
    Origin,
)
from napari_sam.annotation.planning import (
    Site,
    overlaps_at,
    planned_edit,
    planned_mask,
    value_of_class,
)
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import LabelsError
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import PointPrompt

FLAT = PlaneKey()
SQUARE = MaskWindow(0, 0, np.ones((10, 10), bool))


SEMANTIC = CommitSettings(mode=LabelMode.SEMANTIC)


def site_of(store, *, locked=(), classes=None, origin=Origin.PAINTED, **fields):
    table = ObjectTable()
    table.apply(unknown_objects(table, store, FLAT, store.array.shape))
    for known in table:
        named = (classes or {}).get(known.object_id, "")
        after = replace(
            known,
            is_locked=known.object_id in locked,
            class_name=named,
            origin=origin,
        )
        table.apply([ObjectChange(known, after)])
    settings = fields.pop("settings", CommitSettings())
    return Site(store, table, FLAT, settings, **fields)


@given(
    existing=arrays(np.uint8, (8, 9), elements=st.integers(0, 3), fill=st.nothing()),
    mask=arrays(bool, (5, 6), fill=st.nothing()),
    overlap=st.sampled_from(list(Overlap)),
    own_id=st.sampled_from([None, 2]),
    locked=st.sets(st.sampled_from([1, 3])),
    keeps=st.booleans(),
)
def test_what_is_shown_is_what_is_written(
    fakes, existing, mask, overlap, own_id, locked, keeps
):
    store = fakes.Store(existing, keeps_existing=keeps)
    settings = CommitSettings(overlap=overlap)
    site = site_of(
        store,
        locked=locked,
        settings=settings,
        own_id=own_id if (existing == 2).any() else None,
        points=(PointPrompt((3, 4)),),
    )
    window = MaskWindow.of_mask(mask, 2, 1)
    shown = planned_mask(site, window).on_plane((8, 9))
    assert not (shown & ~window.on_plane((8, 9))).any()
    try:
        object_id, edit = planned_edit(site, window, "")
    except LabelsError:
        assert not shown.any()
        return
    before = existing.copy()
    store.write(FLAT, edit)
    pieces, n_pieces = ndimage.label(before == object_id, structure=np.ones((3, 3)))
    is_kept = np.ones(n_pieces + 1, bool)
    if overlap is not Overlap.FILL:
        is_kept[pieces[shown] if n_pieces > 1 else slice(None)] = False
    kept = is_kept[pieces] & (pieces > 0)
    np.testing.assert_array_equal(existing == object_id, shown | kept)
    for other in set(np.unique(before)) - {0, object_id}:
        taken = (before == other) & (existing != other)
        if other in locked or keeps or overlap is not Overlap.OVERWRITE:
            assert not taken.any()
        assert not ((before != other) & (existing == other)).any()


def test_pixels_outside_the_new_mask_are_given_back(store):
    store.array[20:30, 20:30] = 5
    object_id, edit = planned_edit(site_of(store, own_id=5), SQUARE, "")
    assert (object_id, edit.box) == (5, (0, 0, 30, 30))
    store.write(FLAT, edit)
    np.testing.assert_array_equal(store.array == 5, SQUARE.on_plane((40, 60)))


def test_an_object_that_was_locked_meanwhile_is_not_changed(store):
    store.array[0:5, 0:5] = 5
    with pytest.raises(LabelsError, match="Object 5 is locked"):
        planned_edit(site_of(store, own_id=5, locked={5}), SQUARE, "")


def test_an_object_that_is_gone_returns_with_its_id(store):
    object_id, edit = planned_edit(site_of(store, own_id=5), SQUARE, "")
    assert (object_id, (edit.new == 5).sum()) == (5, 100)


def test_value_of_a_class(store):
    store.array[20, 20], store.array[22, 22] = 3, 6
    site = site_of(
        store,
        classes={3: "a", 6: "b"},
        settings=CommitSettings(mode=LabelMode.SEMANTIC),
    )
    assert [value_of_class(site, name) for name in ("a", "b", "c")] == [3, 6, 7]
    assert planned_edit(site, SQUARE, "b")[0] == 6
    instance = replace(site, settings=CommitSettings())
    assert planned_edit(instance, SQUARE, "b")[0] == 7


@pytest.mark.parametrize(
    ("origin", "class_name", "value"),
    [
        (Origin.CLASS, "a", 3),
        (Origin.CLASS, "", 3),
        (Origin.PAINTED, "a", 3),
        (Origin.PAINTED, "", 4),  # unclassed is no class
        (Origin.PROMPTS, "a", 4),  # one object of the class, not its area
        (Origin.GRID, "", 4),
    ],
)
def test_what_counts_as_the_area_of_a_class(store, origin, class_name, value):
    store.array[20, 20] = 3
    site = site_of(store, classes={3: class_name}, origin=origin, settings=SEMANTIC)
    assert value_of_class(site, class_name) == value
    assert value_of_class(site, "other") == 4


def test_value_of_a_class_that_means_something_else_on_this_plane(store):
    front, back = PlaneKey((1, 2), (0,)), PlaneKey((1, 2), (1,))
    site = replace(site_of(store, settings=SEMANTIC), plane=back)
    area = AnnotatedObject(3, front, (0, 0, 1, 1), 1, class_name="a")
    site.objects.apply([ObjectChange(None, replace(area, origin=Origin.CLASS))])
    assert value_of_class(site, "a") == 3
    for here, value in [
        (replace(area, plane=back, origin=Origin.PAINTED, class_name=""), 3),
        (replace(area, plane=back, origin=Origin.PAINTED, class_name="b"), 1),
        (replace(area, plane=back, origin=Origin.PROMPTS), 1),
    ]:
        site.objects.apply([ObjectChange(None, here)])
        assert value_of_class(site, "a") == value


def test_a_locked_class_takes_no_further_mask(store):
    store.array[20, 20] = 3
    site = site_of(store, classes={3: "a"}, locked={3}, settings=SEMANTIC)
    with pytest.raises(LabelsError, match=r"Object 3, .*'a'.* is locked\. Unlock"):
        planned_edit(site, SQUARE, "a")
    assert planned_edit(site, SQUARE, "b")[0] == 4
    elsewhere = replace(site, plane=PlaneKey((1, 2), (5,)))
    assert value_of_class(elsewhere, "a") == 3  # a lock is that of one plane


def test_no_id_is_left(fakes):
    array = np.zeros((40, 60), np.uint8)
    array[39, 59] = 255
    with pytest.raises(LabelsError, match="No id"):
        planned_edit(site_of(fakes.Store(array)), SQUARE, "")


def test_overlaps(store):
    store.array[0:2, 0:10], store.array[5:20, 5:20] = 3, 4
    assert overlaps_at(site_of(store), SQUARE) == {3: 20, 4: 25}
    assert overlaps_at(site_of(store, own_id=3), SQUARE) == {4: 25}
    assert overlaps_at(site_of(store), MaskWindow(0, 0, np.zeros((0, 0), bool))) == {}
