# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.annotation import semi_automatic
from napari_sam.annotation.grid_run import GridRun
from napari_sam.annotation.jobs import InlineRunner
from napari_sam.annotation.label_editor import LabelEditor
from napari_sam.annotation.objects import AnnotatedObject, Origin, Status
from napari_sam.annotation.ports import PlaneKey
from napari_sam.annotation.proposals import Proposals, ProposalStatus
from napari_sam.annotation.semi_automatic import (
    Advance,
    ProposalBook,
    loosened,
    proposals_of,
)
from napari_sam.errors import LabelsError
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.rle import encode_window

FLAT = PlaneKey()
SHAPE = (40, 60)
OPEN, TAKEN, DROPPED = ProposalStatus


def record_of(box, iou, stability):
    y0, x0, y1, x1 = box
    window = np.ones((y1 - y0, x1 - x0), bool)
    return MaskRecord(
        rle=encode_window(window, y0, x0, SHAPE),
        bbox=box,
        area=window.size,
        predicted_iou=iou,
        stability_score=stability,
        point_yx=(0.0, 0.0),
        crop_box=(0, 0, *SHAPE),
    )


@pytest.fixture
def editor(store):
    return LabelEditor(store)


@pytest.fixture
def book(editor):
    """Four proposals of 16 px: 1 sure, 2 unstable, 3 of low score, 4 on the edge."""
    records = [
        record_of((4, 4, 8, 8), 0.95, 0.97),
        record_of((4, 14, 8, 18), 0.93, 0.80),
        record_of((4, 24, 8, 28), 0.50, 0.99),
        record_of((4, 34, 8, 38), 0.88, 0.95),
    ]
    book = ProposalBook(editor)
    book.model = "tiny 0123"
    book.put(Proposals.measured(FLAT, np.zeros(SHAPE), records, book.next_id))
    return book


def test_sure_ones_are_written_and_locked_the_rest_is_offered(book, editor, store):
    assert book.split_confident(FLAT, 0.88, 0.95) == 2
    # Ids by score: 0.95, then 0.88 (0.93 is proposal 2).
    expected = np.zeros(SHAPE, int)
    expected[4:8, 4:8], expected[4:8, 34:38] = 1, 2
    np.testing.assert_array_equal(store.array, expected)
    made = list(editor.objects)
    assert [(o.status, o.origin, o.is_locked, o.area) for o in made] == [
        (Status.ACCEPTED, Origin.GRID, True, 16)
    ] * 2
    assert made[0].model == "tiny 0123"
    assert made[0].predicted_iou == 0.95
    proposals = book.on_plane(FLAT)
    assert proposals.visible_ids() == [2, 4]  # 0.93 and 0.50, best first
    assert editor.ledger.history.undo_text == "Fill in 2 sure objects"


def test_undo_brings_proposals_back_and_redo_takes_them(book, editor, store):
    book.split_confident(FLAT, 0.88, 0.95)
    book.drop(FLAT, [2])
    proposals = book.on_plane(FLAT)
    assert proposals.visible_ids() == [4]
    before = store.array.copy()
    editor.undo()
    assert proposals.visible_ids() == [2, 4]
    editor.undo()
    assert proposals.visible_ids() == [1, 2, 3, 4]
    assert not store.array.any()
    assert len(editor.objects) == 0
    editor.redo()
    editor.redo()
    np.testing.assert_array_equal(store.array, before)
    assert proposals.visible_ids() == [4]
    assert proposals.status(2) is DROPPED


def test_a_click_takes_one(book, editor, store):
    changed = []
    book.changed.connect(changed.append)
    book.class_name = "nucleus"
    book.take(FLAT, [4])
    book.take(FLAT, [4])  # the second click of a double click
    assert (store.array[4:8, 24:28] == 1).all()
    assert store.array.sum() == 16
    (made,) = editor.objects
    assert (made.class_name, made.is_locked, made.box) == (
        "nucleus",
        False,
        (4, 24, 8, 28),
    )
    assert changed == [FLAT]
    assert editor.ledger.history.undo_text == "Accept 1 proposal"


def test_overlapping_ones_taken_together_leave_no_sliver(editor, store):
    """Lesson 14: the better one keeps the pixels, one piece is left of the other."""
    book = ProposalBook(editor)
    records = [record_of((4, 4, 12, 12), 0.9, 1), record_of((6, 2, 10, 14), 0.8, 1)]
    book.put(Proposals.measured(FLAT, np.zeros(SHAPE), records))
    book.take(FLAT, [1, 2])
    assert (store.array == 1).sum() == 64
    left = np.argwhere(store.array == 2)
    assert len(left) == 8  # two pixels wide, on one side only
    assert np.ptp(left[:, 1]) == 1


def test_what_is_annotated_meanwhile_is_not_offered(book, editor, store):
    proposals = book.on_plane(FLAT)
    window = MaskWindow(4, 12, np.ones((4, 5), bool))  # 12 of the 16 px of id 2
    by_hand = AnnotatedObject(0, FLAT, window.box, window.area)
    editor.write_objects("Accept", [(window, by_hand)])
    assert proposals.visible_ids() == [1, 3, 4]
    editor.undo()
    assert proposals.visible_ids() == [1, 2, 3, 4]
    book.put(proposals)
    store.array[4:8, 4:8] = 9
    book.put(proposals)  # looks at the labels that are there
    assert proposals.visible_ids() == [2, 3, 4]
    editor.replace_labels(type(store)(np.zeros(SHAPE, np.uint32)))
    assert proposals.visible_ids() == [1, 2, 3, 4]


def test_an_edit_near_many_is_the_same(book, editor, monkeypatch):
    monkeypatch.setattr(semi_automatic, "MANY_TOUCHED", 0)
    test_what_is_annotated_meanwhile_is_not_offered(book, editor, editor.labels)


def test_nothing_free_is_an_error_and_no_step(book, editor, store):
    store.array[:] = 5
    with pytest.raises(LabelsError, match="lies on objects that exist"):
        book.take(FLAT, [1])
    assert book.on_plane(FLAT).status(1) is OPEN
    assert editor.ledger.history.undo_text == ""


def test_how_much_is_done(book, editor, store):
    book.split_confident(FLAT, 0.88, 0.95)
    book.drop(FLAT, [2])
    window = MaskWindow(20, 20, np.ones((4, 4), bool))
    editor.write_objects(
        "Accept", [(window, AnnotatedObject(0, FLAT, window.box, window.area))]
    )
    assert book.advance(FLAT, SHAPE) == Advance(
        n_taken=2,
        n_open=1,
        n_dropped=1,
        n_added=1,
        share_covered=48 / 2400,
        share_settled=3 / 4,
    )
    other = PlaneKey((1, 2), (0,))
    empty = book.advance(other, SHAPE)
    assert empty == Advance(0, 0, 0, 0, 0.0, 1.0)


def test_ids_of_planes_differ_and_a_new_run_replaces_the_old(book):
    other = PlaneKey((1, 2), (0,))
    assert book.next_id == 5
    again = Proposals.measured(
        FLAT, np.zeros(SHAPE), [record_of((0, 0, 3, 3), 1, 1)], 5
    )
    book.put(again)
    assert book.on_plane(FLAT) is again
    assert book.next_id == 6
    with pytest.raises(LabelsError, match="no proposals on this plane"):
        book.take(other, [1])
    book.forget(FLAT)
    assert list(book) == []


def test_undo_of_a_replaced_run_is_harmless(book, editor):
    book.drop(FLAT, [1])
    fresh = Proposals.measured(
        FLAT, np.zeros(SHAPE), [record_of((0, 0, 3, 3), 1, 1)], book.next_id
    )
    book.put(fresh)
    editor.undo()
    assert fresh.visible_ids() == [5]


def test_closed_book_follows_nothing(book, editor):
    proposals = book.on_plane(FLAT)
    book.drop(FLAT, [1])
    book.close()
    editor.undo()
    assert proposals.status(1) is DROPPED


def test_thresholds_are_loosened_unless_set():
    defaults = {"pred_iou_thresh": 0.5, "points_per_side": 16}
    settings = loosened({"stability_score_thresh": 0.9, "min_area": 3}, defaults)
    assert settings == {
        "pred_iou_thresh": pytest.approx(0.3),
        "stability_score_thresh": 0.9,
        "min_area": 3,
    }
    assert loosened({}, {})["stability_score_thresh"] == pytest.approx(0.57)


def test_run_in_a_region_gives_proposals_of_the_plane(source, segmenter):
    results = []
    grid = GridRun(InlineRunner())
    grid.finished.connect(results.append)
    region = MaskWindow(20, 36, np.ones((20, 24), bool))
    grid.start(segmenter, source, FLAT, {}, region)
    y0, x0, y1, x1 = results[0].box
    assert (y0, x0) > (0, 0)
    pixels = source.array[y0:y1, x0:x1]
    proposals = proposals_of(results[0], pixels, 7, shape=SHAPE)
    assert list(proposals.ids) == [7]
    np.testing.assert_array_equal(proposals.mask(7).on_plane(SHAPE), source.array == 9)
    assert proposals.describe(7)["mean_intensity"] == 9
