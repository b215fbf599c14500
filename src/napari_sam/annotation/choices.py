# SPDX-License-Identifier: Apache-2.0
"""Which of the decoder's masks is meant, and what they are called.

The model ranks by predicted IoU; a user thinks in sizes. So the three readings of an
ambiguous prompt are called small, medium and large, and the one answer to clear prompts
single.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_sam.structures.candidates import Answer


class Size(StrEnum):
    """Names of the masks of one answer."""

    SINGLE = "single"
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


SIZES = (Size.SMALL, Size.MEDIUM, Size.LARGE)
N_OUTPUTS = 4
"""A SAM decoder's outputs: the single one, then three readings."""


def by_area(answer: Answer) -> tuple[int, ...]:
    """Return the indices of the readings, from the smallest mask to the largest."""
    first = 1 if len(answer) == N_OUTPUTS else 0
    return tuple(
        sorted(range(first, len(answer)), key=lambda i: (answer.masks[i].area, i))
    )


def walking_order(answer: Answer, *, is_ambiguous: bool) -> tuple[int, ...]:
    """Return the indices in the order in which a key walks them."""
    if len(answer) == N_OUTPUTS and not is_ambiguous:
        return (0, *by_area(answer))
    return by_area(answer)


def default_choice(
    answer: Answer, *, is_ambiguous: bool, preference: Size | None = None
) -> int:
    """Return the index of the mask shown first.

    Parameters
    ----------
    answer : Answer
        What the model answered.
    is_ambiguous : bool
        Whether the prompts were.
    preference : Size, optional
        What the user wants to see first where there is a choice.
    """
    if len(answer) == N_OUTPUTS and not is_ambiguous:
        return 0
    readings = by_area(answer)
    if preference in SIZES and len(readings) == len(SIZES):
        return readings[SIZES.index(preference)]
    scores = [answer.predicted_iou[i] for i in readings]
    return readings[int(np.argmax(scores))]


def name_of(answer: Answer, index: int) -> str:
    """Return what a mask is called; empty where there are not three readings."""
    if len(answer) == 1 or (len(answer) == N_OUTPUTS and index == 0):
        return Size.SINGLE.value
    readings = by_area(answer)
    if len(readings) != len(SIZES) or index not in readings:
        return ""
    return SIZES[readings.index(index)].value
