# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.prediction.instances import RegionRule
from napari_sam.prediction.proposals import propose

RULE = RegionRule(blur=0.0, boundary=0.0)


@pytest.fixture
def two_squares():
    """Logits (3, 12, 16): squares at rows 2..6, columns 1..5 and 6..10."""
    logits = np.full((3, 12, 16), -5.0, np.float32)
    for x, foreground in ((1, 4.0), (6, 2.0)):
        logits[0, 2:7, x : x + 5] = foreground
        for rim, centre in enumerate((-1.0, 1.0, 3.0)):
            logits[2, 2 + rim : 7 - rim, x + rim : x + 5 - rim] = centre
    return logits


def test_prompts_are_in_pixels_of_the_picture(two_squares):
    found = propose(two_squares, (2.0, 0.5), RULE)
    assert len(found) == 2
    assert found.boxes_yx.tolist() == [[4, 0.5, 14, 3], [4, 3, 14, 5.5]]
    # Sample 4 covers pixels 8 and 9 of the rows: its middle is between them.
    assert found.points_yx[0].tolist() == [8.5, 1.25]
    assert found.sizes() == pytest.approx([5.0, 5.0])


def test_a_region_as_logits_is_positive_inside_only(two_squares):
    found = propose(two_squares, (2.0, 2.0), RULE)
    logits = found.logits_of(0, (16, 16))
    assert np.array_equal(logits > 0, np.pad(found.regions == 1, ((0, 4), (0, 0))))
    assert (logits[2:7, 1:6] == 4).all()
    # In the neighbour what speaks for it speaks against this one.
    assert (logits[2:7, 6:8] == -2).all()
    assert (logits[12:] == -8).all()


def test_an_unsure_region_still_has_its_own_shape(two_squares):
    two_squares[0] = np.clip(two_squares[0], -0.3, 0.3)
    found = propose(two_squares, (2.0, 2.0), RULE)
    logits = found.logits_of(1, (12, 16))
    assert logits[2:7, 6:11].min() >= 0.5
    assert logits[2:7, 4:6].max() <= -0.5


def test_nothing_to_propose():
    found = propose(np.full((3, 8, 8), -9.0, np.float32), (2.0, 2.0))
    assert len(found) == 0
    assert found.boxes_yx.shape == (0, 4)
    assert found.points_yx.shape == (0, 2)
    assert found.sizes().shape == (0,)
