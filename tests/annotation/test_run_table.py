# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from napari_sam.annotation import run_table
from napari_sam.annotation.run_table import RunTable
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.geometry import mask_bounding_box
from napari_sam.structures.rle import encode

SHAPE = (5, 7)
STACKS = st.integers(0, 5).flatmap(lambda n: arrays(np.bool_, (n, *SHAPE)))


def record_of(mask):
    return MaskRecord(
        rle=encode(mask),
        bbox=mask_bounding_box(mask) or (0, 0, 0, 0),
        area=int(mask.sum()),
        predicted_iou=0.5,
        stability_score=0.5,
        point_yx=(0.0, 0.0),
        crop_box=(0, 0, *mask.shape),
    )


def table_of(masks):
    return RunTable([record_of(mask) for mask in masks], SHAPE)


def naive_paint(masks, values):
    """Large masks first, of equal ones the earlier."""
    canvas = np.zeros(SHAPE, np.uint16)
    for number in sorted(range(len(masks)), key=lambda n: -masks[n].sum()):
        if values[number]:
            canvas[masks[number]] = values[number]
    return canvas


@settings(deadline=None, max_examples=60)
@given(STACKS, st.data())
def test_paint_is_that_of_whole_masks(masks, data):
    values = data.draw(
        st.lists(st.integers(0, 9), min_size=len(masks), max_size=len(masks))
    )
    expected = naive_paint(masks, values)
    for order in "CF":
        canvas = np.zeros(SHAPE, np.uint16, order=order)
        table_of(masks).paint(canvas, values)
        np.testing.assert_array_equal(canvas, expected)


@settings(deadline=None, max_examples=60)
@given(STACKS)
def test_portions_change_nothing(masks):
    values = np.arange(1, len(masks) + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_table, "_AT_ONCE_PX", 3)
        canvas = np.zeros(SHAPE, np.uint16, order="F")
        table_of(masks).paint(canvas, values)
    np.testing.assert_array_equal(canvas, naive_paint(masks, values))


@settings(deadline=None, max_examples=60)
@given(STACKS, st.integers(-1, SHAPE[0]), st.integers(-1, SHAPE[1]), st.data())
def test_smallest_wanted_mask_under_a_pixel(masks, y, x, data):
    wanted = data.draw(arrays(np.bool_, len(masks)))
    found = table_of(masks).at((y, x), wanted)
    is_inside = 0 <= y < SHAPE[0] and 0 <= x < SHAPE[1]
    hits = [n for n, m in enumerate(masks) if wanted[n] and is_inside and m[y, x]]
    expected = min(hits, key=lambda n: masks[n].sum(), default=None)
    assert found == expected


@settings(deadline=None, max_examples=60)
@given(STACKS, arrays(np.bool_, SHAPE))
def test_pixels_inside_a_region(masks, region):
    counts = table_of(masks).count_inside(region)
    assert counts.tolist() == [int((mask & region).sum()) for mask in masks]


def test_masks_near_a_box():
    masks = np.zeros((2, *SHAPE), bool)
    masks[0, 0:2, 0:2] = True
    masks[1, 3:5, 4:7] = True
    table = table_of(masks)
    assert table.touching((0, 0, 5, 7)) == [0, 1]
    assert table.touching((2, 0, 3, 7)) == []
    assert table.touching((1, 1, 4, 5)) == [0, 1]


@settings(deadline=None, max_examples=60)
@given(STACKS)
def test_outlines(masks):
    records = [record_of(mask) for mask in masks]
    table = RunTable(records, SHAPE, outline_px=1)
    for number, mask in enumerate(masks):
        canvas = np.zeros(SHAPE, np.uint16)
        table.paint(canvas, np.arange(len(masks)) == number)
        np.testing.assert_array_equal(canvas > 0, mask & ~ndimage.binary_erosion(mask))
