# SPDX-License-Identifier: Apache-2.0
"""Our speed on a CUDA GPU beside the reference's, in turn, in one process.

    python benchmarks/compare_gpu.py [--models vit_b vit_h] [--out FILE] [--repeats N]

The reference runs in float32, as it is used; ours in bfloat16 and in float32. That is
the precision of the image encoder: prompts are always decoded in float32. Without a
CUDA GPU nothing is measured, and the program ends with 2. Needs `segment-anything`
(`make bench-gpu` installs it) and about 8 GiB of GPU memory for vit_h.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from compare import band, line, mask_iou, say, synchronise, times
from comparison import (
    OurClick,
    OurGrid,
    OurImage,
    ReferenceClick,
    ReferenceGrid,
    ReferenceImage,
    difference,
    picture,
)
from paired import Row, fill, interleave, machine, save
from peers import load_pair

if TYPE_CHECKING:
    from collections.abc import Callable

DEVICE = "cuda"
# Goals in ms and s on an H100, for vit_h in bfloat16.
GOALS = {"embed": 20.0, "click": 3.0, "grid": 0.3}


def main() -> None:
    """Parse the options, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["vit_b", "vit_h"])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        say("There is no CUDA GPU that PyTorch can use: nothing was measured.")
        sys.exit(2)
    about = machine(torch.get_num_threads(), DEVICE)
    rows: list[Row] = []
    for model in options.models:
        for dtype in ("float32", "bfloat16"):
            rows += measure(model, dtype, options.repeats)
            save(options.out, about, rows)


def measure(model: str, dtype: str, n: int) -> list[Row]:
    """Measure one model in one precision."""
    pair = load_pair(model, DEVICE, dtype)
    image = picture(1024)
    theirs = ReferenceImage(pair.package, pair.reference, image, is_embedded=True)
    ours = OurImage(pair.ours, image, is_embedded=True)
    name = f"{model} {dtype}"
    rows = [embed(theirs, ours, name, n), memory(theirs, ours, name)]
    rows += [together(ours, name, n), click(theirs, ours, name, n)]
    rows += [grid(theirs, ours, name)]
    for row in rows:
        say(line(row))
    return rows


def embed(theirs: ReferenceImage, ours: OurImage, name: str, n: int) -> Row:
    """Measure the image encoder, preprocessing included."""
    row = Row(f"embed, {name}", "ms", note=f"goal {GOALS['embed']} ms with vit_h")
    expected = theirs.predictor.features.cpu().numpy()
    error = np.abs(expected - ours.embedding.features).max() / expected.std()
    iou = mask_iou(ours, expected)
    row.check = (
        f"max error {error:.1e} of their deviation; mask IoU {np.median(iou):.4f}"
    )
    row.is_same = bool(np.median(iou) >= 0.995)
    number = [0]

    def encode() -> None:
        number[0] += 1
        ours.predictor.embed(np.roll(ours.image, number[0], axis=1))

    samples = interleave(
        lambda: theirs.predictor.set_image(theirs.image), encode, n, synchronise
    )
    return fill(row, samples, 1e3)


def memory(theirs: ReferenceImage, ours: OurImage, name: str) -> Row:
    """Measure what one embedding needs of the GPU's memory beyond what is kept."""
    row = Row(f"memory, embed, {name}", "GiB", note="beyond weights")
    row.reference = most_memory(lambda: theirs.predictor.set_image(theirs.image))
    row.ours = most_memory(lambda: ours.predictor.embed(np.roll(ours.image, 7, axis=0)))
    row.ratio, row.n = row.reference / row.ours, 1
    row.check = "most that PyTorch had allocated at once"
    return row


def most_memory(work: Callable[[], object]) -> float:
    """Return by how many GiB the allocated memory rises at most."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    synchronise()
    return (torch.cuda.max_memory_allocated() - before) / 2**30


def together(ours: OurImage, name: str, n: int) -> Row:
    """Measure the image encoder on several frames at once, as tiles are."""
    engine: Any = ours.predictor._engine  # noqa: SLF001
    batch = engine.frames_at_once
    side = ours.predictor.model.image_size
    frames = torch.randn(batch, 3, side, side, device=DEVICE)

    @torch.inference_mode()
    def encode() -> None:
        engine.encode_image(frames)

    row = Row(f"encode {batch} frames, each, {name}", "ms", note="without a reference")
    row.samples = [(0.0, one / batch * 1e3) for one in times(encode, n)]
    row.ours, row.n = float(np.median([one for _, one in row.samples])), n
    return row


def click(theirs: ReferenceImage, ours: OurImage, name: str, n: int) -> Row:
    """Measure one click with three masks."""
    row = Row(f"click, {name}", "ms", note=f"goal {GOALS['click']} ms with vit_h")
    first, second = ReferenceClick(theirs), OurClick(ours)
    row.is_same = all(np.array_equal(first()[0], second().masks) for _ in range(5))
    row.check = "masks of 5 clicks equal, pixel by pixel"
    return fill(row, interleave(first, second, n, synchronise), 1e3)


def grid(theirs: ReferenceImage, ours: OurImage, name: str) -> Row:
    """Measure the automatic mode; answers are drawn since `click`."""
    row = Row(f"grid 32 x 32, {name}", note=f"goal {GOALS['grid']} s with vit_h")
    warm: dict[str, Any] = {"grid": band(4, 0, 4), "is_drawn": False}
    ReferenceGrid(theirs, 0, **warm)()
    OurGrid(ours, 0, **warm)()
    first = ReferenceGrid(theirs, 32, is_drawn=False)
    second = OurGrid(ours, 32, is_drawn=False)
    found = difference(first(), second())
    row.is_same, row.check = not found, found or "records equal, in order"
    return fill(row, interleave(first, second, 2, synchronise))


if __name__ == "__main__":
    main()
