# SPDX-License-Identifier: Apache-2.0
"""Score the embedded model and hold it against what it promises.

    python scripts/score_embedded.py DATA [--part dev] [--sets NAME ...]
        [--runs prompts corrections automatic] [--methods grid fast] [--limit N]

Runs ``napari-sam evaluate`` on each set under one shipped default setting and prints
every bar with the measured value and its bootstrap interval. Choices are made on the
development part of the training images (``--part dev``); ``val``, the default, is only
reported: its results are kept in ``docs/reference/scores/`` and its table goes into
``docs/reference/embedded-model.md``. Each set and run can be done by itself; the table
and the bars are made of all results that are there. Results of other weights
(``--checkpoint``), of some images (``--limit``) and of the development part go into a
folder of their own (``--out``).
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CARD = ROOT / "docs" / "reference" / "embedded-model.md"
SCORES = ROOT / "docs" / "reference" / "scores"
SETS = {"dsb2018": "nuclei", "axon_sem": "axons", "qpi_cells": "label-free cells"}
CORRECTIONS = 3
RUNS = {
    "prompts": ("--mode", "point", "--mode", "box"),
    "corrections": (
        *("--mode", "point-corrections", "--mode", "box-corrections"),
        *("--corrections", str(CORRECTIONS)),
    ),
    "automatic": (),
}
BEGIN, END = "<!-- scores: begin -->", "<!-- scores: end -->"
N_WORST = 3
COLUMNS = (
    "set, split `val`",
    "images",
    "objects",
    "centre point",
    "best of three",
    "tight box",
    f"point + {CORRECTIONS} corrections",
)

Report = dict[str, Any]
Score = dict[str, Any]


@dataclass(frozen=True)
class Bar:
    """What a score has to reach, and what it had better reach."""

    data: str
    run: str
    score: str
    text: str
    must: float
    aim: float


BARS = (
    Bar("dsb2018", "prompts", "point_iou", "centre point mean IoU", 0.82, 0.88),
    Bar("dsb2018", "prompts", "point_oracle_iou", "best of three", 0.86, 0.91),
    Bar("dsb2018", "prompts", "box_iou", "tight box mean IoU", 0.87, 0.92),
    Bar("dsb2018", "corrections", "after_point", "point + 3 corrections", 0.90, 0.94),
    Bar("dsb2018", "automatic", "ap", "AP@0.5", 0.78, 0.90),
    Bar(
        *("dsb2018", "automatic", "segmentation_accuracy"),
        *("mean segmentation accuracy", 0.55, 0.70),
    ),
    Bar("axon_sem", "prompts", "box_iou", "tight box mean IoU", 0.80, 0.88),
    Bar("axon_sem", "automatic", "ap", "AP@0.5", 0.60, 0.80),
    Bar("qpi_cells", "prompts", "box_iou", "tight box mean IoU", 0.75, 0.85),
)


def main() -> None:
    """Parse the options, evaluate, print, write."""
    options = parse()
    is_card = options.out == SCORES
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.sets:
        names = names_of(options, name)
        for run in options.runs if names else ():
            evaluate(options, name, run, names)
    print_bars(options.out, options.part)
    if is_card:
        write_card()


def parse() -> argparse.Namespace:
    """Read the command line; choose where results go."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", default="val", choices=("val", "dev"))
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--runs", nargs="+", default=list(RUNS), choices=list(RUNS))
    parser.add_argument("--methods", nargs="+", default=["fast"])
    parser.add_argument("--limit", type=int)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.out is None:
        is_shipped = options.part == "val" and not options.checkpoint
        folder = Path(tempfile.gettempdir()) / f"napari-sam-scores-{options.part}"
        options.out = SCORES if is_shipped and not options.limit else folder
    return options


def names_of(options: argparse.Namespace, data: str) -> str | None:
    """Return what ``--names-from`` is to read; None if this part has no image."""
    if options.part == "val":
        return f"{options.data / 'splits.json'}:{data}/val"
    from napari_sam.training.dataset import load_split, open_root

    images = load_split(open_root(options.data), "dev")
    others = set(SETS) - {"dsb2018"}
    names = [
        image.name
        for image in images
        if image.kind == data or (data == "dsb2018" and image.kind not in others)
    ]
    if not names:
        say(f"{data} has no image in the development part")
        return None
    path = options.out / f"{data}-names.txt"
    path.write_text("\n".join(names) + "\n", encoding="utf-8")
    return str(path)


def evaluate(options: argparse.Namespace, data: str, run: str, names: str) -> None:
    """Run the command on the images of one set; keep what it wrote."""
    folder = options.data / data
    words = [
        *(sys.executable, "-c", "from napari_sam._cli.main import main; main()"),
        *("evaluate", str(folder / "images"), str(folder / "labels")),
        *("--names-from", names, *RUNS[run]),
        *("--csv", str(options.out / f"{data}-{run}.csv")),
    ]
    if run == "automatic":
        words += [word for method in options.methods for word in ("--mode", method)]
    if options.limit:
        words += ["--limit", str(options.limit)]
    if options.checkpoint:
        words += ["--checkpoint", str(options.checkpoint)]
    if data == "dsb2018":
        words += ["--index", str(folder / "index.csv"), "--group-by", "type"]
    say(f"\n{data} {options.part}, {run}")
    with tempfile.TemporaryDirectory() as temporary:
        everything = Path(temporary) / "report.json"
        subprocess.run([*words, "--json", str(everything)], check=True)
        report = json.loads(everything.read_text(encoding="utf-8"))
    del report["images"]  # thousands of objects; the table has a row for each image
    text = json.dumps(report, indent=1) + "\n"
    (options.out / f"{data}-{run}.json").write_text(text, encoding="utf-8")


def print_bars(folder: Path, part: str) -> None:
    """Print every bar whose result is there."""
    say(f"\n{'bars on ' + part:<48} {'must':>5} {'aim':>5}  measured")
    for bar in BARS:
        report = kept(folder, bar.data, bar.run)
        for name, score in measured(report, bar):
            value = score["value"]
            verdict = "aim reached" if value >= bar.aim else "must reached"
            verdict = verdict if value >= bar.must else "BELOW"
            text = f"{bar.data} {bar.text}{name}"
            found = f"{with_interval(score)}  {verdict}"
            say(f"{text:<48} {bar.must:5.2f} {bar.aim:5.2f}  {found}")
    for data in SETS:
        for series in series_of(kept(folder, data, "corrections")).values():
            text = f"{data} {series['label']}"
            where = ", ".join(map(str, series["falls_at"]))
            verdict = "never falls" if series["never_falls"] else f"FALLS at {where}"
            means = " ".join(f"{score['value']:.4f}" for score in series["mean_iou"])
            say(f"{text:<48} {means}  {verdict}")


def measured(report: Report | None, bar: Bar) -> list[tuple[str, Score]]:
    """Return the scores of a bar: one, or one for each automatic method."""
    if report is None:
        return []
    whole = report["whole"]
    if bar.run == "automatic":
        return [
            (f", {method}", whole["scores"][f"{method}_{bar.score}"])
            for method in whole["automatic"]
        ]
    if bar.run == "corrections":
        return [("", series_of(report)[bar.score]["mean_iou"][CORRECTIONS])]
    return [("", whole["scores"][bar.score])]


def write_card() -> None:
    """Put the kept scores of val into the model card."""
    reports = {
        data: {run: kept(SCORES, data, run) for run in RUNS}
        for data in SETS
        if kept(SCORES, data, "prompts") is not None
    }
    methods = [
        method
        for method in ("grid", "fast", "fastest")
        if any(f"{method}_ap" in scores_of(r["automatic"]) for r in reports.values())
    ]
    heads = [f"{m}: {score}" for m in methods for score in ("AP@0.5", "accuracy")]
    columns = (*COLUMNS, *heads)
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    failures = []
    for data, runs in reports.items():
        whole = runs["prompts"]["whole"]  # type: ignore[index]
        scores = scores_of(runs["prompts"])
        cells = [f"{data} ({SETS[data]})", str(whole["images"])]
        cells.append(f"{whole['objects']:,}")
        cells += [
            with_interval(scores.get(name))
            for name in ("point_iou", "point_oracle_iou", "box_iou")
        ]
        after = series_of(runs["corrections"]).get("after_point")
        cells.append(with_interval(after and after["mean_iou"][CORRECTIONS]))
        found = scores_of(runs["automatic"])
        for method in methods:
            for name in ("ap", "segmentation_accuracy"):
                cells.append(with_interval(found.get(f"{method}_{name}")))
        lines.append("| " + " | ".join(cells) + " |")
        failures.append(f"- {data}: {worst(SCORES / f'{data}-prompts.csv')}")
    text = CARD.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    block = [BEGIN, *lines, "", "Lowest mean IoU of the centre point:", "", *failures]
    CARD.write_text("\n".join([head + block[0], *block[1:], END]) + tail, "utf-8")


def kept(folder: Path, data: str, run: str) -> Report | None:
    """Return a result that was kept, None if there is none."""
    path = folder / f"{data}-{run}.json"
    if not path.exists():
        return None
    report: Report = json.loads(path.read_text(encoding="utf-8"))
    return report if "whole" in report else None


def scores_of(report: Report | None) -> dict[str, Score]:
    """Return the scores of a report, nothing without one."""
    return {} if report is None else report["whole"]["scores"]


def series_of(report: Report | None) -> dict[str, Any]:
    """Return the series of corrections of a report, nothing without one."""
    return {} if report is None else report["whole"]["corrections"]


def with_interval(score: Score | None) -> str:
    """Write a score with its interval."""
    if not score or score["value"] is None:
        return "-"
    if score["low"] is None:
        return f"{score['value']:.3f}"
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"


def worst(path: Path) -> str:
    """Name the images with the lowest scores of a click."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["point_iou"]]
    rows.sort(key=lambda row: float(row["point_iou"]))
    return ", ".join(
        f"`{row['name']}` {float(row['point_iou']):.2f} ({row['objects']} objects)"
        for row in rows[:N_WORST]
    )


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
