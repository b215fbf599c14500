# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.annotation.commit_policy import (
    Overlap,
    clean_mask,
    plan_commit,
    writable_part,
)
from napari_sam.errors import LabelsError
from napari_sam.structures.prompts import PointPrompt

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


@pytest.fixture
def disc():
    """A disc of radius 12 with a pinhole, and a speck of four pixels beside it."""
    y, x = np.mgrid[:40, :60]
    clean = (y - 20) ** 2 + (x - 20) ** 2 <= 144
    mask = clean.copy()
    mask[20, 22] = False
    mask[5:7, 50:52] = True
    return mask, clean


def test_cleaning_drops_specks_and_fills_pinholes(disc):
    mask, clean = disc
    before = mask.copy()
    np.testing.assert_array_equal(clean_mask(mask), clean)
    np.testing.assert_array_equal(mask, before)


def test_pieces_under_positive_points_stay(disc):
    mask, clean = disc
    on_speck, on_disc = PointPrompt((5.2, 50.9)), PointPrompt((20, 20))
    speck = mask & (np.arange(60) >= 50)
    np.testing.assert_array_equal(clean_mask(mask, [on_speck]), speck)
    np.testing.assert_array_equal(clean_mask(mask, [on_speck, on_disc]), clean | speck)
    beside = [PointPrompt((39, 59)), PointPrompt((-3, 99))]
    np.testing.assert_array_equal(clean_mask(mask, beside), clean)


def test_hole_with_a_negative_point_and_rings_stay_open(disc):
    mask, clean = disc
    opened = clean_mask(mask, [PointPrompt((20, 22), label=0)])
    assert (clean & ~opened).sum() == 1
    y, x = np.mgrid[:40, :60]
    ring = clean & ((y - 20) ** 2 + (x - 20) ** 2 > 64)
    np.testing.assert_array_equal(clean_mask(ring), ring)


@pytest.mark.parametrize("value", [False, True])
def test_cleaning_leaves_plain_masks_alone(value):
    mask = np.full((3, 4), value)
    np.testing.assert_array_equal(clean_mask(mask), mask)


def test_slivers_cut_off_by_kept_objects_are_not_written():
    mask = np.ones((5, 9), bool)
    existing = np.zeros((5, 9), np.uint8)
    existing[:, 6] = 3  # six columns on the left of it, two on the right
    left, right = np.zeros_like(mask), np.zeros_like(mask)
    left[:, :6] = right[:, 7:] = True
    for points, expected in [
        ([], left),
        ([PointPrompt((2, 6))], left),
        ([PointPrompt((2, 8))], right),
        ([PointPrompt((2, 8)), PointPrompt((2, 0))], left | right),
    ]:
        part = writable_part(mask, existing, Overlap.KEEP, points)
        np.testing.assert_array_equal(part, expected)
        edit = plan_commit(mask, existing, (0, 0, 5, 9), 7, Overlap.KEEP, points)
        np.testing.assert_array_equal(edit.new == 7, expected)
    assert writable_part(mask, existing, Overlap.OVERWRITE).all()
