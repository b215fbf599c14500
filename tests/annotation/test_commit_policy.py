# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.annotation.commit_policy import (
    MAX_EXACT_PX,
    CommitSettings,
    LabelMode,
    Overlap,
    clean_window,
    plan_commit,
    writable_part,
)
from napari_sam.errors import LabelsError, SettingsError
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import PointPrompt

MASK = np.array([[1, 1, 0], [1, 1, 0]], bool)
EXISTING = np.array([[0, 5, 5], [0, 5, 5]], np.uint16)
BOX = (10, 20, 12, 23)
KEEP, OVERWRITE, FILL = (CommitSettings(overlap=overlap) for overlap in Overlap)
RAW = CommitSettings(fill_holes=False, largest_piece=False, drop_specks=False)


def clean(mask, points=(), settings=None, at=(0, 0)):
    """Clean a mask of a whole plane that lies somewhere on it."""
    window = MaskWindow.of_mask(mask, *at)
    moved = [PointPrompt((p.yx[0] + at[0], p.yx[1] + at[1]), p.label) for p in points]
    cleaned = clean_window(window, moved, settings or CommitSettings())
    shape = (mask.shape[0] + at[0], mask.shape[1] + at[1])
    return cleaned.on_plane(shape)[at[0] :, at[1] :]


def test_keep_leaves_the_pixels_of_others():
    edit = plan_commit(MASK, EXISTING, BOX, 9, KEEP)
    np.testing.assert_array_equal(edit.new, [[9, 5, 5], [9, 5, 5]])
    np.testing.assert_array_equal(edit.old, EXISTING)
    assert edit.box == BOX
    assert edit.new.dtype == np.uint16


def test_overwrite_takes_them():
    edit = plan_commit(MASK, EXISTING, BOX, 9, OVERWRITE)
    np.testing.assert_array_equal(edit.new, [[9, 9, 5], [9, 9, 5]])


def test_overwrite_leaves_locked_objects_alone():
    edit = plan_commit(MASK, EXISTING, BOX, 9, OVERWRITE, locked_ids={5})
    np.testing.assert_array_equal(edit.new, [[9, 5, 5], [9, 5, 5]])


def test_empty_mask_is_refused():
    with pytest.raises(LabelsError, match="empty"):
        plan_commit(np.zeros_like(MASK), EXISTING, BOX, 9, OVERWRITE)


@pytest.mark.parametrize("settings", [KEEP, FILL])
def test_mask_inside_others_is_refused_when_they_are_kept(settings):
    full = np.full_like(EXISTING, 5)
    with pytest.raises(LabelsError, match="overwrite"):
        plan_commit(MASK, full, BOX, 9, settings)
    assert (plan_commit(MASK, full, BOX, 9, OVERWRITE).new == 9).sum() == 4
    with pytest.raises(LabelsError, match="overwrite"):
        plan_commit(MASK, full, BOX, 9, OVERWRITE, locked_ids={5})


def test_minimum_size_is_that_of_what_is_written():
    settings = CommitSettings(min_area=3)
    with pytest.raises(LabelsError, match="2 pixels"):
        plan_commit(MASK, EXISTING, BOX, 9, settings)
    free = np.zeros_like(EXISTING)
    assert (plan_commit(MASK, free, BOX, 9, settings).new == 9).sum() == 4


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (KEEP, [[5, 5, 0], [5, 7, 0]]),  # what the new mask leaves out is given back
        (OVERWRITE, [[5, 5, 0], [5, 5, 0]]),
        (FILL, [[5, 5, 5], [5, 7, 5]]),  # nothing is ever taken away
    ],
)
def test_an_object_opened_again(settings, expected):
    existing = np.array([[0, 5, 5], [0, 7, 5]], np.uint16)
    edit = plan_commit(MASK, existing, BOX, 5, settings, own_id=5)
    np.testing.assert_array_equal(edit.new, expected)


@pytest.mark.parametrize(
    ("settings", "points", "expected"),
    [
        (KEEP, [], [[9, 9, 0, 0, 0, 9], [0, 0, 0, 7, 0, 9]]),
        (OVERWRITE, [], [[9, 9, 0, 0, 0, 9], [0, 0, 0, 7, 0, 9]]),
        (FILL, [], [[9, 9, 0, 9, 0, 9], [9, 0, 9, 7, 0, 9]]),
        # A negative point says that a piece is not of it; a positive one says nothing
        # that the mask does not say.
        (KEEP, [PointPrompt((1, 5), 0)], [[9, 9, 0, 0, 0, 0], [0, 0, 0, 7, 0, 0]]),
        (KEEP, [PointPrompt((1, 5), 1)], [[9, 9, 0, 0, 0, 9], [0, 0, 0, 7, 0, 9]]),
    ],
)
def test_pieces_that_the_mask_does_not_touch_stay(settings, points, expected):
    # From the left: a piece under the mask; one of two pixels that touch with a corner,
    # too; a third.
    existing = np.array([[0, 9, 0, 9, 0, 9], [9, 0, 9, 7, 0, 9]], np.uint16)
    mask = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], bool)
    box = (0, 0, 2, 6)
    edit = plan_commit(mask, existing, box, 9, settings, points, own_id=9)
    np.testing.assert_array_equal(edit.new, expected)


def test_a_piece_behind_another_object_stays():
    """The rule keeps the mask off it, so what the mask says of it is not written."""
    existing = np.array([[9, 9, 9, 7, 9]], np.uint16)
    mask = np.ones((1, 5), bool)
    edit = plan_commit(mask, existing, (0, 0, 1, 5), 9, KEEP, own_id=9)
    np.testing.assert_array_equal(edit.new, existing)


@pytest.fixture
def disc():
    """A disc of radius 12 with a pinhole, and a speck of four pixels beside it."""
    y, x = np.mgrid[:40, :60]
    whole = (y - 20) ** 2 + (x - 20) ** 2 <= 144
    mask = whole.copy()
    mask[20, 22] = False
    mask[5:7, 50:52] = True
    return mask, whole


@pytest.mark.parametrize("at", [(0, 0), (7, 100)])
def test_cleaning_drops_specks_and_fills_pinholes(disc, at):
    mask, whole = disc
    before = mask.copy()
    np.testing.assert_array_equal(clean(mask, at=at), whole)
    np.testing.assert_array_equal(mask, before)


@pytest.mark.parametrize("at", [(0, 0), (7, 100)])
def test_pieces_under_positive_points_stay(disc, at):
    mask, whole = disc
    on_speck, on_disc = PointPrompt((5.2, 50.9)), PointPrompt((20, 20))
    speck = mask & (np.arange(60) >= 50)
    np.testing.assert_array_equal(clean(mask, [on_speck], at=at), speck)
    both = clean(mask, [on_speck, on_disc], at=at)
    np.testing.assert_array_equal(both, whole | speck)
    beside = [PointPrompt((39, 59)), PointPrompt((-3, 99))]
    np.testing.assert_array_equal(clean(mask, beside, at=at), whole)


def test_hole_with_a_negative_point_and_rings_stay_open(disc):
    mask, whole = disc
    opened = clean(mask, [PointPrompt((20, 22), label=0)])
    assert (whole & ~opened).sum() == 1
    y, x = np.mgrid[:40, :60]
    ring = whole & ((y - 20) ** 2 + (x - 20) ** 2 > 64)
    np.testing.assert_array_equal(clean(ring), ring)


def test_each_part_of_the_cleaning_can_be_left_out(disc):
    mask, whole = disc
    np.testing.assert_array_equal(clean(mask, settings=RAW), mask)
    filled = clean(mask, settings=CommitSettings(largest_piece=False))
    np.testing.assert_array_equal(filled, whole)  # the speck is below 2 % of the disc
    mask[5:9, 50:54] = True
    large = clean(mask, settings=CommitSettings(largest_piece=False))
    np.testing.assert_array_equal(large, whole | (mask & (np.arange(60) >= 50)))
    open_ = clean(mask, settings=CommitSettings(fill_holes=False))
    np.testing.assert_array_equal(open_, mask & whole)


def test_a_speck_under_a_point_is_none(disc):
    mask, whole = disc
    settings = CommitSettings(largest_piece=False)
    kept = clean(mask, [PointPrompt((5, 50))], settings)
    np.testing.assert_array_equal(kept, mask | whole)


@pytest.mark.parametrize("value", [False, True])
def test_cleaning_leaves_plain_masks_alone(value):
    mask = np.full((3, 4), value)
    np.testing.assert_array_equal(clean(mask), mask)


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
        edit = plan_commit(mask, existing, (0, 0, 5, 9), 7, KEEP, points)
        np.testing.assert_array_equal(edit.new == 7, expected)
    assert writable_part(mask, existing, Overlap.OVERWRITE).all()
    # Filling means every free pixel.
    filled = writable_part(mask, existing, Overlap.FILL)
    np.testing.assert_array_equal(filled, left | right)


def test_names_are_accepted_and_wrong_ones_refused():
    settings = CommitSettings(overlap="fill", mode="semantic")
    assert (settings.overlap, settings.mode) == (Overlap.FILL, LabelMode.SEMANTIC)
    with pytest.raises(SettingsError, match="keep, overwrite, fill"):
        CommitSettings(overlap="merge")
    with pytest.raises(SettingsError, match="from 0 on, not -1"):
        CommitSettings(min_area=-1)


def test_a_very_large_mask_is_cleaned_where_there_is_something_to_clean():
    side = 2200
    rows, columns = np.ogrid[:side, :side]
    disc = (rows - 1100) ** 2 + (columns - 1100) ** 2 < 1050**2
    assert disc.size > MAX_EXACT_PX
    np.testing.assert_array_equal(clean(disc), disc)
    dirty = disc.copy()
    dirty[1000:1060, 1000:1060] = False
    dirty[5:40, 5:40] = True
    np.testing.assert_array_equal(clean(dirty, at=(7, 9)), disc)
    negative = PointPrompt((1030.0, 1030.0), 0)
    dirty[5:40, 5:40] = False
    np.testing.assert_array_equal(clean(dirty, [negative]), dirty)
