# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.errors import PromptError
from napari_sam.structures.drawn import DrawnPrompts, DrawnShape, ShapeKind
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import PointPrompt

CORNERS = ((0, 0), (0, 9), (9, 9), (9, 0))
BOX = DrawnShape(ShapeKind.RECTANGLE, CORNERS)
ELLIPSE = DrawnShape("ellipse", CORNERS)
STROKE = DrawnShape("path", ((0, 0), (5, 5)))
BESIDE = DrawnShape("line", ((0, 0), (5, 5)), label=0)
MASK = MaskWindow(0, 0, np.ones((2, 2), bool))
ON, OFF = PointPrompt((1, 1)), PointPrompt((2, 2), 0)


def test_vertices_are_plain_numbers():
    shape = DrawnShape("line", np.array([[0, 1], [2, 3]]))
    assert shape.vertices_yx == ((0.0, 1.0), (2.0, 3.0))
    assert shape.kind is ShapeKind.LINE
    assert shape == DrawnShape(ShapeKind.LINE, ((0.0, 1.0), (2.0, 3.0)))
    assert hash(shape) == hash(DrawnShape("line", ((0, 1), (2, 3))))


@pytest.mark.parametrize(
    ("kind", "n"),
    [("rectangle", 3), ("ellipse", 3), ("polygon", 2), ("path", 1), ("line", 1)],
)
def test_a_shape_needs_its_vertices(kind, n):
    with pytest.raises(PromptError, match=f"needs {n + 1} vertices, not {n}"):
        DrawnShape(kind, CORNERS[:n])
    DrawnShape(kind, (*CORNERS, (5, 5))[: n + 1])


def test_vertices_are_finite():
    with pytest.raises(PromptError, match="finite"):
        DrawnShape("line", ((0, 0), (np.nan, 1)))


@pytest.mark.parametrize(
    ("kind", "label"), [("rectangle", 0), ("ellipse", 0), ("polygon", 0), ("line", 2)]
)
def test_only_strokes_say_what_is_not_the_object(kind, label):
    with pytest.raises(PromptError, match=f"not {label}"):
        DrawnShape(kind, CORNERS, label)
    assert DrawnShape("path", CORNERS, 0).label == 0


@pytest.mark.parametrize(
    ("drawn", "is_empty", "has_object"),
    [
        (DrawnPrompts(), True, False),
        (DrawnPrompts((OFF,)), False, False),
        (DrawnPrompts((OFF, ON)), False, True),
        (DrawnPrompts(shapes=(BESIDE,)), False, False),
        (DrawnPrompts((OFF,), (STROKE,)), False, True),
        (DrawnPrompts(shapes=(BOX,)), False, True),
        (DrawnPrompts(mask=MASK), False, True),
    ],
)
def test_what_says_where_the_object_is(drawn, is_empty, has_object):
    assert (drawn.is_empty, drawn.has_object) == (is_empty, has_object)


def test_outline_is_the_closed_shape_touched_last():
    assert DrawnPrompts(shapes=(BOX, ELLIPSE, STROKE)).outline == ELLIPSE
    assert DrawnPrompts(shapes=(ELLIPSE, BOX)).outline == BOX
    assert DrawnPrompts(shapes=(STROKE,)).outline is None


@pytest.mark.parametrize(
    ("drawn", "other", "expected"),
    [
        (DrawnPrompts((ON, OFF)), DrawnPrompts((ON,)), True),
        (DrawnPrompts((OFF, ON)), DrawnPrompts((ON,)), True),
        (DrawnPrompts((ON,)), DrawnPrompts((ON, OFF)), False),
        (DrawnPrompts((ON,), (BOX,)), DrawnPrompts((ON,)), True),
        (DrawnPrompts((ON,), (BOX,)), DrawnPrompts((), (BOX,)), True),
        (DrawnPrompts((), (BOX, ELLIPSE)), DrawnPrompts((), (BOX,)), False),
        (DrawnPrompts((), (BOX, STROKE)), DrawnPrompts((), (BOX,)), True),
        (DrawnPrompts((ON,), (), MASK), DrawnPrompts(mask=MASK), True),
        (DrawnPrompts((ON,), (), MASK), DrawnPrompts((ON,)), True),
        (DrawnPrompts((ON,)), DrawnPrompts(mask=MASK), False),
        (DrawnPrompts((ON,)), DrawnPrompts((PointPrompt((1, 1), 0),)), False),
    ],
)
def test_further_prompts(drawn, other, expected):
    assert drawn.extends(other) is expected


def test_prompts_compare_by_value():
    again = MaskWindow(0, 0, np.ones((2, 2), bool))
    assert DrawnPrompts((ON,), (BOX,), MASK) == DrawnPrompts((ON,), (BOX,), again)
    assert hash(DrawnPrompts(mask=MASK)) == hash(DrawnPrompts(mask=again))
    assert DrawnPrompts(mask=MASK) != DrawnPrompts()
