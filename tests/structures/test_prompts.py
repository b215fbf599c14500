# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from napari_sam.errors import PromptError
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import BoxPrompt, PointPrompt, PromptSet


@pytest.mark.parametrize("yx", [(np.nan, 1), (1, np.inf)])
def test_a_point_needs_finite_coordinates(yx):
    with pytest.raises(PromptError, match="finite"):
        PointPrompt(yx)


@pytest.mark.parametrize("label", [2, -1, 7])
def test_a_point_is_on_the_object_or_not(label):
    with pytest.raises(PromptError, match="1 \\(object\\) or 0"):
        PointPrompt((1, 1), label)


def test_box_corners_are_sorted():
    assert BoxPrompt(9, 2, 3, 8).yx == (3, 2, 9, 8)


@pytest.mark.parametrize("box", [(1, 1, 1, 5), (1, 5, 4, 5), (2, 2, 2, 2)])
def test_a_box_without_area_is_refused(box):
    with pytest.raises(PromptError, match="no area"):
        BoxPrompt(*box)


def test_a_set_turns_into_the_predictors_arguments():
    prompts = PromptSet(
        points=(PointPrompt((1, 2)), PointPrompt((3, 4), 0)), box=BoxPrompt(0, 0, 5, 6)
    )
    np.testing.assert_array_equal(prompts.points_yx, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(prompts.point_labels, [1, 0])
    assert prompts.box_yx == (0, 0, 5, 6)
    assert not prompts.is_empty


def test_an_empty_set_has_nothing_to_say():
    prompts = PromptSet()
    assert prompts.is_empty
    assert prompts.points_yx is prompts.point_labels is prompts.box_yx is None


def test_sets_compare_by_value():
    logits = np.ones((4, 4), np.float32)
    first = PromptSet((PointPrompt((1, 2)),), mask_input=logits)
    second = PromptSet((PointPrompt((1, 2)),), mask_input=logits.copy())
    assert first == second
    assert hash(first) == hash(second)
    assert first != PromptSet((PointPrompt((1, 2)),))
    assert first != PromptSet((PointPrompt((1, 2)),), mask_input=logits + 1)


POINT, BOX = PointPrompt((1, 2)), BoxPrompt(0, 0, 5, 6)
LOGITS = np.ones((4, 4), np.float32)
MASK = MaskWindow(1, 1, np.ones((2, 3), bool))


@pytest.mark.parametrize(
    ("prompts", "is_empty", "is_ambiguous"),
    [
        (PromptSet(), True, False),
        (PromptSet((POINT,)), False, True),
        (PromptSet((POINT, PointPrompt((3, 4), 0))), False, False),
        (PromptSet((POINT,), BOX), False, False),
        (PromptSet((POINT,), mask_input=LOGITS), False, False),
        (PromptSet((POINT,), mask=MASK), False, False),
        (PromptSet(mask=MASK), False, False),
        (PromptSet(mask_input=LOGITS), False, False),
    ],
)
def test_only_one_point_by_itself_leaves_a_choice(prompts, is_empty, is_ambiguous):
    assert (prompts.is_empty, prompts.is_ambiguous) == (is_empty, is_ambiguous)


def test_a_mask_on_the_plane_is_compared_by_value():
    again = MaskWindow(1, 1, np.ones((2, 3), bool))
    assert PromptSet(mask=MASK) == PromptSet(mask=again)
    assert PromptSet(mask=MASK) != PromptSet()
    assert PromptSet(mask=MASK) != "prompts"
