# SPDX-License-Identifier: Apache-2.0
"""The charts of an evaluation, from the report's plain values.

A chart whose values were not measured is left out. See `napari_sam.evaluation.report`
for the form of the report.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.evaluation.svg_chart import Axis, Chart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

N_BINS = 20
MAX_POINTS = 2000
"""Objects drawn in a cloud of points; of more, evenly picked ones."""
MAX_ROWS = 40
"""Values of a group that are drawn; of more, those with the most objects."""
_UNIT = Axis("IoU", 0.0, 1.0)
_ROW_PX, _NAME_PX = 20, 170


def object_scores(report: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Collect scores object by object.

    Returns
    -------
    dict of str to (n, 2) array
        By the score's label: area in pixels, IoU; objects without a value left out.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    scores = report["whole"]["scores"]
    for image in report["images"]:
        objects = image.get("objects") or {}
        for key, score in scores.items():
            values = objects.get(key)
            if values:
                pairs = zip(objects["area_px"], values, strict=True)
                found.setdefault(score["label"], []).extend(
                    (area, value) for area, value in pairs if value is not None
                )
    return {
        label: np.array(pairs, dtype=np.float64)
        for label, pairs in found.items()
        if pairs
    }


def distributions(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a histogram of each score per object: caption and SVG."""
    edges = np.linspace(0, 1, N_BINS + 1)
    for number, (label, pairs) in enumerate(object_scores(report).items()):
        ious = pairs[:, 1]
        counts = np.histogram(ious, edges)[0]
        y = Axis("objects", 0.0, 1.12 * float(counts.max()))  # room for a label
        chart = Chart(f"Distribution of IoU, {label}", _UNIT, y)
        chart.bars(edges.tolist(), counts.tolist(), number)
        chart.upright(float(ious.mean()), f"mean {ious.mean():.3f}")
        n_bad = int(np.count_nonzero(ious < 0.5))
        chart.say(
            f"{len(ious):,} objects, mean {ious.mean():.3f}, {n_bad:,} below 0.5."
        )
        yield f"{label}: {len(ious):,} objects, {n_bad:,} below 0.5", chart.svg()


def iou_by_size(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a cloud of points of each score against the object's area, with medians."""
    for number, (label, pairs) in enumerate(object_scores(report).items()):
        areas, ious = np.maximum(pairs[:, 0], 1), pairs[:, 1]
        low, high = float(areas.min()), float(areas.max())
        x = Axis("object size, px (logarithmic)", low / 1.1, high * 1.1, is_log=True)
        chart = Chart(f"IoU against object size, {label}", x, _UNIT)
        picked = np.arange(len(areas))
        if len(areas) > MAX_POINTS:
            picked = np.linspace(0, len(areas) - 1, MAX_POINTS).round().astype(int)
        chart.cloud(
            zip(areas[picked].tolist(), ious[picked].tolist(), strict=True), number
        )
        medians = _medians(areas, ious)
        chart.line(medians, number + 1)
        chart.legend(number + 1, "median of objects of similar size")
        for area, iou in medians:
            chart.say(f"Median at about {area:,.0f} px: {iou:.2f}.")
        shown = f", {len(picked):,} of them drawn" if len(picked) < len(areas) else ""
        yield f"{label}: {len(areas):,} objects{shown}", chart.svg()


def iou_by_clicks(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield one chart of mean IoU after each correction."""
    corrections = report["whole"].get("corrections") or {}
    series = {}
    for corrected in corrections.values():
        first = corrected["first_click"]
        series[corrected["label"]] = [
            (first + n, score) for n, score in enumerate(corrected["mean_iou"])
        ]
    if series:
        yield (
            "Mean IoU and interval",
            _lines("IoU against number of clicks", "clicks", series),
        )


def ap_by_threshold(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield one chart each of AP and of F1 against the threshold of the IoU."""
    automatic = report["whole"].get("automatic") or {}
    for key, name in (("ap", "AP"), ("f1", "F1")):
        series = {
            method: list(zip(found["thresholds"], found[key], strict=True))
            for method, found in automatic.items()
            if found.get(key)
        }
        if series:
            title = f"{name} against the IoU from which on an object is found"
            yield (
                f"{name}, mean over images, and interval",
                _lines(title, "IoU", series, name),
            )


def group_intervals(
    report: Mapping[str, Any], column: str
) -> Iterator[tuple[str, str]]:
    """Yield, for one column, a chart of each score by group with intervals."""
    groups = report["groups"][column]
    for number, (key, whole) in enumerate(report["whole"]["scores"].items()):
        rows = [
            (value, f"{_short(value)} ({score['n']:,})", score)
            for value, summary in groups.items()
            if (score := summary["scores"].get(key)) is not None
            and score["value"] is not None
        ]
        rows = sorted(rows, key=lambda row: -row[2]["n"])[:MAX_ROWS]
        if not rows:
            continue
        title = f"{whole['label']} by {column}"
        chart = _interval_rows(title, whole["label"], rows, (0.0, 1.0), number)
        left_out = len(groups) - len(rows)
        note = f"; {left_out:,} groups are not drawn" if left_out else ""
        yield f"Number of {whole['of']} in brackets{note}", chart.svg()


def comparison(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield one chart of what was gained over an earlier report, if that was asked."""
    scores = (report.get("comparison") or {}).get("scores") or {}
    rows = [
        (score["label"], _short(score["label"]), score)
        for score in scores.values()
        if score["value"] is not None
    ][:MAX_ROWS]
    if rows:
        title = "Gain over the earlier report"
        chart = _interval_rows(title, "gain", rows, (-0.02, 0.02), 0)
        chart.upright(0.0, "")
        yield "Mean of the paired differences, and interval", chart.svg()


def _interval_rows(
    title: str,
    x_name: str,
    rows: Sequence[tuple[str, str, Mapping[str, Any]]],
    least: tuple[float, float],
    colour: int,
) -> Chart:
    """Draw scores with intervals below each other.

    Parameters
    ----------
    title, x_name : str
        Names of the chart and of its x axis.
    rows : sequence of (name, text, score)
        Full name for a screen reader, text at the axis, score.
    least : (low, high)
        What the x axis shows at least.
    colour : int
        Of all of them.
    """
    ends = [_ends(score) for *_, score in rows]
    low = min(least[0], *(end[0] for end in ends))
    high = max(least[1], *(end[1] for end in ends))
    texts = tuple((-float(i), text) for i, (_, text, _) in enumerate(rows))
    chart = Chart(
        title,
        Axis(x_name, low, high),
        Axis("", -len(rows) + 0.4, 0.6, ticks=texts),
        height=70 + _ROW_PX * len(rows),
        left=_NAME_PX,
    )
    for i, ((name, _, score), ending) in enumerate(zip(rows, ends, strict=True)):
        chart.interval(-float(i), score["value"], *ending, colour)
        chart.say(f"{name}: {score['value']:.3f}, {ending[0]:.3f} to {ending[1]:.3f}.")
    return chart


def _lines(
    title: str,
    x_name: str,
    series: Mapping[str, Sequence[tuple[float, Mapping[str, Any]]]],
    y_name: str = "IoU",
) -> str:
    """Draw lines with bands; values that are not known are gaps at the ends."""
    known = {
        label: [(x, score) for x, score in points if score["value"] is not None]
        for label, points in series.items()
    }
    xs = [x for points in known.values() for x, _ in points] or [0.0, 1.0]
    lows = [_ends(score)[0] for points in known.values() for _, score in points]
    low = math.floor(10 * min([*lows, 1.0])) / 10
    is_whole = all(float(x).is_integer() for x in xs)
    ticks = (
        tuple((float(n), str(n)) for n in range(int(min(xs)), int(max(xs)) + 1))
        if is_whole
        else ()
    )
    chart = Chart(
        title,
        Axis(x_name, min(xs), max(xs), ticks=ticks),
        Axis(y_name, min(low, 0.9), 1.0),
    )
    for number, (label, points) in enumerate(known.items()):
        chart.band([(x, *_ends(score)) for x, score in points], number)
        chart.line([(x, score["value"]) for x, score in points], number)
        chart.legend(number, label)
        told = ", ".join(f"{x:g}: {score['value']:.3f}" for x, score in points)
        chart.say(f"{label}: {told}.")
    return chart.svg()


def _ends(score: Mapping[str, Any]) -> tuple[float, float]:
    """Return the interval of a score; the value itself where there is none."""
    value = score["value"]
    low, high = score.get("low"), score.get("high")
    return value if low is None else low, value if high is None else high


def _medians(
    areas: NDArray[np.float64], ious: NDArray[np.float64]
) -> list[tuple[float, float]]:
    """Return median area and IoU of up to eight parts of equally many objects."""
    order = np.argsort(areas, kind="stable")
    n_parts = min(8, max(1, len(order) // 5))
    return [
        (float(np.median(areas[part])), float(np.median(ious[part])))
        for part in np.array_split(order, n_parts)
    ]


def _short(text: str, n: int = 24) -> str:
    return text if len(text) <= n else text[: n - 1] + "…"
