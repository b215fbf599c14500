# SPDX-License-Identifier: Apache-2.0
"""Clicks before and after an image encoder has worked in the same process.

    python benchmarks/after_encoding.py THREADS CLICKS

An encoder begins threads of its own, and those may slow down everything that follows.
The last line is JSON: seconds of the clicks before, and of those after.
"""

from __future__ import annotations

import json
import sys
import time

import torch
from comparison import OurClick, OurImage, picture
from peers import load_pair


def main() -> None:
    """Click, encode, click, print."""
    n_threads, n_clicks = map(int, sys.argv[1:])
    torch.set_num_threads(n_threads)
    image = OurImage(load_pair("vit_b").ours, picture(1024), is_embedded=False)
    click = OurClick(image)
    before = seconds(click, n_clicks)
    image.predictor.embed(picture(1024)[::-1])
    after = seconds(click, n_clicks)
    sys.stdout.write(json.dumps([before, after]) + "\n")


def seconds(click: OurClick, n: int) -> list[float]:
    """Time n clicks, after one that does not count."""
    click()
    found = []
    for _ in range(n):
        at = time.perf_counter()
        click()
        found.append(time.perf_counter() - at)
    return found


if __name__ == "__main__":
    main()
