# SPDX-License-Identifier: Apache-2.0
"""Series of clicks against an image whose answers are scripted."""

import numpy as np
import pytest

from napari_sam.evaluation.clicking import ask_first, correct, first_prompts, refined
from napari_sam.evaluation.prompts import true_objects
from napari_sam.evaluation.settings import EvaluationSettings
from napari_sam.structures.candidates import Answer
from napari_sam.structures.mask_window import MaskWindow

SHAPE = (60, 80)


def _square(y: float, x: float, radius: int) -> MaskWindow:
    y0, x0 = int(y) - radius, int(x) - radius
    return MaskWindow(y0, x0, np.ones((2 * radius + 1, 2 * radius + 1), bool))


class Painter:
    """Answers a click by squares of radius 2, 1, 5, 3 around it; the last is surest.

    With more prompts, output 0 is the first click's square of radius 3, with one pixel
    more at each further foreground click and one less at each background click.
    """

    shape = SHAPE

    def __init__(self):
        self.asked = []

    def ask(self, prompts, *, in_full=False):
        self.asked.append((list(prompts), in_full))
        return [self._answer(one, in_full) for one in prompts]

    def _answer(self, one, in_full):
        number = 10 * len(self.asked)
        if one.box is not None and not one.points:
            y0, x0, y1, x1 = map(int, one.box.yx)
            shrunk = 1 if one.mask_input is None else 0
            mask = MaskWindow(y0, x0, np.ones((y1 - y0, x1 - x0 - shrunk), bool))
            masks, ious = [mask] * 4, [0.2, 0.1, 0.9, 0.3]
        elif len(one.points) == 1 and one.box is None:
            (point,) = one.points
            masks = [_square(*point.yx, radius) for radius in (2, 1, 5, 3)]
            ious = [0.99, 0.2, 0.3, 0.9]
        else:
            mask = _square(25, 25, 3).on_plane(SHAPE)
            for point in one.points[1:] if one.box is None else one.points:
                mask[tuple(map(int, point.yx))] = point.label == 1
            masks, ious = [MaskWindow.of_mask(mask)], [0.5]
        if not in_full and len(masks) == 4:
            kept = 3 if one.box is None else 0
            masks, ious = [masks[kept]], [ious[kept]]
        logits = np.stack(
            [np.full((4, 4), number + i, np.float32) for i in range(len(masks))]
        )
        return Answer(tuple(masks), np.array(ious, np.float32), logits)


@pytest.fixture
def objects():
    labels = np.zeros(SHAPE, np.uint8)
    labels[20:31, 20:31] = 1  # 11 x 11, centre (25, 25)
    return list(true_objects(labels))


def _first(view, objects, start="point", **options):
    prompts = first_prompts(start, "a", objects, SHAPE, EvaluationSettings())
    return ask_first(view, objects, prompts, **options)


def test_first_click_is_the_surest_of_three(objects):
    view = Painter()
    (first,) = _first(view, objects)
    assert view.asked[0][0][0].points[0].yx == (25, 25)
    assert view.asked[0][1] is True
    assert first.iou == pytest.approx(49 / 121)  # radius 3, never output 0
    assert first.oracle == 1  # radius 5
    assert first.logits[0, 0] == 13  # output 3
    assert first.sure_logits[0, 0] == 10  # output 0 is the surest of all four


def test_box_takes_output_0(objects):
    view = Painter()
    (first,) = _first(view, objects, "box")
    assert view.asked[0][0][0].box.yx == (20, 20, 31, 31)
    assert view.asked[0][1] is False
    assert first.iou == pytest.approx(110 / 121)


def test_refining_gives_the_surest_logits_back_with_the_box(objects):
    view = Painter()
    first = _first(view, objects, "box", all_outputs=True)
    assert refined(view, objects, first).tolist() == [1]
    (asked,) = view.asked[1][0]
    assert asked.box.yx == (20, 20, 31, 31)
    assert asked.mask_input[0, 0] == 12  # predicted IoU 0.9 is that of output 2


def test_corrections_add_up_and_give_logits_back(objects):
    view = Painter()
    first = _first(view, objects)
    ious = correct(view, objects, first, 3, with_logits=True)
    # Each click lands on a missing pixel, and the square gains that pixel.
    np.testing.assert_allclose(ious, [[49 / 121, 50 / 121, 51 / 121, 52 / 121]])
    prompts = [asked[0][0] for asked in view.asked]
    assert [len(one.points) for one in prompts] == [1, 2, 3, 4]
    assert [one.mask_input is None for one in prompts] == [True, False, False, False]
    assert prompts[1].mask_input[0, 0] == 13  # of the answer that was shown
    assert prompts[2].mask_input[0, 0] == 20
    assert all(point.label == 1 for point in prompts[3].points)
    assert prompts[3].points[:3] == prompts[2].points


def test_without_logits_only_points_are_given(objects):
    view = Painter()
    first = _first(view, objects)
    correct(view, objects, first, 2, with_logits=False)
    assert all(one.mask_input is None for asked, _ in view.asked for one in asked)


def test_a_faultless_mask_is_left_alone():
    labels = np.zeros(SHAPE, np.uint8)
    labels[22:29, 22:29] = 1  # what the first click gives
    labels[40:51, 40:51] = 2
    objects = list(true_objects(labels))
    view = Painter()
    first = _first(view, objects)
    ious = correct(view, objects, first, 2, with_logits=True)
    assert ious[0].tolist() == [1, 1, 1]
    assert [len(asked) for asked, _ in view.asked] == [2, 1, 1]


def test_corrections_after_a_box_keep_the_box(objects):
    view = Painter()
    first = _first(view, objects, "box")
    correct(view, objects, first, 1, with_logits=True)
    (asked,) = view.asked[1][0]
    assert asked.box.yx == (20, 20, 31, 31)
    assert asked.points[0].yx == (20, 30)  # the column that was missing
    assert asked.points[0].label == 1


def test_chance_is_by_object_not_by_company(objects):
    labels = np.zeros(SHAPE, np.uint8)
    labels[20:31, 20:31] = 1
    labels[40:55, 40:60] = 2
    both = list(true_objects(labels))
    settings = EvaluationSettings(seed=4)
    for start in ("random-point", "jittered-box"):
        alone = first_prompts(start, "a", both[1:], SHAPE, settings)
        together = first_prompts(start, "a", both, SHAPE, settings)
        assert (alone[0].points, alone[0].box) == (together[1].points, together[1].box)
