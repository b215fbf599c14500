# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.annotation.draft import Draft
from napari_sam.annotation.objects import Turn
from napari_sam.annotation.ports import PlaneKey
from napari_sam.structures.drawn import DrawnPrompts, DrawnShape, ShapeKind
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import PointPrompt

A, B, C = (PointPrompt((5, x)) for x in (1, 2, 3))
STROKE = DrawnShape(ShapeKind.LINE, ((0, 0), (5, 5)))
BOX = DrawnShape(ShapeKind.RECTANGLE, ((0, 0), (0, 9), (9, 9), (9, 0)))
WIDER = DrawnShape(ShapeKind.RECTANGLE, ((0, 0), (0, 12), (9, 12), (9, 0)))
MASK = MaskWindow(0, 0, np.ones((2, 2), bool))


def points(*those):
    return DrawnPrompts(points=those)


@pytest.fixture
def draft():
    """Three turns, the second with a choice of the user's."""
    turns = Turn(points(A)), Turn(points(A, B), 1), Turn(points(A, B, C))
    return Draft(PlaneKey(), turns, object_id=4)


@pytest.mark.parametrize(
    ("drawn", "n_kept"),
    [
        (DrawnPrompts((A, B, C), (STROKE,)), 3),
        (points(A, B, PointPrompt((5, 4))), 2),  # the last point was moved
        (points(A, PointPrompt((5, 4)), C), 1),
        (points(PointPrompt((5, 4)), B, C), 0),
        (points(A, B), 1),  # the last point was removed
        (points(A, C), 1),
        (points(B, C), 0),
        (points(A, B, C), 2),
        (points(C, B, A), 2),  # in another order: nothing new
    ],
)
def test_turns_whose_prompts_are_still_there_stay(draft, drawn, n_kept):
    after = draft.with_drawn(drawn)
    assert after.turns[:-1] == draft.turns[:n_kept]
    assert after.turns[-1] == Turn(drawn)
    assert (after.plane, after.object_id) == (draft.plane, 4)


def test_another_box_starts_anew():
    draft = Draft(PlaneKey(), (Turn(DrawnPrompts(shapes=(BOX,))),))
    more = DrawnPrompts((A,), (BOX,))
    assert len(draft.with_drawn(more).turns) == 2
    for shapes in [(WIDER,), (BOX, WIDER), ()]:
        assert len(draft.with_drawn(DrawnPrompts((A,), shapes)).turns) == 1


def test_a_point_after_the_own_mask_refines_it():
    draft = Draft(PlaneKey(), (Turn(DrawnPrompts(mask=MASK)),), object_id=4)
    assert len(draft.with_drawn(DrawnPrompts((A,), mask=MASK)).turns) == 2
    assert len(draft.with_drawn(points(A)).turns) == 1


def test_choice_is_that_of_the_last_turn(draft):
    assert draft.choice is None
    chosen = draft.with_choice(3)
    assert (chosen.choice, chosen.turns[1].choice) == (3, 1)
    assert chosen.drawn == points(A, B, C)
    assert chosen.with_choice(None) == draft


def test_key_is_plane_and_object(draft):
    assert draft.key == (PlaneKey(), 4)
