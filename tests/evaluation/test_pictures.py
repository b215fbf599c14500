# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from napari_sam.evaluation.cases import Case
from napari_sam.evaluation.pictures import (
    MAX_CASES,
    case_svg,
    data_uri,
    outline,
    worst_cases,
)


def pixels_of(uri):
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))) as picture:
        return np.array(picture)


def corners(path):
    """The closed lines of a path, each as a set of (x, y)."""
    return [
        {
            tuple(map(float, pair))
            for pair in zip(*[iter(line.split())] * 2, strict=True)
        }
        for line in re.findall(r"M([^Z]*)Z", path)
    ]


def test_a_rectangle_has_an_outline_along_its_edges():
    labels = np.zeros((10, 12), int)
    labels[2:5, 3:9] = 1
    (line,) = corners(outline(labels))
    xs, ys = zip(*line, strict=True)
    # Rows 2 to 4 and columns 3 to 8 end at their outer edges; corners are cut.
    assert (min(xs), max(xs), min(ys), max(ys)) == (3, 9, 2, 5)
    assert (3, 2) not in line


def test_objects_that_touch_and_rings_have_lines_of_their_own():
    labels = np.zeros((12, 12), int)
    labels[1:11, 1:6] = 1
    labels[1:11, 6:11] = 2
    labels[4:7, 2:4] = 0
    assert len(corners(outline(labels))) == 3


def test_an_object_at_the_border_is_closed():
    (line,) = corners(outline(np.ones((4, 5), int)))
    xs, ys = zip(*line, strict=True)
    assert (min(xs), max(xs), min(ys), max(ys)) == (0, 5, 0, 4)


def test_nothing_has_no_outline():
    assert outline(np.zeros((4, 4), int)) == ""


def test_a_round_object_is_simplified_by_less_than_half_a_pixel():
    y, x = np.mgrid[:101, :101]
    (line,) = corners(outline(((y - 50) ** 2 + (x - 50) ** 2 <= 1600).astype(int)))
    distances = [np.hypot(px - 50.5, py - 50.5) for px, py in line]
    assert max(abs(d - 40.2) for d in distances) < 1
    assert len(line) < 130


def test_small_pictures_keep_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    uri = data_uri(pixels)
    assert uri.startswith("data:image/png;base64,")
    np.testing.assert_array_equal(pixels_of(uri), pixels)


def test_large_pictures_are_small_files():
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3)).astype(np.uint8)
    uri = data_uri(noise)
    assert uri.startswith("data:image/jpeg;base64,")
    assert len(uri) < 500_000
    assert pixels_of(uri).shape == noise.shape


@pytest.fixture
def case():
    truth = np.zeros((20, 40), np.int32)
    truth[4:9, 4:9] = 1
    return Case(
        kind="point",
        image="one",
        label=7,
        score=0.25,
        pixels=np.zeros((20, 40, 3), np.uint8),
        truth=truth,
        prediction=truth,
        points=((6, 6, 1), (12, 12, 0)),
        box=(4, 4, 9, 9),
    )


def test_prompts_are_drawn_where_they_are(case):
    svg = case_svg(case, "a <b>")
    assert 'aria-label="a &lt;b&gt;"' in svg
    assert 'viewBox="0 0 40 20" width="300" height="150"' in svg
    assert '<rect class="prompt" x="4.00" y="4.00" width="5.00" height="5.00"/>' in svg
    crosses = re.findall(r'class="point" d="([^"]*)"', svg)
    assert [cross.count("M") for cross in crosses] == [2, 1]  # plus and minus
    start, length = re.match(r"M([\d.]+) 6.50h([\d.]+)", crosses[0]).groups()
    assert float(start) + float(length) / 2 == pytest.approx(6.5, abs=0.02)


def test_the_number_of_pictures_is_bounded(case):
    section = worst_cases([case] * (MAX_CASES + 3))
    assert section.count("<svg") == MAX_CASES
    assert "3 more left out" in section
    assert worst_cases([]) == ""
