# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from napari_sam.annotation.record_stats import (
    gray,
    is_background,
    measure_records,
    perimeter,
    roundness,
)
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.geometry import mask_bounding_box
from napari_sam.structures.rle import encode

MASKS = arrays(np.bool_, (7, 9))


def record_of(mask, iou=0.9, stability=0.8):
    return MaskRecord(
        rle=encode(mask),
        bbox=mask_bounding_box(mask) or (0, 0, 0, 0),
        area=int(mask.sum()),
        predicted_iou=iou,
        stability_score=stability,
        point_yx=(0.0, 0.0),
        crop_box=(0, 0, *mask.shape),
    )


def disc(radius, offset=0.0):
    y, x = np.mgrid[-50:51, -50:51]
    return (y - offset) ** 2 + (x - offset) ** 2 <= radius**2


def test_perimeter_counted_by_hand():
    # A row of 5: four straight steps above and below, four half diagonals at its ends,
    # where the outline turns twice; and four turns between straight and diagonal.
    row = np.ones((1, 5), bool)
    expected = 8 * 0.980 + 4 * 1.406 / 2 - 6 * 0.091
    assert perimeter(row) == pytest.approx(expected)
    assert perimeter(row.T) == pytest.approx(expected)


@pytest.mark.parametrize("radius", [6, 10, 20, 40])
@pytest.mark.parametrize("offset", [0.0, 0.25, 0.5])
def test_perimeter_of_discs(radius, offset):
    assert perimeter(disc(radius, offset)) == pytest.approx(
        2 * math.pi * radius, rel=0.05 if radius < 15 else 0.02
    )


@pytest.mark.parametrize("degrees", [0, 10, 30, 45, 80])
def test_perimeter_hardly_depends_on_the_direction(degrees):
    y, x = np.mgrid[-60:61, -60:61]
    angle = math.radians(degrees)
    u = y * math.cos(angle) + x * math.sin(angle)
    v = x * math.cos(angle) - y * math.sin(angle)
    bar = (abs(u) <= 40) & (abs(v) <= 10)
    assert perimeter(bar) == pytest.approx(200, rel=0.03)


def test_perimeter_counts_holes_and_units():
    ring = disc(20) & ~disc(10)
    assert perimeter(ring) == pytest.approx(perimeter(disc(20)) + perimeter(disc(10)))
    assert perimeter(disc(20), (0.5, 0.5)) == pytest.approx(perimeter(disc(20)) / 2)
    # 10 rows of 2 um and 20 columns of 1 um are a square of 20 um.
    tall = perimeter(np.ones((10, 20), bool), (2.0, 1.0))
    assert tall == pytest.approx(80, rel=0.06)


def test_empty_mask():
    assert perimeter(np.zeros((4, 4), bool)) == 0
    assert roundness(0, 0) == 0


@settings(deadline=None, max_examples=60)
@given(MASKS)
def test_perimeter_is_the_same_from_every_side(mask):
    length = perimeter(mask)
    assert length >= 0
    assert perimeter(mask.T) == pytest.approx(length)
    assert perimeter(mask[::-1]) == pytest.approx(length)
    assert perimeter(np.pad(mask, 2)) == pytest.approx(length)


def test_roundness_orders_shapes():
    square = np.ones((30, 30), bool)
    line = np.ones((1, 30), bool)
    values = [roundness(m.sum(), perimeter(m)) for m in (disc(20), square, line)]
    assert values[0] > 0.97
    assert values[1] == pytest.approx(math.pi / 4, abs=0.07)
    assert values[2] < 0.15


def test_records_are_measured_on_the_pixels_shown():
    plane = np.arange(48, dtype=np.uint16).reshape(6, 8)
    mask = np.zeros((6, 8), bool)
    mask[1, 1:3] = True  # values 9 and 10
    table = measure_records([record_of(mask, 0.7, float("nan"))], plane)
    assert table["mean_intensity"].tolist() == [9.5]
    assert table["area"].tolist() == [2]
    assert table["predicted_iou"].tolist() == [0.7]
    assert np.isnan(table["stability_score"]).all()
    assert table["roundness"].tolist() == [1.0]


def test_colours_count_alike_and_nan_not_at_all():
    rgba = np.zeros((2, 2, 4))
    rgba[..., 0], rgba[..., 1], rgba[..., 3] = 30, 60, 255
    assert gray(rgba).tolist() == [[30, 30], [30, 30]]
    plane = np.array([[1.0, np.nan], [3.0, np.nan]])
    table = measure_records([record_of(np.ones((2, 2), bool))], plane)
    assert table["mean_intensity"].tolist() == [2.0]
    nothing = measure_records(
        [record_of(np.ones((2, 2), bool))], np.full((2, 2), np.nan)
    )
    assert np.isnan(nothing["mean_intensity"]).all()


@pytest.mark.parametrize(
    ("box", "area", "expected"),
    [
        ((0, 0, 100, 10), 900, True),  # left, top and bottom
        ((0, 0, 50, 50), 2400, False),  # two borders, a quarter
        ((2, 2, 60, 98), 100, True),  # near enough to three borders
        ((3, 3, 60, 97), 100, False),
        ((10, 10, 90, 90), 5001, True),  # no border, more than half
        ((10, 10, 90, 90), 5000, False),
    ],
)
def test_grid_labels_background_as_an_object(box, area, expected):
    """Lesson 15: an explicit rule of borders and area says what is background."""
    assert is_background(box, area, (100, 100)) is expected
