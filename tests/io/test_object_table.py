# SPDX-License-Identifier: Apache-2.0
import csv

import numpy as np
import pytest

from napari_sam.errors import LabelsError, OutputError
from napari_sam.io.object_table import measure_objects, object_columns, write_table


@pytest.fixture
def labels() -> np.ndarray:
    labels = np.zeros((10, 12), np.uint16)
    labels[2:4, 3:7] = 5
    labels[9, 11] = 2
    return labels


def test_numbers_by_hand(labels):
    image = np.zeros((10, 12), np.uint16)
    image[2, 3:7] = 10
    image[3, 3:7] = 30
    small, big = measure_objects(labels, image, pixel_size_um=(0.5, 0.25))
    assert list(big) == object_columns()
    assert big["label"] == 5
    assert big["area_px"] == 8
    assert (big["centroid_y_px"], big["centroid_x_px"]) == (2.5, 4.5)
    box = [big[f"{name}_px"] for name in ("y0", "x0", "y1", "x1")]
    assert box == [2, 3, 4, 7]
    assert big["mean_intensity"] == 20
    assert big["area_um2"] == 1.0
    assert (big["centroid_y_um"], big["centroid_x_um"]) == (1.25, 1.125)
    assert [big[f"{name}_um"] for name in ("y0", "x0", "y1", "x1")] == [
        1,
        0.75,
        2,
        1.75,
    ]
    assert (small["label"], small["area_px"], small["y0_px"]) == (2, 1, 9)


def test_unknown_pixel_size_stays_empty(labels):
    rows = measure_objects(labels, np.zeros((10, 12)))
    assert {rows[0][c] for c in object_columns() if c.endswith("um")} == {None}
    assert rows[0]["area_um2"] is None


def test_channels_have_their_own_means(labels):
    image = np.zeros((10, 12, 2), np.float32)
    image[..., 1] = 7
    rows = measure_objects(labels, image)
    assert rows[1]["mean_intensity_0"] == 0
    assert rows[1]["mean_intensity_1"] == 7
    assert list(rows[1]) == object_columns(2)


def test_nan_pixels_do_not_enter_the_mean(labels):
    image = np.full((10, 12), 4.0)
    image[2, 3] = np.nan
    image[9, 11] = np.nan
    small, big = measure_objects(labels, image)
    assert big["mean_intensity"] == 4
    assert small["mean_intensity"] is None


def test_no_objects(tmp_path):
    assert measure_objects(np.zeros((4, 5), int), np.zeros((4, 5))) == []
    assert len(measure_objects(np.ones((4, 5), int), np.zeros((4, 5)))) == 1
    path = write_table(tmp_path / "a.csv", [], object_columns())
    assert path.read_text().strip() == ",".join(object_columns())


def test_other_shape_is_refused():
    with pytest.raises(LabelsError, match="do not fit"):
        measure_objects(np.zeros((4, 5), int), np.zeros((5, 5)))


def test_table_comes_back(tmp_path, labels):
    rows = measure_objects(labels, np.ones((10, 12)))
    path = write_table(tmp_path / "deep" / "a.csv", rows, object_columns())
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["label"] for row in found] == ["2", "5"]
    assert found[0]["area_um2"] == ""
    (tmp_path / "plain").write_text("")
    with pytest.raises(OutputError):
        write_table(tmp_path / "plain" / "a.csv", rows, object_columns())
