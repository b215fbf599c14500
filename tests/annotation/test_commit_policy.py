# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.annotation.commit_policy import Overlap, plan_commit
from napari_sam.errors import LabelsError

MASK = np.array([[1, 1, 0], [1, 1, 0]], bool)
EXISTING = np.array([[0, 5, 5], [0, 5, 5]], np.uint16)
BOX = (10, 20, 12, 23)


def test_keep_leaves_the_pixels_of_others():
    edit = plan_commit(MASK, EXISTING, BOX, 9, Overlap.KEEP)
    np.testing.assert_array_equal(edit.new, [[9, 5, 5], [9, 5, 5]])
    np.testing.assert_array_equal(edit.old, EXISTING)
    assert edit.box == BOX
    assert edit.new.dtype == np.uint16


def test_overwrite_takes_them():
    edit = plan_commit(MASK, EXISTING, BOX, 9, Overlap.OVERWRITE)
    np.testing.assert_array_equal(edit.new, [[9, 9, 5], [9, 9, 5]])


def test_empty_mask_is_refused():
    with pytest.raises(LabelsError, match="empty"):
        plan_commit(np.zeros_like(MASK), EXISTING, BOX, 9, Overlap.OVERWRITE)


def test_mask_inside_others_is_refused_when_they_are_kept():
    full = np.full_like(EXISTING, 5)
    with pytest.raises(LabelsError, match="overwrite"):
        plan_commit(MASK, full, BOX, 9, Overlap.KEEP)
    assert (plan_commit(MASK, full, BOX, 9, Overlap.OVERWRITE).new == 9).sum() == 4
