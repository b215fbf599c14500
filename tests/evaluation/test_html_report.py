# SPDX-License-Identifier: Apache-2.0
"""The page: what stands in it, that nothing gets out of it, that a browser takes it."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from napari_sam.errors import SettingsError
from napari_sam.evaluation.cases import Case, WorstCases
from napari_sam.evaluation.html_report import html_page

EVIL = '"><script>alert(1)</script>&'
VOID = {"meta", "image", "rect", "circle", "path", "polyline", "polygon", "br"}


class Reader(HTMLParser):
    """Collects elements with attributes, and all text; refuses what is not closed."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text, self.open = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def words(self):
        return " ".join(self.text)


def score(value, label="x", n=10, of="objects"):
    ends = (None, None) if value is None else (value - 0.05, value + 0.05)
    return {
        "label": label,
        "value": value,
        "low": ends[0],
        "high": ends[1],
        "n": n,
        "of": of,
        "resampled": "images",
        "is_higher_better": True,
    }


def made_up(name="cells.png", group="stained"):
    """A report with everything in it."""
    scores = {
        "point_iou": score(0.8, "centre point"),
        "grid_ap": score(0.6, "automatic, AP", 2, "images"),
    }
    corrected = {
        "label": "after the centre point",
        "mean_iou": [score(0.8), score(0.9)],
        "fell_share": [score(0.125)],
        "gain": [score(0.1)],
        "never_falls": True,
        "falls_at": [],
        "first_click": 1,
        "clicks": {"0.80": {"mean": score(1.5), "never_share": score(0.25), "cap": 2}},
    }
    automatic = {"thresholds": [0.5, 0.55], "ap": [score(0.6), score(0.4)]}
    objects = {
        "label": [1, 2, 3],
        "area_px": [30, 400, 90],
        "centre_y": [1.0, 2.0, 3.0],
        "centre_x": [1.0, 2.0, 3.0],
        "point_iou": [0.4, None, 0.9],
    }
    return {
        "format": "napari-sam evaluation",
        "version": 1,
        "is_complete": True,
        "model": {"name": "tiny", "digest": "0123456789abcdef", "device": "cpu"},
        "settings": {"modes": ["point", "grid"], "automatic": {"a": 1}, "seed": 0},
        "seconds": 1.5,
        "whole": {
            "images": 2,
            "objects": 3,
            "scores": scores,
            "corrections": {"after_point": corrected},
            "automatic": {"grid": {**automatic, "f1": [score(0.7), score(None)]}},
        },
        "groups": {
            "stain": {
                group: {"images": 1, "objects": 3, "scores": scores},
                "none": {"images": 1, "objects": 0, "scores": {}},
            }
        },
        "images": [
            {
                "name": name,
                "groups": {"stain": group},
                "shape": [20, 30],
                "seconds": 0.5,
                "scores": {"point_iou": 0.65, "grid_ap": 0.6},
                "counts": {},
                "objects": objects,
            },
            {
                "name": "empty",
                "groups": {"stain": "none"},
                "shape": [20, 30],
                "seconds": 0.5,
                "scores": {"point_iou": None},
                "counts": {},
                "objects": {},
            },
        ],
    }


def made_up_cases(name="cells.png"):
    truth = np.zeros((20, 30), np.int32)
    truth[5:15, 5:15] = 1
    pixels = np.full((20, 30, 3), 90, np.uint8)
    found = np.roll(truth, 4, 1)
    return [
        Case(
            "point", name, 1, 0.4, pixels, truth, found, points=((9, 9, 1), (2, 2, 0))
        ),
        Case("box", name, 1, 0.5, pixels, truth, found, box=(5, 5, 15, 15)),
        Case("grid", name, None, 0.3, pixels, truth, np.zeros_like(truth)),
    ]


def test_sections_and_numbers():
    page = Reader(html_page(made_up(), made_up_cases()))
    headings = re.findall(r"<h2>(.*?)</h2>", html_page(made_up(), made_up_cases()))
    assert headings == [
        "Scores",
        "IoU after each click",
        "Automatic segmentation",
        "Distribution of IoU over objects",
        "IoU against object size",
        "By stain",
        "Worst cases",
    ]
    for text in (
        "Evaluation of tiny",
        "2 images, 3 objects, weights 0123456789ab, device cpu, 1.5 s",
        "0.750 to 0.850",
        "0.800 (0.750 to 0.850)",
        "12.5 %",
        "cells.png, object 1",
        "IoU 0.400, centre point",
        "AP 0.300, automatic, grid",
        "point, grid",
    ):
        assert text in page.words
    assert "Not complete" not in page.words


def test_every_picture_says_what_it_shows_and_every_table_has_heads():
    page = Reader(html_page(made_up(), made_up_cases()))
    pictures = page.all("svg")
    # Clicks, AP, F1, distribution, size, two groups' scores, three cases.
    assert len(pictures) == 10
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in pictures)
    assert sum("0.4" in svg["aria-label"] for svg in pictures) >= 2
    assert len(page.all("table")) == len(page.all("caption")) > 5
    assert {attrs["scope"] for attrs in page.all("th")} == {"col", "row"}
    assert page.all("html") == [{"lang": "en"}]


def test_names_are_text_and_never_markup():
    page = html_page(made_up(EVIL, EVIL), made_up_cases(EVIL))
    reader = Reader(page)
    assert reader.all("script") == []
    assert reader.words.count(EVIL) >= 3
    assert any(EVIL in svg["aria-label"] for svg in reader.all("svg"))
    model = made_up() | {"model": {"name": EVIL, "digest": None, "device": None}}
    assert Reader(html_page(model)).all("script") == []


def test_nothing_comes_from_outside_and_the_policy_forbids_it():
    page = html_page(made_up(), made_up_cases())
    reader = Reader(page)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = [m["content"] for m in reader.all("meta") if "http-equiv" in m]
    assert policy == f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'"
    sources = [
        v for _, a in reader.elements for k, v in a.items() if k in ("src", "href")
    ]
    assert len(sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not any("style" in attrs for _, attrs in reader.elements)
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style


def test_an_incomplete_run_is_told_at_the_top():
    page = html_page(made_up() | {"is_complete": False})
    assert page.index("Not complete") < page.index("<h2>")


def test_parts_not_measured_are_left_out():
    report = made_up()
    report["whole"] |= {"scores": {}, "corrections": {}, "automatic": {}}
    report |= {"groups": {}, "images": [], "seconds": None}
    page = html_page(report)
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Scores"]
    assert "Nothing was measured" in page
    Reader(page)


def test_gains_over_an_earlier_report():
    earlier = {
        "model": {"name": EVIL, "digest": "fedcba9876543210"},
        "images": 2,
        "scores": {"point_iou": score(-0.03, "centre point"), "x": score(None)},
    }
    page = html_page(made_up() | {"comparison": earlier})
    reader = Reader(page)
    assert "Against" in reader.words
    assert "-0.030 (-0.080 to 0.020)" in reader.words
    assert any("centre point: -0.030" in s["aria-label"] for s in reader.all("svg"))


@pytest.mark.parametrize(
    "change", [{"format": "other"}, {"version": 2}, {"version": None}]
)
def test_other_files_are_refused(change):
    with pytest.raises(SettingsError, match="no evaluation"):
        html_page(made_up() | change)


def test_a_measured_report_becomes_a_page(tiny_sam, blobs):
    from napari_sam.evaluation.protocol import evaluate_images
    from napari_sam.evaluation.settings import EvaluationSettings

    cases = WorstCases(2)
    settings = EvaluationSettings(
        modes=("point", "box", "point-corrections"), corrections=2, resamples=20
    )
    blank = np.zeros_like(blobs.labels)
    report = evaluate_images(
        [("a", blobs.image, blobs.labels), ("<b>", blobs.image, blank)],
        tiny_sam,
        settings,
        groups={"a": {"lab": "1"}, "<b>": {"lab": "2"}},
        cases=cases,
    ).to_dict()
    reader = Reader(html_page(report, cases.all()))
    for value in (report["whole"]["scores"]["box_iou"]["value"],):
        assert f"{value:.3f}" in reader.words
    assert "a, object" in reader.words
    # Two distributions and sizes each for point, oracle and box; clicks; groups; cases.
    assert len(reader.all("svg")) >= 3 * 2 + 1 + 3 + 4


def chromium_log(page, tmp_path):
    """What a browser without a window says about a page, and the page as it sees it."""
    browser = next(
        (
            b
            for b in ("chromium", "chromium-browser", "google-chrome")
            if shutil.which(b)
        ),
        None,
    )
    if browser is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    done = subprocess.run(
        [
            browser,
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            "--disable-background-networking",
            f"--user-data-dir={tmp_path / 'profile'}",
            *("--enable-logging=stderr", "--v=0", "--dump-dom", path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    said = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return said, done.stdout


@pytest.mark.slow
def test_a_browser_opens_it_without_a_complaint(tmp_path):
    said, seen = chromium_log(html_page(made_up(EVIL), made_up_cases(EVIL)), tmp_path)
    assert said == []
    assert seen.count("<svg") == 10
    assert "<script" not in seen


@pytest.mark.slow
def test_a_browser_refuses_what_the_policy_forbids(tmp_path):
    page = html_page(made_up()).replace("<main>", "<main><script>alert(1)</script>")
    said, _ = chromium_log(page, tmp_path)
    assert any("Content Security Policy" in line for line in said)
