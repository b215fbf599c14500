# SPDX-License-Identifier: Apache-2.0
"""An evaluation as one HTML page: tables, charts, and the worst cases as pictures.

The page needs nothing beside itself and runs no script; its content security policy
forbids both. Whatever comes from outside (names of images, groups, models) is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from napari_sam.errors import SettingsError
from napari_sam.evaluation import plots
from napari_sam.evaluation.comparison import FORMAT, VERSION
from napari_sam.evaluation.html_table import (
    interval,
    number,
    share,
    table,
    with_interval,
)
from napari_sam.evaluation.pictures import KINDS, worst_cases

if TYPE_CHECKING:
    from napari_sam.evaluation.cases import Case

MAX_IMAGES = 1000
"""Rows of the table of images; of more images, the first ones."""

Figures = Iterable[tuple[str, str]]
"""Captions and SVG elements."""


def html_page(report: Mapping[str, Any], cases: Sequence[Case] = ()) -> str:
    """Return the page.

    Parameters
    ----------
    report : mapping
        Plain values, as `Report.to_dict` returns and ``--json`` writes them.
    cases : sequence of Case
        Worst answers, in the order in which they are to be shown.

    Returns
    -------
    str
        A whole HTML document; about one megabyte with pictures.

    Raises
    ------
    SettingsError
        If the report is none, or of a newer version.
    """
    _check(report)
    style = files("napari_sam.evaluation").joinpath("report.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'"
    title = f"Evaluation of {report['model'].get('name') or 'a model'}"
    body = "\n".join(part for part in _body(title, report, cases) if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _check(report: Mapping[str, Any]) -> None:
    found = report.get("format"), report.get("version")
    if found[0] != FORMAT or not isinstance(found[1], int) or found[1] > VERSION:
        msg = (
            f"This is no evaluation that can be shown: format {found[0]!r}, version "
            f"{found[1]!r}. Expected {FORMAT!r} up to version {VERSION}."
        )
        raise SettingsError(msg)


def _body(
    title: str, report: Mapping[str, Any], cases: Sequence[Case]
) -> Iterator[str]:
    whole = report["whole"]
    yield f"<h1>{escape(title)}</h1>"
    yield _facts(report)
    if not report.get("is_complete", True):
        yield (
            '<p class="warning"><strong>Not complete.</strong> The run ended before '
            "its last image; the numbers are of the images named below.</p>"
        )
    yield f"<h2>Scores</h2>{_scores_table(whole['scores'])}"
    yield _comparison(report)
    yield _section("IoU after each click", plots.iou_by_clicks(report), _clicks(whole))
    yield _section(
        "Automatic segmentation", plots.ap_by_threshold(report), _thresholds(whole)
    )
    yield _section("Distribution of IoU over objects", plots.distributions(report))
    yield _section("IoU against object size", plots.iou_by_size(report))
    for column in report.get("groups") or {}:
        yield _section(
            f"By {column}",
            plots.group_intervals(report, column),
            _groups_table(report, column),
        )
    yield worst_cases(cases)
    yield _images(report)
    yield _details("Settings", _pairs_table("Settings of the run", report["settings"]))


def _facts(report: Mapping[str, Any]) -> str:
    model, whole = report["model"], report["whole"]
    digest = str(model.get("digest") or "")[:12]
    facts = [
        f"{whole['images']:,} images, {whole['objects']:,} objects",
        f"weights {digest}" if digest else "",
        f"device {model.get('device')}" if model.get("device") else "",
        f"{report['seconds']:,.1f} s" if report.get("seconds") is not None else "",
    ]
    return f'<p class="soft">{escape(", ".join(fact for fact in facts if fact))}</p>'


def _scores_table(scores: Mapping[str, Any]) -> str:
    if not scores:
        return '<p class="soft">Nothing was measured.</p>'
    rows = [
        (
            score["label"],
            number(score["value"]),
            interval(score),
            f"{score['n']:,} {score['of']}",
            "higher" if score.get("is_higher_better", True) else "lower",
        )
        for score in scores.values()
    ]
    heads = ("score", "mean", "interval", "of", "better if")
    return table("Means with bootstrap intervals", heads, rows)


def _comparison(report: Mapping[str, Any]) -> str:
    found = report.get("comparison")
    if not found:
        return ""
    rows = [
        (score["label"], with_interval(score), f"{score['n']:,} {score['of']}")
        for score in found["scores"].values()
    ]
    name = found["model"].get("name") or "an earlier report"
    digest = str(found["model"].get("digest") or "")[:12]
    return _section(
        f"Against {name} {digest}".strip(),
        plots.comparison(report),
        table(
            f"Gain over it on the {found['images']:,} images that both have",
            ("score", "mean gain", "of"),
            rows,
        ),
    )


def _clicks(whole: Mapping[str, Any]) -> str:
    corrections = (whole.get("corrections") or {}).values()
    parts = []
    for corrected in corrections:
        first = corrected["first_click"]
        ious = corrected["mean_iou"]
        fell = [None, *corrected["fell_share"]]
        gain = [None, *(corrected.get("gain") or [None] * (len(ious) - 1))]
        rows = [
            (str(first + n), with_interval(iou), with_interval(gain[n]), share(fell[n]))
            for n, iou in enumerate(ious)
        ]
        heads = ("clicks", "mean IoU", "gain", "objects whose IoU fell")
        parts.append(table(corrected["label"], heads, rows))
    needed = [
        (
            corrected["label"],
            target,
            with_interval(clicks["mean"]),
            share(clicks["never_share"]),
        )
        for corrected in corrections
        for target, clicks in corrected["clicks"].items()
    ]
    if needed:
        heads = ("first prompt", "IoU", "mean clicks", "objects that never reach it")
        parts.insert(0, table("Clicks needed", heads, needed))
    return _details("Numbers", "".join(parts)) if parts else ""


def _thresholds(whole: Mapping[str, Any]) -> str:
    parts = []
    for method, found in (whole.get("automatic") or {}).items():
        rows = [
            (f"{threshold:.2f}", with_interval(ap), with_interval(f1))
            for threshold, ap, f1 in zip(
                found["thresholds"], found["ap"], found["f1"], strict=True
            )
        ]
        parts.append(table(KINDS.get(method, method), ("IoU above", "AP", "F1"), rows))
    return _details("Numbers", "".join(parts)) if parts else ""


def _groups_table(report: Mapping[str, Any], column: str) -> str:
    scores = report["whole"]["scores"]
    rows = [
        (
            value,
            f"{summary['images']:,}",
            f"{summary['objects']:,}",
            *(with_interval(summary["scores"].get(key)) for key in scores),
        )
        for value, summary in report["groups"][column].items()
    ]
    heads = (column, "images", "objects", *(s["label"] for s in scores.values()))
    return _details("Numbers", table(f"Scores by {column}", heads, rows))


def _images(report: Mapping[str, Any]) -> str:
    scores, images = report["whole"]["scores"], report["images"]
    keys = [key for key in scores if any(key in i["scores"] for i in images)]
    rows = [
        (
            image["name"],
            " x ".join(str(n) for n in image.get("shape") or ()),
            f"{len((image.get('objects') or {}).get('label') or ()):,}",
            *(number(image["scores"].get(key)) for key in keys),
            number(image.get("seconds"), 2),
        )
        for image in images[:MAX_IMAGES]
    ]
    heads = ("image", "px", "objects", *(scores[key]["label"] for key in keys), "s")
    left_out = len(images) - len(rows)
    note = f"; {left_out:,} more are in the JSON file" if left_out else ""
    content = table(f"Means per image{note}", heads, rows)
    return _details(f"All {len(images):,} images", content)


def _section(title: str, figures: Figures, numbers: str = "") -> str:
    """Return a heading with charts and tables; empty if there is nothing to show."""
    shown = "".join(
        f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, svg in figures
    )
    if not shown and not numbers:
        return ""
    return f'<h2>{escape(title)}</h2><div class="figures">{shown}</div>{numbers}'


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _pairs_table(caption: str, values: Mapping[str, Any]) -> str:
    rows = [(name, _words(value)) for name, value in values.items()]
    return table(caption, ("setting", "value"), rows, css="words")


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(one)}" for key, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(_words(one) for one in value) or "none"
    return "none" if value is None else str(value)
