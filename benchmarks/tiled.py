# SPDX-License-Identifier: Apache-2.0
"""Everything in images of growing size, in tiles, by the command line.

    python benchmarks/tiled.py                      # 2048, 4096 and 8192 pixels a side
    python benchmarks/tiled.py --sides 2048 --threads 2 --points-per-side 4

Each image is a mosaic of the packaged sample "nuclei" (turned and mirrored by chance,
so that neighbours differ), written block by block as zarr. ``napari-sam segment`` runs
on it as a process of its own, with the embedded model and 16 points a side per tile.
Printed: seconds, peak of resident memory, tiles, objects, and what 100,000 pixels a
side would take, from the tiles per second of the largest image.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
from paired import Row, machine, save

from napari_sam.io.sample_data import load_sample
from napari_sam.prediction.tiling import plan_for
from napari_sam.structures.settings import LabelSettings

FRAME = 512  # of the embedded model
HUGE = 100_000
_BLOCK = 1024


class Run(NamedTuple):
    """What one image took."""

    side: int
    seconds: float
    peak_mib: float
    n_tiles: int
    n_objects: int


def main() -> None:
    """Run all sizes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[2048, 4096, 8192])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--points-per-side", type=int, default=16)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--folder", type=Path, help="where to work; else a new one")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {options.threads} threads")
    print("side   tiles  seconds  s/tile  peak MiB  objects")
    runs = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for side in options.sides:
            run = segment(Path(folder), side, options)
            runs.append(run)
            print(
                f"{side:<6} {run.n_tiles:>5} {run.seconds:>8.1f} "
                f"{run.seconds / run.n_tiles:>7.2f} {run.peak_mib:>9.0f} "
                f"{run.n_objects:>8}",
                flush=True,
            )
    last = max(runs, key=lambda run: run.side)
    n_tiles = count_tiles(HUGE)
    hours = n_tiles * last.seconds / last.n_tiles / 3600
    print(f"{HUGE} x {HUGE}: {n_tiles} tiles, about {hours:.0f} h at this rate")
    save(options.out, machine(options.threads), to_rows(runs, hours, options))


def to_rows(runs: list[Run], hours: float, options: argparse.Namespace) -> list[Row]:
    """Return rows of a report."""
    per_side = f"{options.points_per_side} points a side of a tile"
    rows = []
    for run in runs:
        name = f"everything on {run.side} x {run.side}, {per_side}"
        seconds = Row(name, "min", ours=run.seconds / 60, n=1, note="absolute")
        if run.side == 8192:
            seconds.must = 15.0
        seconds.check = f"{run.n_tiles} tiles, {run.n_objects} objects"
        memory = Row(f"peak memory, {name}", "GiB", n=1, note="absolute")
        memory.ours = run.peak_mib / 1024
        rows += [seconds, memory]
    derived = Row(f"{HUGE} x {HUGE}, derived from the tiles per second", "h")
    derived.ours, derived.note = hours, "absolute"
    derived.check = f"{count_tiles(HUGE)} tiles; not run"
    return [*rows, derived]


def segment(folder: Path, side: int, options: argparse.Namespace) -> Run:
    """Segment a mosaic in a process of its own."""
    image, out = folder / f"mosaic_{side}.zarr", folder / f"out_{side}"
    write_mosaic(image, side)
    command = [
        *(sys.executable, "-c", "from napari_sam._cli.main import main; main()"),
        *("segment", str(image), "--out", str(out), "--device", "cpu"),
        *("--points-per-side", str(options.points_per_side)),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    start = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        msg = f"{' '.join(command)} ended with {process.returncode}"
        raise SystemExit(msg)
    with (out / f"mosaic_{side}_objects.csv").open(encoding="utf-8") as file:
        n_objects = sum(1 for _ in csv.DictReader(file))
    return Run(side, seconds, peak_mib(usage), count_tiles(side), n_objects)


def peak_mib(usage: Any) -> float:
    """Peak of resident memory; kilobytes on Linux, bytes on macOS."""
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def count_tiles(side: int) -> int:
    """Tiles of a square image with the usual settings."""
    return len(plan_for((side, side), LabelSettings(), FRAME))


def write_mosaic(path: Path, side: int) -> None:
    """Write a mosaic of the sample block by block."""
    sample = load_sample("nuclei").image
    grey = sample if sample.ndim == 2 else sample.mean(axis=2).astype(np.uint8)
    piece = min(grey.shape)
    grey = grey[:piece, :piece]
    array = zarr.create_array(
        path, shape=(side, side), dtype=np.uint8, chunks=(_BLOCK, _BLOCK)
    )
    for y0 in range(0, side, _BLOCK):
        rows = min(_BLOCK, side - y0)
        band = np.zeros((rows, side), np.uint8)
        for top in range(y0 // piece * piece, y0 + rows, piece):
            for left in range(0, side, piece):
                chance = np.random.default_rng((top, left))
                turned = np.rot90(grey, chance.integers(4))
                if chance.random() < 0.5:
                    turned = turned[::-1]
                first, last = max(top, y0), min(top + piece, y0 + rows)
                part = turned[first - top : last - top, : side - left]
                band[first - y0 : last - y0, left : left + piece] = part
        array[y0 : y0 + rows] = band


if __name__ == "__main__":
    main()
