# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import numpy as np
import pytest

from napari_sam.evaluation import plots


def score(value, n=4, label="centre point"):
    ends = (None, None) if value is None else (value - 0.1, value + 0.1)
    return {
        "label": label,
        "value": value,
        "low": ends[0],
        "high": ends[1],
        "n": n,
        "of": "objects",
    }


def report_of(areas, ious, **parts):
    objects = {"label": list(range(len(areas))), "area_px": areas, "point_iou": ious}
    whole = {"images": 1, "objects": len(areas), "scores": {"point_iou": score(0.5)}}
    return {"whole": whole, "images": [{"name": "a", "objects": objects}], **parts}


def said(svg):
    return re.search(r'aria-label="([^"]*)"', svg).group(1)


def test_objects_without_a_value_are_left_out():
    found = plots.object_scores(report_of([10, 20, 30], [0.5, None, 0.7]))
    np.testing.assert_array_equal(found["centre point"], [[10, 0.5], [30, 0.7]])


def test_distribution_counts_objects():
    ((caption, svg),) = plots.distributions(report_of([1, 1, 1], [0.2, 0.96, 1.0]))
    assert caption == "centre point: 3 objects, 1 below 0.5"
    # 0.2 opens its bin; 1.0 belongs to the last one, which it shares with 0.96.
    assert re.findall(r"<title>([^<]*)</title></rect>", svg) == [
        "0.20 to 0.25: 1",
        "0.95 to 1.00: 2",
    ]
    assert "mean 0.720" in svg


def test_size_is_told_by_medians_of_equal_parts():
    areas = list(range(100, 200))
    ious = [0.2] * 50 + [0.8] * 50
    ((_, svg),) = plots.iou_by_size(report_of(areas, ious))
    assert "Median at about 106 px: 0.20." in said(svg)
    assert said(svg).endswith("Median at about 194 px: 0.80.")


def test_of_very_many_objects_some_are_drawn():
    n = plots.MAX_POINTS + 500
    ((caption, svg),) = plots.iou_by_size(report_of([50] * n, [0.5] * n))
    assert caption == "centre point: 2,500 objects, 2,000 of them drawn"
    (cloud,) = re.findall(r'class="cloud c0" d="([^"]*)"', svg)
    assert cloud.count("M") == plots.MAX_POINTS


def test_clicks_begin_with_those_of_the_first_prompt():
    corrections = {
        name: {
            "label": name,
            "first_click": first,
            "mean_iou": [score(0.6), score(0.8)],
        }
        for name, first in (("point", 1), ("box", 0))
    }
    report = report_of([], [])
    report["whole"]["corrections"] = corrections
    ((_, svg),) = plots.iou_by_clicks(report)
    assert "point: 1: 0.600, 2: 0.800." in said(svg)
    assert "box: 0: 0.600, 1: 0.800." in said(svg)


def test_thresholds_and_values_that_are_not_known():
    report = report_of([], [])
    report["whole"]["automatic"] = {
        "grid": {"thresholds": [0.5, 0.75], "ap": [score(0.6), score(None)], "f1": []}
    }
    ((caption, svg),) = plots.ap_by_threshold(report)
    assert caption.startswith("AP")
    assert "grid: 0.5: 0.600." in said(svg)


def test_groups_with_intervals_the_largest_first():
    groups = {
        f"g{n}": {"images": 1, "scores": {"point_iou": score(0.5, n)}}
        for n in range(50)
    }
    groups["nothing"] = {"images": 1, "scores": {}}
    ((caption, svg),) = plots.group_intervals(
        report_of([], [], groups={"stain": groups}), "stain"
    )
    assert caption == "Number of objects in brackets; 11 groups are not drawn"
    assert svg.index(">g49 (49)<") < svg.index(">g48 (48)<")
    assert "g49: 0.500, 0.400 to 0.600." in said(svg)


def test_gains_may_be_losses():
    report = report_of([], [])
    report["comparison"] = {"scores": {"a": score(-0.2), "b": score(None)}}
    ((_, svg),) = plots.comparison(report)
    assert "centre point: -0.200, -0.300 to -0.100." in said(svg)


@pytest.mark.parametrize(
    "draw",
    [
        plots.distributions,
        plots.iou_by_size,
        plots.iou_by_clicks,
        plots.ap_by_threshold,
        plots.comparison,
    ],
)
def test_without_values_there_is_no_chart(draw):
    assert list(draw(report_of([], []))) == []
