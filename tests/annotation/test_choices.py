# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.annotation.choices import (
    Size,
    by_area,
    default_choice,
    name_of,
    walking_order,
)
from napari_sam.structures.candidates import Answer
from napari_sam.structures.mask_window import MaskWindow


def answer_of(areas, scores):
    masks = tuple(MaskWindow(0, 0, np.ones((1, area), bool)) for area in areas)
    logits = np.zeros((len(areas), 4, 4), np.float32)
    return Answer(masks, np.array(scores, np.float32), logits)


SAM = answer_of([50, 90, 10, 40], [0.99, 0.3, 0.8, 0.5])
"""Single, then large, small, medium; the small one is the best reading."""


def test_readings_are_ranked_by_area():
    assert by_area(SAM) == (2, 3, 1)
    assert [name_of(SAM, i) for i in range(4)] == ["single", "large", "small", "medium"]


def test_equal_areas_keep_the_decoders_order():
    assert by_area(answer_of([5, 7, 7, 7], [1, 1, 1, 1])) == (1, 2, 3)


def test_single_comes_first_for_clear_prompts_and_not_at_all_for_others():
    assert walking_order(SAM, is_ambiguous=False) == (0, 2, 3, 1)
    assert walking_order(SAM, is_ambiguous=True) == (2, 3, 1)


@pytest.mark.parametrize(
    ("is_ambiguous", "preference", "expected"),
    [
        (True, None, 2),  # the best reading, never the single answer
        (True, Size.SMALL, 2),
        (True, Size.MEDIUM, 3),
        (True, "large", 1),
        (True, Size.SINGLE, 2),
        (False, None, 0),
        (False, Size.LARGE, 0),  # clear prompts leave nothing to prefer
    ],
)
def test_what_is_shown_first(is_ambiguous, preference, expected):
    found = default_choice(SAM, is_ambiguous=is_ambiguous, preference=preference)
    assert found == expected


def test_three_masks_are_three_readings():
    three = answer_of([90, 10, 40], [0.3, 0.5, 0.8])
    assert walking_order(three, is_ambiguous=False) == (1, 2, 0)
    assert default_choice(three, is_ambiguous=False) == 2
    assert [name_of(three, i) for i in range(3)] == ["large", "small", "medium"]


def test_one_mask_is_single():
    one = answer_of([10], [0.5])
    assert name_of(one, 0) == "single"
    assert walking_order(one, is_ambiguous=True) == (0,)
    assert default_choice(one, is_ambiguous=True, preference=Size.LARGE) == 0


def test_two_masks_have_no_names():
    two = answer_of([10, 20], [0.5, 0.4])
    assert [name_of(two, i) for i in range(2)] == ["", ""]
    assert default_choice(two, is_ambiguous=True, preference=Size.SMALL) == 0
