# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from napari_sam.evaluation.svg_chart import HEIGHT, WIDTH, Axis, Chart

UNIT = Axis("IoU", 0.0, 1.0)


def elements(chart, css):
    tree = ET.fromstring(chart.svg())
    return [e for e in tree.iter() if css in (e.get("class") or "").split()]


def test_ticks_are_round_numbers():
    assert [text for _, text in UNIT.marks()] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert [text for _, text in Axis("n", 0, 1234).marks()] == ["0", "500", "1,000"]
    assert [text for _, text in Axis("g", -0.02, 0.02).marks()] == [
        *("-0.02", "-0.01", "0", "0.01", "0.02"),
    ]


def test_log_ticks_are_powers_of_ten_or_finer_where_these_are_few():
    wide = Axis("px", 20, 2e5, is_log=True)
    assert [text for _, text in wide.marks()] == ["100", "1,000", "10,000", "100,000"]
    narrow = Axis("px", 40, 800, is_log=True)
    assert [text for _, text in narrow.marks()] == ["50", "100", "200", "500"]


def test_places_on_axes():
    assert Axis("", 2, 4).place(3) == 0.5
    assert Axis("", 1, 100, is_log=True).place(10) == pytest.approx(0.5)
    assert Axis("", 3, 3).place(3) == 0.5  # without extent
    assert Axis("", 0, 0).marks() == [(0.0, "0")]


def test_shapes_lie_where_their_values_are():
    chart = Chart("t", UNIT, UNIT)
    chart.line([(0, 0), (1, 1)], 0)
    (line,) = elements(chart, "line")
    (x0, y0), (x1, y1) = (map(float, p.split(",")) for p in line.get("points").split())
    assert x0 < x1 < WIDTH
    assert y1 < y0 < HEIGHT  # up is up
    (axis,) = elements(chart, "axis")
    left, _, bottom, right = map(float, re.findall(r"[\d.]+", axis.get("d")))
    assert (x0, y0, x1) == (left, bottom, right)


def test_bars_have_their_heights_and_none_is_drawn_for_zero():
    chart = Chart("t", UNIT, Axis("n", 0, 4))
    chart.bars([0, 0.5, 1], [4, 0], 1)
    chart.bars([0, 0.5, 1], [2, 0], 1)
    high, low = elements(chart, "bar")
    assert float(high.get("height")) == pytest.approx(
        2 * float(low.get("height")), abs=0.2
    )


def test_bands_intervals_clouds_and_rules():
    chart = Chart("t", UNIT, UNIT)
    chart.band([(0, 0.1, 0.3), (1, 0.2, 0.4)], 0)
    chart.band([(0, 0.1, 0.3)], 0)  # one place has no area
    chart.interval(0.5, 0.4, 0.3, 0.6, 8)
    chart.cloud([(0.1, 0.1), (0.2, 0.2)], 2)
    chart.cloud([], 2)
    chart.upright(0.9, "mean <x>")
    chart.legend(0, "a & b")
    assert len(elements(chart, "band")) == 1
    assert len(elements(chart, "cloud")) == 1
    assert elements(chart, "cloud")[0].get("d").count("M") == 2
    assert len(elements(chart, "c2")) == 3  # colours repeat: 8 is the third
    words = [e.text for e in elements(chart, "tick")]
    assert "mean <x>" in words
    assert "a & b" in words


def test_a_single_value_is_a_dot():
    chart = Chart("t", UNIT, UNIT)
    chart.line([(0.5, 0.5)], 0, has_dots=False)
    assert elements(chart, "line") == []
    assert len(elements(chart, "dot")) == 1


def test_what_a_screen_reader_tells():
    chart = Chart('A "title"', UNIT, UNIT)
    chart.say("Two < three.")
    tree = ET.fromstring(chart.svg())
    assert tree.get("role") == "img"
    assert tree.get("aria-label") == 'A "title". Two < three.'
