# SPDX-License-Identifier: Apache-2.0
"""What importing the package costs, and what napari's start costs with it installed.

    python benchmarks/startup.py [--repeats N] [--out FILE]

Each figure is of a new process, in turn with one that lacks the thing measured: an
interpreter that imports nothing, and a napari that does not find our plugin. Starting
is the work of one thread, so time of the processor is measured: it is what a user of a
quiet machine waits, and hardly moves with what else runs.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from paired import Row, machine, save

HIDE = """
import importlib.metadata as metadata
found = metadata.distributions
def others(**given):
    return [d for d in found(**given) if d.metadata["Name"] != "napari-sam-live"]
metadata.distributions = others
"""
START = """
import napari
napari.Viewer(show=False)
from npe2 import PluginManager
sys_names = {manifest.name for manifest in PluginManager.instance().iter_manifests()}
assert ("napari-sam-live" in sys_names) is %s, sys_names
import sys
assert "torch" not in sys.modules
import os
os._exit(0)
"""


def main() -> None:
    """Parse the options, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = [
        added(
            "import napari_sam, added to an interpreter",
            "pass",
            "import napari_sam",
            options.repeats,
        ),
        added(
            "start of napari, added by the plugin",
            HIDE + START % "False",
            START % "True",
            options.repeats,
        ),
    ]
    for row in rows:
        sys.stdout.write(
            f"{row.what}: {row.ours:.3f} s (must {row.must}), {row.check}\n"
        )
    save(options.out, machine(1), rows)


def added(what: str, without: str, with_it: str, n: int) -> Row:
    """Return how many seconds one script takes more than another, in turn."""
    pairs = []
    for i in range(n + 1):
        pair = seconds(without), seconds(with_it)
        if i:
            pairs.append(pair)
    row = Row(what, must=0.15, aim=0.05, n=n, note="absolute")
    row.ours = statistics.median(b - a for a, b in pairs)
    row.samples = pairs
    base, whole = (statistics.median(one) for one in zip(*pairs, strict=True))
    row.check = f"{whole:.2f} s with, {base:.2f} s without; torch is not loaded"
    return row


def seconds(script: str) -> float:
    """Run a script in a new process and return its time of the processor."""
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
