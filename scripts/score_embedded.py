# SPDX-License-Identifier: Apache-2.0
"""Score the embedded model on the val images and write the table of its model card.

    python scripts/score_embedded.py DATA [--sets NAME ...] [--parts prompts|grid ...]

Runs ``napari-sam evaluate`` on each set under one shipped default setting, keeps what
it printed in ``docs/reference/scores/`` and puts the table and the worst images into
``docs/reference/embedded-model.md``.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CARD = ROOT / "docs" / "reference" / "embedded-model.md"
SCORES = ROOT / "docs" / "reference" / "scores"
SETS = {"dsb2018": "nuclei", "axon_sem": "axons", "qpi_cells": "label-free cells"}
PARTS = {"prompts": ("point", "box"), "grid": ("grid",)}
MEANS = {
    "prompts": ("point_iou", "point_oracle_iou", "box_iou"),
    "grid": ("average_precision",),
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
    "automatic AP@0.5",
)


def main() -> None:
    """Parse the options, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    options = parser.parse_args()
    for name in options.sets:
        for part in options.parts:
            evaluate(options.data, name, part)
    write_card()


def evaluate(data: Path, name: str, part: str) -> None:
    """Run the command on the val images of one set."""
    command = [
        *(sys.executable, "-c", "from napari_sam._cli.main import main; main()"),
        *("evaluate", str(data / name / "images"), str(data / name / "labels")),
        *("--names-from", f"{data / 'splits.json'}:{name}/val"),
        *("--json", str(SCORES / f"{name}-{part}.json")),
        *("--csv", str(SCORES / f"{name}-{part}.csv")),
    ]
    for mode in PARTS[part]:
        command += ["--mode", mode]
    SCORES.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"{name} val, {part}\n")
    sys.stdout.flush()
    subprocess.run(command, check=True)


def write_card() -> None:
    """Put the kept scores into the model card."""
    lines = [
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * len(COLUMNS) + "|",
    ]
    failures = []
    for name, what in SETS.items():
        files = [SCORES / f"{name}-{part}.json" for part in PARTS]
        if not all(file.exists() for file in files):
            continue
        found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        means = " | ".join(
            f"{scores[key]:.3f}"
            for scores, keys in zip(found, MEANS.values(), strict=True)
            for key in keys
        )
        counts = f"{found[0]['images']} | {found[0]['objects']:,}"
        lines.append(f"| {name} ({what}) | {counts} | {means} |")
        failures.append(f"- {name}: {_worst(SCORES / f'{name}-prompts.csv')}")
    text = CARD.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    block = [BEGIN, *lines, "", "Lowest mean IoU of the centre point:", "", *failures]
    CARD.write_text("\n".join([head + block[0], *block[1:], END]) + tail, "utf-8")


def _worst(path: Path) -> str:
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["point_iou"]]
    rows.sort(key=lambda row: float(row["point_iou"]))
    return ", ".join(
        f"`{row['name']}` {float(row['point_iou']):.2f} ({row['objects']} objects)"
        for row in rows[:N_WORST]
    )


if __name__ == "__main__":
    main()
