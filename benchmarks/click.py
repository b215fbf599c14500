# SPDX-License-Identifier: Apache-2.0
"""How long a hover preview and a click take once an image is embedded.

    python benchmarks/click.py [--model NAME] [--sides 512 4096] [--threads 1]
                               [--repeats N] [--limit-ms MS]

Places are drawn at random on a picture of blobs. Wall time is what a user waits; time
of the processor hardly moves with what else runs. Exits with 1 if the median preview
takes longer than the limit.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
from paired import busy_cores

from napari_sam import load_model
from napari_sam.prediction.image_view import ImageView
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.structures.prompts import BoxPrompt, PointPrompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

N_WARM = 3


def main() -> None:
    """Parse the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 4096])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--limit-ms", type=float, default=float("inf"))
    options = parser.parse_args()
    import torch  # after parsing: asking for help need not wait for it

    torch.set_num_threads(options.threads)
    say(f"{options.model}, threads {options.threads}, load before {busy_cores()}")
    predictor = SamPredictor(load_model(options.model))
    slowest = 0.0
    for side in options.sides:
        started = time.perf_counter()
        view = ImageView(predictor, blobs(side))
        say(f"{side} x {side}: embedding {time.perf_counter() - started:.2f} s")
        for name, ask in questions(view, side).items():
            wall, used = measure(ask, options.repeats)
            say(
                f"  {name:22} {np.median(wall):6.1f} ms, fastest {min(wall):6.1f}; "
                f"processor {np.median(used):6.1f}"
            )
            if name == "preview":
                slowest = max(slowest, float(np.median(wall)))
    sys.exit(int(slowest > options.limit_ms))


def questions(view: ImageView, side: int) -> dict[str, Callable[[], object]]:
    """Return what is measured, each call at another place of one region."""
    rng = np.random.default_rng(0)
    # Near the corner: on a large image all places belong to one region.
    reach = min(side, 250)

    def place() -> tuple[float, float]:
        y, x = rng.uniform(20, reach, 2)
        return float(y), float(x)

    def click() -> PromptSet:
        return PromptSet((PointPrompt(place()),))

    def box() -> PromptSet:
        (y, x), half = place(), 15
        return PromptSet(box=BoxPrompt(y - half, x - half, y + half, x + half))

    def correction() -> PromptSet:
        first = PointPrompt(place())
        logits = view.answer(PromptSet((first,))).low_res_logits[1]
        return PromptSet((first, PointPrompt(place(), 0)), mask_input=logits)

    corrections = [correction() for _ in range(4)]
    return {
        "preview": lambda: view.preview(place()),
        "click": lambda: view.answer(click()),
        "box": lambda: view.answer(box()),
        "correction with logits": lambda: view.answer(corrections[rng.integers(4)]),
        "8 of many": lambda: view.answer_many([click() for _ in range(8)]),
    }


def measure(ask: Callable[[], object], n: int) -> tuple[list[float], list[float]]:
    """Return wall and processor times of each call in ms."""
    wall, used = [], []
    for i in range(n + N_WARM):
        at, cpu = time.perf_counter(), time.process_time()
        ask()
        if i >= N_WARM:
            wall.append((time.perf_counter() - at) * 1e3)
            used.append((time.process_time() - cpu) * 1e3)
    return wall, used


def blobs(side: int) -> NDArray[np.uint8]:
    """Draw bright discs of 12 pixels' radius on a dark, noisy ground."""
    rng = np.random.default_rng(0)
    period = 48
    y, x = np.mgrid[:side, :side]
    distance = np.hypot(y % period - period / 2, x % period - period / 2)
    grey = np.where(distance < 12, 180, 40) + rng.normal(0, 8, (side, side))
    return np.clip(grey, 0, 255).astype(np.uint8)


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
