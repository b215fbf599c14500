# SPDX-License-Identifier: Apache-2.0
"""Timing two ways of doing one thing in turn, so that the machine's mood cancels."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass
class Row:
    """One thing measured.

    Attributes
    ----------
    what : str
        What was done.
    unit : str
        Of the figures, such as s, ms, GiB.
    reference, ours : float or None
        Medians; None where it does not exist or was not measured.
    ratio : float or None
        Median of the ratios of neighbours in time, reference by ours.
    best_ratio : float or None
        The largest of those: what a gate on a busy machine looks at.
    must, aim : float or None
        Goals: of the ratio, or where there is no reference of our own figure.
    check : str
        How it was made sure that both did the same.
    is_same : bool
        What came of that.
    n : int
        Pairs measured.
    note : str
    """

    what: str
    unit: str = "s"
    reference: float | None = None
    ours: float | None = None
    ratio: float | None = None
    best_ratio: float | None = None
    must: float | None = None
    aim: float | None = None
    check: str = ""
    is_same: bool = True
    n: int = 0
    note: str = ""
    samples: list[tuple[float, float]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return what is written to a file."""
        return asdict(self)


def interleave(
    reference: Callable[[], object],
    ours: Callable[[], object],
    n: int,
    synchronise: Callable[[], None] = lambda: None,
    *,
    is_warm: bool = False,
) -> list[tuple[float, float]]:
    """Call both in turn n times, after one call of each that does not count.

    That call is left out if both are warm.

    Returns
    -------
    list of n (seconds of the reference, seconds of ours)
    """

    def seconds(work: Callable[[], object]) -> float:
        synchronise()
        at = time.perf_counter()
        work()
        synchronise()
        return time.perf_counter() - at

    if not is_warm:
        seconds(reference)
        seconds(ours)
    return [(seconds(reference), seconds(ours)) for _ in range(n)]


def fill(row: Row, samples: list[tuple[float, float]], factor: float = 1.0) -> Row:
    """Put samples into a row; seconds times `factor` are its unit."""
    ratios = [reference / ours for reference, ours in samples]
    row.samples = [(a * factor, b * factor) for a, b in samples]
    row.reference = statistics.median(a for a, _ in row.samples)
    row.ours = statistics.median(b for _, b in row.samples)
    row.ratio, row.best_ratio = statistics.median(ratios), max(ratios)
    row.n = len(samples)
    return row


def save(path: Path | None, about: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write rows and what they were measured on as JSON, if there is a path.

    Rows of the same machine that are in the file already and are not measured now stay.
    """
    if path is None:
        return
    new = {row.what: row.as_dict() for row in rows}
    older = {}
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if _is_same(before["machine"], about):
            older = {row["what"]: row for row in before["rows"]}
    content = {"machine": about, "rows": list((older | new).values())}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _is_same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Tell whether two descriptions of a machine differ in its load only."""
    return {**first, "load before": 0} == {**second, "load before": 0}


def machine(threads: int, device: str = "cpu") -> dict[str, Any]:
    """Describe what everything was measured on."""
    import torch

    name = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        about = dict(line.split(":", 1) for line in lines if line.count(":") == 1)
        name = " ".join(value.strip() for key, value in about.items() if "name" in key)
    huge = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "processor": name.strip(),
        "maker": maker(),
        "cores": os.cpu_count(),
        "threads": threads,
        "device": torch.cuda.get_device_name() if "cuda" in device else "cpu",
        "load before": busy_cores(),
        "huge pages": huge.read_text(encoding="utf-8").strip()
        if huge.exists()
        else "unknown",
        "THP_MEM_ALLOC_ENABLE": os.environ.get("THP_MEM_ALLOC_ENABLE", "not set"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": __import__("numpy").__version__,
    }


def busy_cores(seconds: float = 2.0) -> float:
    """Watch for a while how many cores other programs keep busy.

    The load average would still hold what this benchmark, or the one before it, did in
    the last minutes.
    """
    share = psutil.cpu_percent(interval=seconds) / 100
    return round(share * (os.cpu_count() or 1), 2)


def maker() -> str:
    """Return who made the processor: AMD, Intel or other."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.exists() else platform.processor()
    for name in ("AMD", "Intel"):
        if name in text:
            return name
    return "other"


def last_line(script: str, *arguments: str) -> str:
    """Run a script of this folder in a process of its own; return its last line."""
    path = Path(__file__).with_name(script)
    done = subprocess.run(
        [sys.executable, str(path), *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.splitlines()[-1]


def peak_gib(script: str, *arguments: str) -> float:
    """Run a script of this folder; return the most memory it held, in GiB.

    The script prints its own peak resident size in bytes on the last line.
    """
    return int(last_line(script, *arguments)) / 2**30
