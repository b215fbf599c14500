# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest

from napari_sam.annotation.measurements import COLUMNS, measure_objects, table_rows
from napari_sam.annotation.objects import AnnotatedObject, Origin, Status
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import SettingsError

FLAT = PlaneKey()


@pytest.fixture
def known(store):
    """Object 3: rows 2..3, columns 4..6, of which one pixel is missing."""
    store.array[2:4, 4:7] = 3
    store.array[2, 4] = 8
    return AnnotatedObject(
        3,
        FLAT,
        (2, 4, 4, 7),
        5,
        class_name="nucleus",
        predicted_iou=0.75,
        status=Status.EDITED,
        origin=Origin.BATCH,
        seconds=1.234,
    )


def test_counted_by_hand(known, store, source):
    source.array[:] = np.arange(2400).reshape(40, 60) % 251
    columns = measure_objects([known], store, source)
    assert tuple(columns) == COLUMNS
    (row,) = table_rows(columns)
    y, x = np.array([2, 2, 3, 3, 3]), np.array([5, 6, 4, 5, 6])
    values = (y * 60 + x) % 251
    expected = {
        "object_id": 3,
        "plane": "",
        "class_name": "nucleus",
        "status": "edited",
        "origin": "batch",
        "area_px": 5,
        "centroid_y_px": pytest.approx(y.mean()),
        "centroid_x_px": pytest.approx(x.mean()),
        "equivalent_diameter_px": pytest.approx(math.sqrt(20 / math.pi)),
        "mean_intensity": pytest.approx(values.mean()),
        "min_intensity": values.min(),
        "max_intensity": values.max(),
        "predicted_iou": 0.75,
        "seconds": 1.23,
    }
    assert {name: row[name] for name in expected} == expected
    assert row["area_um2"] is None
    assert row["perimeter_um"] is None


def test_micrometres(known, store, source):
    (row,) = table_rows(
        measure_objects([known], store, source, lambda plane: (0.5, 0.25))
    )
    assert row["area_um2"] == pytest.approx(5 * 0.125)
    assert row["centroid_y_um"] == pytest.approx(2.6 * 0.5)
    assert row["centroid_x_um"] == pytest.approx(5.2 * 0.25)
    assert row["equivalent_diameter_um"] == pytest.approx(math.sqrt(2.5 / math.pi))


def test_roundness_is_that_of_the_object_not_of_its_pixels(store, source):
    y, x = np.mgrid[:40, :60]
    store.array[((y - 20) / 8) ** 2 + ((x - 30) / 16) ** 2 <= 1] = 1
    known = AnnotatedObject(1, FLAT, (12, 14, 29, 47), 0)
    (flat,) = table_rows(measure_objects([known], store, source))
    (true,) = table_rows(measure_objects([known], store, source, lambda _: (2.0, 1.0)))
    assert flat["roundness"] < 0.82
    assert true["roundness"] > 0.88
    assert true["perimeter_um"] == pytest.approx(2 * math.pi * 16, rel=0.06)


def test_planes_of_a_stack(store, stack_source):
    labels = type(store)(np.zeros((2, 40, 60), np.uint32))
    labels.array[:, 2:12, 3:13] = 4  # region 7 on the first plane, background below
    planes = [PlaneKey((1, 2), (z,)) for z in (1, 0)]
    objects = [AnnotatedObject(4, plane, (2, 3, 12, 13), 100) for plane in planes]
    columns = measure_objects(
        objects, labels, stack_source, lambda plane: None if plane.index[0] else (1, 1)
    )
    assert columns["plane"] == ["1", "0"]
    assert columns["mean_intensity"] == [0, 7]
    assert columns["area_um2"] == [None, 100]


def test_colours_and_missing_values(store, source):
    store.array[0, :2] = 1
    rgb = np.zeros((40, 60, 3))
    rgb[0, 0] = 1, 2, 6
    rgb[0, 1] = np.nan
    known = AnnotatedObject(1, FLAT, (0, 0, 1, 2), 2)
    (row,) = table_rows(measure_objects([known], store, type(source)(rgb)))
    assert row["mean_intensity"] == row["max_intensity"] == 3


def test_object_without_pixels(known, store, source):
    store.array[:] = 0
    (row,) = table_rows(measure_objects([known], store, source, lambda _: (1, 1)))
    assert row["area_px"] == 0
    assert row["mean_intensity"] is row["roundness"] is row["area_um2"] is None


def test_no_objects(store, source):
    columns = measure_objects([], store, source)
    assert tuple(columns) == COLUMNS
    assert table_rows(columns) == []


def test_impossible_pixel_size(known, store, source):
    with pytest.raises(SettingsError, match=r"two positive lengths.*\(0, 1\)"):
        measure_objects([known], store, source, lambda _: (0, 1))
