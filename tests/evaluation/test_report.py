# SPDX-License-Identifier: Apache-2.0
import numpy as np

from napari_sam.evaluation.matching import MatchCounts
from napari_sam.evaluation.report import ImageScores, Report


def _report() -> Report:
    first = ImageScores(
        "a",
        2,
        np.array([0.5, 0.7]),
        np.array([0.6, 0.8]),
        np.array([0.9, 0.7]),
        MatchCounts(1, 0, 1),
        0.5,
    )
    second = ImageScores(
        "b",
        1,
        np.array([0.9]),
        np.array([1.0]),
        np.array([0.2]),
        MatchCounts(1, 3, 0),
        0.25,
    )
    return Report((first, second), 25, 0.5)


def test_means_pool_objects_and_average_images():
    report = _report()
    assert report.n_objects == 3
    assert round(report.point, 6) == 0.7
    assert round(report.point_oracle, 6) == 0.8
    assert round(report.box, 6) == 0.6
    assert report.average_precision == (1 / 2 + 1 / 4) / 2


def test_format_names_every_number():
    text = _report().format()
    assert "2 images, 3 objects of at least 25 px" in text
    assert "mean IoU 0.700" in text
    assert "mean AP  0.375" in text
    assert "found 2, invented 3, missed 1" in text


def test_parts_not_asked_for_stay_away():
    report = Report((ImageScores("a", 4, box=np.ones(4)),), 25, 0.5)
    assert "point" not in report.format()
    assert "AP" not in report.format()
    numbers = report.to_dict()
    assert numbers["point_iou"] is None
    assert numbers["average_precision"] is None
    assert numbers["box_iou"] == 1.0
    (row,) = report.rows()
    assert row["box_iou"] == 1.0
    assert row["true_positives"] is None


def test_image_without_objects_has_no_mean():
    report = Report((ImageScores("a", 0, box=np.empty(0)),), 25, 0.5)
    assert report.rows()[0]["box_iou"] is None
    assert report.to_dict()["box_iou"] is None
