# SPDX-License-Identifier: Apache-2.0
"""Do one thing in a process of its own and print its peak resident size in bytes.

    python benchmarks/memory.py reference|WEIGHTS embed|grid MODEL SIDE

With a weights file it is done by us. The grid has 8 x 8 points and begins with an
embedding that is given: nothing of the image encoder counts.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

import torch
from comparison import OurGrid, OurImage, ReferenceGrid, ReferenceImage, picture

from napari_sam import load_model

POINTS = 8


def main() -> None:
    """Do what the arguments say."""
    who, what, name, side = (*sys.argv[1:4], int(sys.argv[4]))
    torch.set_num_threads(2)
    image = picture(side)
    if who == "reference":
        from peers import load_reference

        package, model = load_reference(name)
        theirs = ReferenceImage(package, model, image, is_embedded=what == "embed")
        if what == "grid":
            ReferenceGrid(theirs, POINTS)()
    else:
        ours = OurImage(load_model(checkpoint=who), image, is_embedded=what == "embed")
        if what == "grid":
            OurGrid(ours, POINTS)()
    sys.stdout.write(f"{peak_bytes()}\n")


def peak_bytes() -> int:
    """Return the largest resident size of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():
        # Unlike what getrusage says, this does not begin with the parent's size.
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
        if found is not None:
            return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main()
