# SPDX-License-Identifier: Apache-2.0
"""Write docs/performance.md from what the benchmarks wrote beside it.

    python benchmarks/write_report.py

Nothing is measured here, and no figure is written by hand: a benchmark that was not run
says "unmeasured". Results of further machines, kept as ``NAME-machine.json``, follow
those of the last one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
RESULTS = DOCS / "performance"

HEAD = """\
<!-- Written by benchmarks/write_report.py; change that, not this. -->
# How fast, beside the reference

Each row was measured by a script of `benchmarks/`, which `make bench` runs. Rows with a
ratio come from one process in which the reference implementation (PyPI
`segment-anything` 1.0; for `vit_t` `mobilesam-mirror` 1.0.0) and this package ran in
turn with the same random weights; the ratio is the median of the reference's time by
ours over neighbouring runs. "Same" says how it was made sure that both did the same
work. How the speed-ups work is told in
[Exact speed-ups](explanation/exact-speed-ups.md).

Random weights find no objects. Where masks are made, the decoder therefore does all its
work and its answers are then replaced by drawn ones, the same on both sides
(`benchmarks/scene.py`): of the masks of a grid 31 of 100 pass the predicted IoU and 9
pass the stability as well.
"""
SECTIONS = (
    ("compare", "Beside the reference, on a CPU", "compare.py"),
    ("gpu", "On a GPU", "compare_gpu.py"),
    ("startup", "Start", "startup.py"),
    ("hover", "The mask under the pointer", "hover.py"),
    ("label_writes", "Labels of any size", "label_writes.py"),
    ("scrolling", "Never twice: cache and prefetch", "scrolling.py"),
    ("embedding_cache", "Kept embeddings", "embedding_cache.py"),
    ("tiled", "Images past memory", "tiled.py"),
)
BUSY = 0.25
"""Part of the cores that others keep busy from which on a machine was not quiet."""
LOADED = """
**Other programs ran at the same time:** times are too long, ratios of times are rough.
"""
FOOT = """\
Goals are "must" and "aim"; for rows without a reference, and for memory, they are
absolute. What oneDNN's packed float32 and bfloat16 products bring depends on the
processor's maker, so they are tried before use. Rows that rest on them are marked with
a star; elsewhere than on AMD's they are held to "not slower". Further tables below a
title are of another machine, measured with the code of its day, or of another way:
"process" says whether rows were measured in a process each, as one model is used, or
all in one. There the C library keeps what a larger model has freed, and the reference,
which asks for new memory at every step, gains much by that. `make bench-short` is a
short form of the first table that fails below half of "must".

"Load before" and "load after" are cores that other programs kept busy for two seconds.

A single prompt is hundreds of operations of some ten microseconds, which gain little
from being split among threads and lose much when another program holds a core: one
thread does them, and idle ones take some of the larger pieces off it. Encoders, grids
and batches of prompts use all threads.
"""


def main() -> None:
    """Write the page."""
    parts = [HEAD]
    for name, title, script in SECTIONS:
        parts.append(f"## {title}\n")
        paths = sorted(RESULTS.glob(f"{name}-*.json"))
        if (latest := RESULTS / f"{name}.json").exists():
            paths.insert(0, latest)
        if not paths:
            parts.append(f"Unmeasured: `benchmarks/{script}` was not run.\n")
        for path in paths:
            content = json.loads(path.read_text(encoding="utf-8"))
            if name == "hover":
                content = hover(content)
            parts += [about(content["machine"], script), table(content["rows"])]
    parts.append("## How to read it\n")
    parts.append(FOOT)
    (DOCS / "performance.md").write_text("\n".join(parts), encoding="utf-8")
    sys.stdout.write(f"wrote {DOCS / 'performance.md'}\n")


def about(machine: dict[str, Any], script: str) -> str:
    """Say on what and how rows were measured."""
    facts = ", ".join(f"{key} {value}" for key, value in machine.items())
    text = f"`benchmarks/{script}`; {facts}.\n"
    load = max(machine.get(f"load {when}", 0) for when in ("before", "after"))
    if load > BUSY * machine["cores"]:
        text += LOADED
    return text


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as a table."""
    lines = [
        "| what | reference | ours | ratio | must | aim | n | same |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        unit = row["unit"]
        star = " *" if row["note"] == "maker" else ""
        check = row["check"] if row["is_same"] else f"**no**: {row['check']}"
        is_ratio = row["ratio"] is not None and row["note"] != "absolute"
        goal = "x" if is_ratio else f" {unit}"
        cells = [
            row["what"] + star,
            figure(row["reference"], f" {unit}"),
            figure(row["ours"], f" {unit}", missing="unmeasured"),
            figure(row["ratio"], "x"),
            figure(row["must"], goal),
            figure(row["aim"], goal),
            str(row["n"] or ""),
            check,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def figure(value: float | None, unit: str, missing: str = "") -> str:
    """Return a figure with three digits and its unit."""
    if value is None:
        return missing
    digits = ".3g" if unit.strip() else ".6f"
    return f"{value:{digits}}{unit}"


def hover(content: dict[str, Any]) -> dict[str, Any]:
    """Bring the results of hover.py into rows."""
    empty = {
        "unit": "ms",
        "reference": None,
        "ratio": None,
        "must": None,
        "aim": None,
        "check": "",
        "is_same": True,
        "note": "absolute",
    }
    names = {
        "model": ("the model alone has answered", None, None),
        "data": ("the preview holds the mask", 60.0, 30.0),
        "drawn": ("the mask is drawn", 120.0, None),
    }
    rows = []
    for key, (what, must, aim) in names.items():
        if key in content:
            found = content[key]
            rows.append(
                empty
                | {"what": f"from the pointer's event until {what}", "must": must}
                | {"aim": aim, "ours": found["median_ms"], "n": found["n"]}
            )
    return {"machine": content["environment"], "rows": rows}


if __name__ == "__main__":
    main()
