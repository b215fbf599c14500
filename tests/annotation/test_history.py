# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.annotation import history as history_module
from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.commit_policy import CommitSettings, LabelMode, Overlap
from napari_sam.annotation.draft import Draft
from napari_sam.annotation.history import (
    DraftChange,
    History,
    PlaneEdit,
    ProposalChange,
    Step,
)
from napari_sam.annotation.objects import AnnotatedObject, ObjectChange, Status, Turn
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import NapariSamError, PhaseError
from napari_sam.structures.drawn import DrawnPrompts, DrawnShape, ShapeKind
from napari_sam.structures.geometry import mask_bounding_box
from napari_sam.structures.labels import LabelEdit
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import PointPrompt

SHAPE = (12, 16)
PLANES = (PlaneKey((1, 2), (0,)), PlaneKey((1, 2), (1,)))
STATUSES = list(Status)


class World:
    """An annotator of a small stack, and what it held before each step."""

    def __init__(self, fakes, dtype):
        picture = np.zeros((2, *SHAPE), np.uint8)
        picture[:, 1:6, 1:7] = 7
        picture[:, 1:6, 7:12] = 8
        picture[0, 7:11, 2:14] = 9
        picture[1, 8:10, 8:10] = 9
        self.store = fakes.Store(np.zeros(picture.shape, dtype))
        self.annotator = Annotator(fakes.Source(picture), self.store)
        self.annotator.attach(fakes.Segmenter())
        self.plane = PLANES[0]
        self.past, self.future = [], []
        self.n_steps = 0
        self.annotator.stepped.connect(self._count)

    def _count(self, step, kind):
        self.n_steps += kind == "do"

    def snapshot(self):
        ledger = self.annotator.ledger
        drafts = {plane: decided(draft) for plane, draft in ledger.drafts.items()}
        return self.store.array.copy(), list(ledger.objects), drafts

    def run(self, name, *numbers):
        before, n_before = self.snapshot(), self.n_steps
        try:
            getattr(self, name)(*numbers)
        except NapariSamError:
            assert self.n_steps == n_before
        if name in ("undo", "redo"):
            return
        after = self.snapshot()
        if self.n_steps > n_before:
            self.past.append(before)
            self.future.clear()
        else:
            assert_same(before, after)

    # Commands: a, b, c are any numbers.

    def point(self, a, b, c):
        self.annotator.add_point(self.plane, (a % 12, b % 16), label=int(c % 4 > 0))

    def box(self, a, b, c):
        drawn = self.annotator.drawn_on(self.plane)
        y0, x0, y1, x1 = a % 6, b % 8, a % 6 + 2 + c % 5, b % 8 + 2 + c % 7
        corners = ((y0, x0), (y0, x1), (y1, x1), (y1, x0))
        shape = DrawnShape(ShapeKind.RECTANGLE, corners)
        self.annotator.set_drawn(self.plane, replace(drawn, shapes=(shape,)))

    def move(self, a, b, c):
        drawn = self.annotator.drawn_on(self.plane)
        points = list(drawn.points)
        if points:
            at = c % len(points)
            points[at] = PointPrompt((a % 12, b % 16), points[at].label)
        self.annotator.set_drawn(self.plane, replace(drawn, points=tuple(points)))

    def remove(self, a, b, c):
        drawn = self.annotator.drawn_on(self.plane)
        self.annotator.set_drawn(self.plane, replace(drawn, points=drawn.points[1:]))

    def choose(self, a, b, c):
        self.annotator.choose(a % 5)

    def walk(self, a, b, c):
        self.annotator.next_candidate(1 if a % 2 else -1)

    def commit(self, a, b, c):
        self.annotator.class_name = ("", "cell", "fibre")[a % 3]
        self.annotator.commit()

    def discard(self, a, b, c):
        self.annotator.discard()

    def reopen(self, a, b, c):
        plane, object_id = self.some(a, 1)[0]
        self.plane = plane
        self.annotator.reopen(plane, object_id)

    def delete(self, a, b, c):
        self.annotator.delete(self.some(a, 1 + b % 3))

    def merge(self, a, b, c):
        self.annotator.merge(self.some(a, 2 + b % 2))

    def split(self, a, b, c):
        y, x = a % 12, b % 16
        line = [(y, -1), (y + c % 3, 17)] if c % 2 else [(-1, x), (13, x + c % 5)]
        self.annotator.split(self.some(c, 1)[0], line)

    def change(self, a, b, c):
        fields = {"class_name": "cell"}, {"is_locked": b % 3 == 0}
        status = {"status": STATUSES[b % 4]}
        self.annotator.change(self.some(a, 1 + b % 2), **(*fields, status)[c % 3])

    def paint(self, a, b, c):
        y0, x0 = a % 9, b % 13
        place = self.plane.locate(slice(y0, y0 + 3), slice(x0, x0 + 3))
        old = self.store.array[place].copy()
        is_brushed = np.arange(9).reshape(3, 3) % (1 + c % 3) == 0
        new = np.where(is_brushed, old.dtype.type(c % 6), old)
        self.store.array[place] = new
        edit = LabelEdit((y0, x0, y0 + 3, x0 + 3), old, new)
        self.annotator.record_painting([PlaneEdit(self.plane, edit)])

    def many(self, a, b, c):
        items = []
        for i in range(3):
            window = MaskWindow((a + 3 * i) % 8, (b + i) % 10, np.ones((3, 5), bool))
            plane = PLANES[(c + i) % 2]
            known = AnnotatedObject(0, plane, (0, 0, 0, 0), 0, predicted_iou=i % 2)
            items.append((window, known))
        self.annotator.write_objects("Write three", items)

    def undo(self, *_):
        if not self.past:
            with pytest.raises(PhaseError):
                self.annotator.undo()
            return
        self.future.append(self.snapshot())
        self.annotator.undo()
        assert_same(self.past.pop(), self.snapshot())

    def redo(self, *_):
        if not self.future:
            with pytest.raises(PhaseError):
                self.annotator.redo()
            return
        self.past.append(self.snapshot())
        self.annotator.redo()
        assert_same(self.future.pop(), self.snapshot())

    # What is no step.

    def other_plane(self, a, b, c):
        self.plane = PLANES[a % 2]
        self.annotator.look_at(self.plane)

    def turbo(self, a, b, c):
        self.annotator.is_turbo = not self.annotator.is_turbo

    def rule(self, a, b, c):
        self.annotator.settings = CommitSettings(
            overlap=list(Overlap)[a % 3],
            mode=list(LabelMode)[b % 5 == 0],
            largest_piece=bool(c % 2),
        )

    def some(self, start, n):
        found = [known.key for known in self.annotator.objects] or [(PLANES[0], 99)]
        return [found[(start + i) % len(found)] for i in range(n)]


COMMANDS = [
    "point",
    "point",
    "point",
    "box",
    "move",
    "remove",
    "choose",
    "walk",
    "commit",
    "commit",
    "commit",
    "discard",
    "reopen",
    "delete",
    "merge",
    "split",
    "change",
    "paint",
    "many",
    "undo",
    "undo",
    "undo",
    "redo",
    "redo",
    "other_plane",
    "turbo",
    "rule",
]


def decided(draft):
    """The draft with the mask that it shows, whether the user chose it or the rule."""
    if draft.choice is not None:
        return draft
    drawn = draft.drawn
    is_ambiguous = len(draft.turns) == 1 and len(drawn.points) == 1
    is_ambiguous &= not drawn.shapes and drawn.mask is None
    return draft.with_choice(2 if is_ambiguous else 0)


def assert_same(one, two):
    np.testing.assert_array_equal(one[0], two[0])
    assert one[1] == two[1]
    assert one[2] == two[2]


def assert_table_is_true(world):
    """Every object of the labels is in the table, with its area and its tight box."""
    for plane in PLANES:
        image = world.store.array[plane.index[0]]
        known = {
            o.object_id: (o.area, o.box)
            for o in world.annotator.objects.on_plane(plane)
        }
        seen = {
            int(i): (int((image == i).sum()), mask_bounding_box(image == i))
            for i in np.unique(image)
            if i
        }
        assert known == seen


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from([np.uint8, np.int32, np.uint32]),
    st.lists(
        st.tuples(st.sampled_from(COMMANDS), *[st.integers(0, 59)] * 3),
        min_size=20,
        max_size=50,
    ),
)
def test_undo_and_redo_restore_every_bit_whatever_was_done(fakes, dtype, commands):
    world = World(fakes, dtype)
    for command in commands:
        world.run(*command)
        assert_table_is_true(world)
    while world.past:
        world.undo()
    assert not world.store.array.any()
    while world.future:
        world.redo()
        assert_table_is_true(world)


# The history by itself.

FLAT = PlaneKey()
DRAWN = DrawnPrompts((PointPrompt((1, 1)),))
DRAFT = Draft(FLAT, (Turn(DRAWN),))


def write(text, n_bytes=0):
    old, new = np.zeros((2, 1, n_bytes // 2), np.uint8)
    return Step(
        text, edits=(PlaneEdit(FLAT, LabelEdit((0, 0, 1, n_bytes // 2), old, new)),)
    )


def test_empty_history_says_so():
    history = History()
    assert (history.undo_text, history.redo_text) == ("", "")
    with pytest.raises(PhaseError, match="nothing to undo"):
        history.peek_undo()
    with pytest.raises(PhaseError, match="nothing to redo"):
        history.peek_redo()


def test_texts_follow_undo_and_redo():
    history = History()
    for text in "abc":
        history.push(Step(text))
    history.mark_undone()
    history.mark_undone()
    assert (history.undo_text, history.redo_text) == ("a", "b")
    history.mark_redone()
    assert (history.undo_text, history.redo_text) == ("b", "c")
    history.push(Step("d"))
    assert (history.undo_text, history.redo_text) == ("d", "")
    history.clear()
    assert (history.undo_text, history.redo_text) == ("", "")


def test_history_forgets_the_oldest_steps(monkeypatch):
    monkeypatch.setattr(history_module, "MAX_STEPS", 3)
    history = History()
    for text in "abcde":
        history.push(Step(text))
    texts = []
    while history.undo_text:
        texts.append(history.undo_text)
        history.mark_undone()
    assert texts == ["e", "d", "c"]


def test_history_forgets_by_memory_but_never_the_newest(monkeypatch):
    monkeypatch.setattr(history_module, "MAX_BYTES", 100)
    history = History()
    for text, n_bytes in [("a", 40), ("b", 40), ("c", 40)]:
        history.push(write(text, n_bytes))
    history.mark_undone()
    history.mark_undone()
    assert history.undo_text == ""
    history.mark_redone()
    history.push(write("huge", 1000))
    assert history.undo_text == "huge"
    history.mark_undone()
    assert history.undo_text == ""
    history.push(write("d", 60))  # what was undone counts no more
    history.push(write("e", 40))
    history.mark_undone()
    assert history.undo_text == "d"


def test_inverse_of_an_inverse_is_the_step():
    known = AnnotatedObject(3, FLAT, (0, 0, 1, 1), 1)
    step = Step(
        "Accept",
        edits=(write("a", 4).edits[0], write("b", 8).edits[0]),
        objects=(ObjectChange(None, known), ObjectChange(known, None)),
        draft=DraftChange(DRAFT, None),
        proposals=(ProposalChange(7, "open", "taken"),),
    )
    inverse = step.inverse()
    assert inverse.objects == (ObjectChange(None, known), ObjectChange(known, None))
    assert inverse.draft == DraftChange(None, DRAFT)
    assert inverse.proposals == (ProposalChange(7, "taken", "open"),)
    assert [e.edit.old.nbytes for e in inverse.edits] == [4, 2]
    assert inverse.edits[0].edit.old is step.edits[1].edit.new
    assert inverse.inverse().objects == step.objects
    assert step.n_bytes == 12


def test_prompt_and_commit_are_joined():
    history = History()
    history.push(Step("Before"))
    history.push(Step("Prompt", draft=DraftChange(None, DRAFT)))
    history.push(replace(write("Accept", 4), draft=DraftChange(DRAFT, None)))
    history.join_last_two()
    step = history.peek_undo()
    assert (step.text, step.draft, len(step.edits)) == ("Accept", None, 1)
    history.mark_undone()
    assert history.undo_text == "Before"


@pytest.mark.parametrize(
    "earlier",
    [
        DraftChange(DRAFT, DRAFT),
        DraftChange(DRAFT, None),
        DraftChange(None, replace(DRAFT, plane=PLANES[0])),
        None,
    ],
)
def test_nothing_else_is_joined(earlier):
    history = History()
    history.push(Step("Earlier", draft=earlier))
    history.push(Step("Accept", draft=DraftChange(DRAFT, None)))
    history.join_last_two()
    history.mark_undone()
    assert history.undo_text == "Earlier"


def test_one_step_alone_is_not_joined():
    history = History()
    history.push(Step("Accept", draft=DraftChange(DRAFT, None)))
    history.join_last_two()
    assert history.undo_text == "Accept"
