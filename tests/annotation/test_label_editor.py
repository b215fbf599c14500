# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.commit_policy import CommitSettings, LabelMode, Overlap
from napari_sam.annotation.history import PlaneEdit
from napari_sam.annotation.label_editor import LabelEditor
from napari_sam.annotation.objects import AnnotatedObject, Origin, Status
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import LabelsError, PhaseError
from napari_sam.structures.labels import LabelEdit
from napari_sam.structures.mask_window import MaskWindow

FLAT = PlaneKey()
BOX = (0, 0, 40, 60)


@pytest.fixture
def editor(store):
    """Labels with two objects that a script knows: 1 above, 2 below."""
    store.array[2:12, 3:13] = 1
    store.array[20:30, 3:13] = 2
    editor = LabelEditor(store)
    editor.adopt(FLAT, (40, 60))
    return editor


def paint(store, box, value, only=None):
    """Change pixels as napari's brush does, and tell about it."""
    y0, x0, y1, x1 = box
    region = store.array[y0:y1, x0:x1]
    old = region.copy()
    region[...] = np.where(True if only is None else old == only, value, old)
    return PlaneEdit(FLAT, LabelEdit(box, old, region.copy()))


def facts(editor):
    return {o.object_id: (o.area, o.box, str(o.status)) for o in editor.objects}


def test_what_is_in_the_labels_is_adopted_once(editor):
    assert facts(editor) == {
        1: (100, (2, 3, 12, 13), "accepted"),
        2: (100, (20, 3, 30, 13), "accepted"),
    }
    assert {known.origin for known in editor.objects} == {Origin.PAINTED}
    changes = []
    editor.objects_changed.connect(changes.append)
    editor.adopt(FLAT, (40, 60))
    assert changes == []
    assert editor.ledger.history.undo_text == ""  # it was not the user's doing


def test_delete_merge_and_split_need_no_model(editor, store):
    steps = []
    editor.stepped.connect(lambda step, kind: steps.append((step.text, kind)))
    editor.merge([(FLAT, 2), (FLAT, 1)])
    assert facts(editor) == {2: (200, (2, 3, 30, 13), "edited")}
    editor.split((FLAT, 2), [(15, 0), (15, 50)])
    assert facts(editor) == {
        2: (100, (2, 3, 12, 13), "edited"),
        3: (100, (20, 3, 30, 13), "edited"),
    }
    editor.delete([(FLAT, 3)])
    assert (store.array > 0).sum() == 100
    for _ in range(3):
        editor.undo()
    assert [text for text, kind in steps if kind == "undo"] == [
        "Delete object 3",
        "Split object 2",
        "Merge 2 objects",
    ]
    assert sorted(facts(editor)) == [1, 2]
    editor.redo()
    assert sorted(facts(editor)) == [2]


def test_order_of_the_table_survives_undo(editor):
    before = list(editor.objects)
    editor.delete([(FLAT, 1)])
    editor.undo()
    assert list(editor.objects) == before


def test_painting_is_a_step(editor, store):
    before = store.array.copy()
    edit = paint(store, (0, 0, 5, 20), 7)
    editor.record_painting([edit])
    assert facts(editor)[1] == (70, (5, 3, 12, 13), "edited")
    assert facts(editor)[7] == (100, (0, 0, 5, 20), "accepted")
    assert editor.ledger.history.undo_text == "Paint"
    after = store.array.copy()
    editor.undo()
    np.testing.assert_array_equal(store.array, before)
    assert facts(editor)[1] == (100, (2, 3, 12, 13), "accepted")
    assert 7 not in facts(editor)
    editor.redo()
    np.testing.assert_array_equal(store.array, after)


def test_painting_that_changes_nothing_is_no_step(editor, store):
    editor.record_painting([paint(store, (2, 3, 5, 5), 1)])
    editor.record_painting([])
    assert editor.ledger.history.undo_text == ""


def test_an_object_that_is_painted_over_is_gone_and_comes_back(editor, store):
    editor.record_painting([paint(store, BOX, 0, only=1)])
    assert sorted(facts(editor)) == [2]
    editor.undo()
    assert facts(editor)[1] == (100, (2, 3, 12, 13), "accepted")


def test_what_changes_nothing_is_no_step(editor):
    editor.change([(FLAT, 1)], class_name="")
    editor.change([(FLAT, 1)], class_name="cell")
    editor.change([(FLAT, 1)], class_name="cell")
    editor.undo()
    assert editor.ledger.history.undo_text == ""
    assert editor.objects[FLAT, 1].class_name == ""


def test_change(editor):
    editor.change([(FLAT, 1), (FLAT, 2)], status="unsure", is_locked=True)
    assert {known.status for known in editor.objects} == {Status.UNSURE}
    for call in (
        lambda: editor.delete([(FLAT, 1)]),
        lambda: editor.merge([(FLAT, 1), (FLAT, 2)]),
        lambda: editor.split((FLAT, 1), [(7, 0), (7, 50)]),
    ):
        with pytest.raises(LabelsError, match="locked"):
            call()
    editor.undo()
    editor.delete([(FLAT, 1), (FLAT, 2)])
    assert len(editor.objects) == 0


def test_labels_changed_behind_the_back_are_not_written_over(editor, store):
    editor.delete([(FLAT, 1)])
    changed = []
    editor.history_changed.connect(lambda: changed.append(True))
    store.array[4, 4] = 9
    before, objects = store.array.copy(), list(editor.objects)
    with pytest.raises(LabelsError, match="changed by something else"):
        editor.undo()
    np.testing.assert_array_equal(store.array, before)
    assert list(editor.objects) == objects
    assert editor.ledger.history.undo_text == ""
    assert changed == [True]  # the menu has to be told
    with pytest.raises(PhaseError, match="nothing to undo"):
        editor.undo()


def test_the_same_for_redo(editor, store):
    editor.delete([(FLAT, 1)])
    editor.undo()
    store.array[4, 4] = 9
    before = store.array.copy()
    with pytest.raises(LabelsError, match="changed by something else"):
        editor.redo()
    np.testing.assert_array_equal(store.array, before)
    assert editor.ledger.history.redo_text == ""


def test_change_beside_the_pixels_of_a_step_does_not_matter(editor, store):
    editor.delete([(FLAT, 1)])
    store.array[15, 5] = 9
    editor.undo()
    assert store.array[15, 5] == 9
    assert (store.array == 1).sum() == 100


def test_two_planes_are_written_both_or_not_at_all(fakes):
    planes = [PlaneKey((1, 2), (i,)) for i in (0, 1)]
    store = fakes.Store(np.ones((2, 8, 8), np.uint8))
    editor = LabelEditor(store)
    for plane in planes:
        editor.adopt(plane, (8, 8))
    store.n_allowed = 1
    with pytest.raises(LabelsError, match="locked"):
        editor.delete([(plane, 1) for plane in planes])
    assert store.array.all()
    assert len(editor.objects) == 2
    assert editor.ledger.history.undo_text == ""
    editor.delete([(plane, 1) for plane in planes])
    assert not store.array.any()
    store.n_allowed = 1
    with pytest.raises(LabelsError, match="locked"):
        editor.undo()
    assert not store.array.any()
    assert len(editor.objects) == 0
    editor.undo()
    assert store.array.all()


def test_other_labels_begin_a_new_history(editor, store, fakes):
    editor.delete([(FLAT, 1)])
    changes = []
    editor.objects_changed.connect(changes.append)
    other = fakes.Store(np.zeros((40, 60), np.uint8))
    editor.replace_labels(other)
    assert editor.labels is other
    assert (len(editor.objects), changes) == (0, [()])
    with pytest.raises(PhaseError):
        editor.undo()
    assert not other.array.any()


def test_same_labels_with_other_pixels_begin_a_new_history(editor, store):
    editor.delete([(FLAT, 1)])
    store.array = np.full((40, 60), 5, np.uint32)
    editor.labels_replaced()
    editor.adopt(FLAT, (40, 60))
    with pytest.raises(PhaseError):
        editor.undo()
    assert facts(editor) == {5: (2400, BOX, "accepted")}


def test_an_open_object_is_a_new_one_in_other_labels(annotator, fakes):
    annotator.add_point(FLAT, (5, 5))
    annotator.commit()
    annotator.reopen(FLAT, 1)
    other = fakes.Store(np.zeros((40, 60), np.uint8))
    other.array[2:4, 3:13] = 1  # an object of its own
    annotator.replace_labels(other)
    made = annotator.commit()
    assert made.object_id == 2
    assert ((other.array == 1).sum(), (other.array == 2).sum()) == (20, 80)


def test_write_objects_is_one_step(editor, store):
    template = AnnotatedObject(0, FLAT, (0, 0, 0, 0), 0, origin=Origin.BATCH)
    square = np.ones((4, 4), bool)
    made = editor.write_objects(
        "Write batch",
        [
            (MaskWindow(14, 4, square), replace(template, predicted_iou=0.5)),
            (MaskWindow(14, 6, square), replace(template, predicted_iou=0.9)),
        ],
    )
    assert [(known.object_id, known.area) for known in made] == [(3, 16), (4, 8)]
    np.testing.assert_array_equal(store.array[14, 4:10], [4, 4, 3, 3, 3, 3])
    assert editor.ledger.history.undo_text == "Write batch"
    editor.undo()
    assert sorted(facts(editor)) == [1, 2]
    assert store.array.max() == 2


def test_nothing_to_write_is_no_step(editor):
    template = AnnotatedObject(0, FLAT, (0, 0, 0, 0), 0)
    taken = MaskWindow(2, 3, np.ones((5, 5), bool))
    assert editor.write_objects("Write", [(taken, template)]) == []
    assert editor.ledger.history.undo_text == ""


def test_rule_is_announced_once(editor):
    seen = []
    editor.settings_changed.connect(seen.append)
    rule = CommitSettings(overlap=Overlap.FILL, mode=LabelMode.SEMANTIC)
    editor.settings = rule
    editor.settings = replace(rule)
    assert seen == [rule]


def test_two_editors_share_nothing(fakes, source, segmenter):
    stores = [fakes.Store(np.zeros((40, 60), np.uint16)) for _ in range(2)]
    first, second = (Annotator(source, store) for store in stores)
    seen = []
    second.stepped.connect(lambda step, kind: seen.append(step))
    for annotator in (first, second):
        annotator.attach(segmenter)
    first.add_point(FLAT, (5, 5))
    first.commit()
    first.settings = CommitSettings(min_area=5)
    assert seen == []
    assert not stores[1].array.any()
    assert len(second.objects) == 0
    assert second.settings == CommitSettings()
    with pytest.raises(PhaseError):
        second.undo()
