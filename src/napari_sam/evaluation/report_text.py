# SPDX-License-Identifier: Apache-2.0
"""A report in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam.evaluation.settings import EvaluationSettings

    Summary = Mapping[str, Any]

_WIDTH = 52
_IN_GROUPS = ("point_iou", "box_iou", "proposals_ar")
_IN_GROUPS_ENDINGS = ("_ap", "_segmentation_accuracy")


def format_report(
    whole: Summary,
    groups: Mapping[str, Mapping[str, Summary]],
    comparison: Summary | None,
    settings: EvaluationSettings,
) -> str:
    """Return summaries of `summarize` as text.

    Parameters
    ----------
    whole : mapping
        Of all images.
    groups : mapping of mapping
        By column and value; only the main scores are told.
    comparison : mapping or None
        Gains over an earlier report.
    settings : EvaluationSettings
        What was measured.
    """
    counts = f"{_count(whole['images'], 'image')}, {_count(whole['objects'], 'object')}"
    lines = [f"{counts} of at least {settings.min_area} px"]
    lines += _score_lines(whole["scores"], "")
    for series in whole["corrections"].values():
        lines += _series_lines(series)
    lines += _bracket_lines(whole, settings)
    for column, members in groups.items():
        lines += ["", *_group_lines(column, members, whole)]
    if comparison is not None:
        other = comparison["model"]
        images = _count(comparison["images"], "image")
        name = f"{other['name']} ({other['digest'][:12]})"
        lines += ["", f"Gain over {name} on {images}, object by object:"]
        lines += _score_lines(comparison["scores"], "+")
    return "\n".join(lines)


def _score_lines(scores: Mapping[str, Summary], sign: str) -> list[str]:
    return [
        f"  {score['label']:<{_WIDTH}} {_with_interval(score, sign)}"
        for score in scores.values()
        if score["value"] is not None
    ]


def _with_interval(score: Summary, sign: str = "") -> str:
    form = f"{sign}.3f"
    text = f"{score['value']:{form}}"
    if score["low"] is None:
        return text
    return f"{text} [{score['low']:{form}}, {score['high']:{form}}]"


def _bracket_lines(whole: Summary, settings: EvaluationSettings) -> list[str]:
    """Say what the intervals are."""
    drawn = {score["resampled"] for score in whole["scores"].values()} - {None}
    if not drawn:
        return []
    what = " or ".join(sorted(drawn))
    return [f"  [ ] {settings.level:.0%} interval, bootstrap over {what}"]


def _series_lines(series: Summary) -> list[str]:
    """Say how IoU goes on from click to click."""
    means = [score["value"] for score in series["mean_iou"]]
    lines = [
        f"  {series['label']}: mean IoU after 0 to {len(means) - 1} corrections",
        "    " + "  ".join(f"{mean:.3f}" for mean in means),
    ]
    worst = max(score["value"] for score in series["fell_share"])
    share = f"at most {worst:.1%} of the objects lose by a correction"
    if series["never_falls"]:
        lines.append(f"    the mean never falls; {share}")
    else:
        where = ", ".join(
            f"{j} ({means[j - 1]:.4f} -> {means[j]:.4f})" for j in series["falls_at"]
        )
        lines.append(f"    THE MEAN FALLS at correction {where}; {share}")
    clicks = ", ".join(
        f"{found['mean']['value']:.2f} to {goal} "
        f"({found['never_share']['value']:.1%} never)"
        for goal, found in series["clicks"].items()
    )
    cap = next(iter(series["clicks"].values()))["cap"]
    lines.append(f"    mean clicks, at most {cap}: {clicks}")
    return lines


def _group_lines(
    column: str, members: Mapping[str, Summary], whole: Summary
) -> list[str]:
    """Lay out the main scores of every group, value by value."""
    lines = [f"By {column}:"]
    width = max(len(value) for value in members)

    def add(label: str, found: Mapping[str, Summary | None]) -> None:
        lines.append(f"  {label}")
        for value, score in found.items():
            if score is not None and score["value"] is not None:
                count = _count(score["n"], score["of"].removesuffix("s"))
                lines.append(
                    f"    {value:<{width}}  {_with_interval(score):<22} {count}"
                )

    for name, score in whole["scores"].items():
        is_main = name in _IN_GROUPS or name.endswith(_IN_GROUPS_ENDINGS)
        if is_main and score["value"] is not None:
            add(score["label"], {v: m["scores"].get(name) for v, m in members.items()})
    for name, series in whole["corrections"].items():
        last = {
            value: member["corrections"][name]["mean_iou"][-1]
            for value, member in members.items()
            if name in member["corrections"]
        }
        add(f"{series['label']}, {len(series['gain'])} corrections", last)
    return lines


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
