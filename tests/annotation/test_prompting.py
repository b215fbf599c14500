# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.annotation.prompting import (
    MAX_STROKE_POINTS,
    stroke_points,
    to_prompt_set,
)
from napari_sam.structures.drawn import DrawnPrompts, DrawnShape, ShapeKind
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import BoxPrompt, PointPrompt

SHAPE = (100, 200)
LOGITS = np.ones((4, 4), np.float32)


def shape(kind, *vertices, label=1):
    return DrawnShape(ShapeKind(kind), vertices, label)


RECTANGLE = shape("rectangle", (9.5, 19.5), (9.5, 39.5), (29.5, 39.5), (29.5, 19.5))
LASSO = shape("polygon", (10, 10), (10, 30), (30, 30), (30, 10))


def test_points_pass_through():
    points = (PointPrompt((3, 4)), PointPrompt((5, 6), 0))
    prompts = to_prompt_set(DrawnPrompts(points), SHAPE)
    assert (prompts.points, prompts.box, prompts.mask) == (points, None, None)


def test_a_rectangle_around_pixels_is_their_half_open_box():
    prompts = to_prompt_set(DrawnPrompts(shapes=(RECTANGLE,)), SHAPE)
    assert prompts.box == BoxPrompt(10, 20, 30, 40)
    assert prompts.mask is None


def test_an_ellipse_is_its_box():
    ellipse = shape("ellipse", (0, 0), (0, 9), (9, 9), (9, 0))
    prompts = to_prompt_set(DrawnPrompts(shapes=(ellipse,)), SHAPE)
    assert prompts.box == BoxPrompt(0.5, 0.5, 9.5, 9.5)


def test_the_closed_shape_touched_last_counts():
    prompts = to_prompt_set(DrawnPrompts(shapes=(LASSO, RECTANGLE)), SHAPE)
    assert prompts.box == BoxPrompt(10, 20, 30, 40)
    assert prompts.mask is None


def test_a_box_is_clipped_at_the_plane():
    wide = shape("rectangle", (-9, -9), (-9, 500), (500, 500), (500, -9))
    prompts = to_prompt_set(DrawnPrompts(shapes=(wide,)), SHAPE)
    assert prompts.box == BoxPrompt(0, 0, 100, 200)
    beside = shape("rectangle", (-9, -9), (-9, -2), (50, -2), (50, -9))
    assert to_prompt_set(DrawnPrompts(shapes=(beside,)), SHAPE).is_empty


def test_a_lasso_is_box_and_mask():
    prompts = to_prompt_set(DrawnPrompts(shapes=(LASSO,)), SHAPE)
    assert prompts.box == BoxPrompt(10.5, 10.5, 30.5, 30.5)
    mask = prompts.mask.on_plane(SHAPE)
    assert mask[12:29, 12:29].all()
    assert not mask[:10].any()
    assert not mask[:, 32:].any()
    assert not prompts.is_ambiguous


def test_a_lasso_that_crosses_itself_has_no_hole():
    star = shape(
        "polygon",
        *(
            (50 + 40 * np.sin(angle), 100 + 40 * np.cos(angle))
            for angle in np.arange(5) * 4 * np.pi / 5
        ),
    )
    mask = to_prompt_set(DrawnPrompts(shapes=(star,)), SHAPE).mask
    assert mask.on_plane(SHAPE)[50, 100]


def test_a_lasso_whose_end_overlaps_its_beginning_has_no_hole():
    angles = np.linspace(0, 2.4 * np.pi, 60)
    radii = np.where(angles < 2 * np.pi, 30, 20)
    lasso = shape(
        "polygon",
        *zip(50 + radii * np.sin(angles), 100 + radii * np.cos(angles), strict=True),
    )
    mask = to_prompt_set(DrawnPrompts(shapes=(lasso,)), SHAPE).mask.on_plane(SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    distance = np.hypot(y - 50, x - 100)
    assert mask[distance < 18].all()
    assert not mask[distance > 31].any()


def test_a_lasso_partly_outside_is_clipped():
    lasso = shape("polygon", (-20, -20), (-20, 20), (20, 20), (20, -20))
    prompts = to_prompt_set(DrawnPrompts(shapes=(lasso,)), SHAPE)
    y0, x0, y1, x1 = prompts.mask.box
    assert (y0, x0) == (0, 0)
    assert 19 <= y1 <= 21
    assert 19 <= x1 <= 21


def test_logits_of_an_answer_replace_drawn_masks():
    own = MaskWindow(5, 5, np.ones((4, 6), bool))
    for drawn in (DrawnPrompts(mask=own), DrawnPrompts(shapes=(LASSO,))):
        assert to_prompt_set(drawn, SHAPE).mask is not None
        prompts = to_prompt_set(drawn, SHAPE, LOGITS)
        assert prompts.mask is None
        assert prompts.mask_input is LOGITS


def test_a_mask_is_given_with_its_box():
    own = MaskWindow(5, 5, np.ones((4, 6), bool))
    prompts = to_prompt_set(DrawnPrompts(mask=own), SHAPE)
    assert prompts.mask == own
    assert prompts.box == BoxPrompt(4, 4, 10, 12)
    drawn = DrawnPrompts(shapes=(RECTANGLE,), mask=own)
    assert to_prompt_set(drawn, SHAPE).box == BoxPrompt(10, 20, 30, 40)


@pytest.mark.parametrize(
    ("end", "n_points"), [(5, 1), (17, 3), (40, 6), (190, MAX_STROKE_POINTS)]
)
def test_a_stroke_is_points_along_it(end, n_points):
    stroke = shape("line", (50, 0), (50, end))
    points = stroke_points(stroke, SHAPE)
    assert len(points) == n_points
    xs = [point.yx[1] for point in points]
    np.testing.assert_allclose(xs, (np.arange(n_points) + 0.5) * end / n_points)
    assert {point.yx[0] for point in points} == {50}


def test_points_of_a_bent_stroke_lie_on_it():
    stroke = shape("path", (10, 10), (10, 30), (40, 30))
    for point in stroke_points(stroke, SHAPE):
        y, x = point.yx
        assert y == 10 or x == 30


def test_strokes_beside_the_object_are_negative_points():
    stroke = shape("path", (50, 0), (50, 20), label=0)
    drawn = DrawnPrompts((PointPrompt((5, 5)),), (stroke,))
    labels = to_prompt_set(drawn, SHAPE).point_labels
    assert labels.tolist() == [1, 0, 0, 0]


def test_a_stroke_that_leaves_the_plane_keeps_what_is_inside():
    points = stroke_points(shape("line", (50, -100), (50, 100)), SHAPE)
    assert 0 < len(points) < MAX_STROKE_POINTS
    assert min(point.yx[1] for point in points) >= -0.5
    assert stroke_points(shape("line", (-9, 0), (-9, 50)), SHAPE) == []


def test_a_stroke_without_length_is_one_point():
    (point,) = stroke_points(shape("line", (5, 6), (5, 6)), SHAPE)
    assert point.yx == (5, 6)


@pytest.mark.parametrize(
    ("drawn", "is_ambiguous"),
    [
        (DrawnPrompts((PointPrompt((5, 5)),)), True),
        (DrawnPrompts(shapes=(shape("line", (5, 6), (5, 7)),)), True),
        (DrawnPrompts(shapes=(RECTANGLE,)), False),
        (DrawnPrompts((PointPrompt((5, 5)), PointPrompt((6, 5)))), False),
    ],
)
def test_what_leaves_a_choice(drawn, is_ambiguous):
    assert to_prompt_set(drawn, SHAPE).is_ambiguous is is_ambiguous
    assert not to_prompt_set(drawn, SHAPE, LOGITS).is_ambiguous
