# SPDX-License-Identifier: Apache-2.0
"""How long a kept embedding takes from its key to a tensor, and what float16 changes.

Files lie in the system's file cache, as those written lately do. The masks are those of
clicks in the middle of every cell that the embedded model's own sample shows.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from paired import Row, machine, save
from scipy.ndimage import center_of_mass

from napari_sam import load_model
from napari_sam.io.embedding_store import EmbeddingStore
from napari_sam.io.sample_data import load_sample, sample_names
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.structures.embedding import ImageEmbedding

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    about, rows = machine(1), []
    for name, embedding in (("4 MiB", of_published_size()), ("8 MiB", of_embedded())):
        for is_half in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                times = measure(
                    embedding, Path(folder), arguments.repeats, is_half=is_half
                )
            kind = "float16" if is_half else "float32"
            for what, (wall, used), must in zip(
                ("written", "from its key to a tensor"), times, (None, 10), strict=True
            ):
                row = Row(f"embedding of {name}, {kind}: {what}", "ms", must=must)
                row.ours, row.n, row.note = wall, arguments.repeats, "absolute"
                row.check = f"{used:.1f} ms of the processor"
                say(f"{row.what} {wall:.1f} ms, {row.check}")
                rows.append(row)
    for name in sample_names():
        ious = change_by_rounding(name)
        say(
            f"masks from float16 on {name}: mean IoU {np.mean(ious):.6f}, median "
            f"{np.median(ious):.6f}, least {np.min(ious):.6f} of {len(ious)}"
        )
        row = Row(
            f"mean IoU of masks from float16 with float32, {name}", "", must=0.9998
        )
        row.ours, row.n, row.note = float(np.mean(ious)), len(ious), "absolute"
        row.check = f"median {np.median(ious):.6f}, least {np.min(ious):.4f}"
        rows.append(row)
    say(str(about))
    save(arguments.out, about, rows)


def of_published_size() -> ImageEmbedding:
    """Return random features of the size that all published models have."""
    features = np.random.default_rng(0).normal(size=(1, 256, 64, 64))
    return ImageEmbedding(
        features.astype(np.float32),
        (),
        (1024, 1024),
        (1024, 1024),
        "random",
        hashlib.sha256(b"4").hexdigest(),
        "x",
    )


def of_embedded() -> ImageEmbedding:
    """Return features of the embedded model, which has finer ones, too."""
    noise = np.random.default_rng(0).integers(0, 255, (512, 512), dtype=np.uint8)
    return SamPredictor(load_model()).embed(noise)


def measure(
    embedding: ImageEmbedding, folder: Path, repeats: int, *, is_half: bool
) -> list[tuple[float, float]]:
    """Milliseconds to write and to read, and of the processor in them: medians."""
    store = EmbeddingStore(folder, is_half=is_half)

    def write() -> None:
        store.clear()
        store.put(embedding)

    def read() -> None:
        found = store.get(embedding.digest)
        if found is None:
            msg = "The embedding was not kept."
            raise RuntimeError(msg)
        for array in (found.features, *found.high_res):
            torch.tensor(array)

    return [milliseconds(write, repeats), milliseconds(read, repeats)]


def milliseconds(work: Callable[[], None], repeats: int) -> tuple[float, float]:
    """Time several calls after one that does not count; medians, the processor's last.

    The processor's time hardly moves with what else runs.
    """
    wall, used = [], []
    for _ in range(repeats + 1):
        begin, cpu = time.perf_counter(), time.process_time()
        work()
        used.append(1000 * (time.process_time() - cpu))
        wall.append(1000 * (time.perf_counter() - begin))
    return statistics.median(wall[1:]), statistics.median(used[1:])


def change_by_rounding(name: str) -> list[float]:
    """IoU of masks from float16 with those from float32, three for every cell."""
    sample = load_sample(name)
    predictor = SamPredictor(load_model())
    made = predictor.embed(sample.image)
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddingStore(Path(folder), is_half=True)
        store.put(replace(made, model_digest=made.model_digest or "x"))
        rounded = store.get(made.digest)
    if rounded is None:
        msg = "The embedding was not kept."
        raise RuntimeError(msg)
    rounded = replace(rounded, digest=hashlib.sha256(b"rounded").hexdigest())
    labels = np.unique(sample.labels)[1:]
    ious = []
    for centre in center_of_mass(sample.labels > 0, sample.labels, labels):
        pairs = (
            predictor.predict(one, [centre], multimask_output=True).masks
            for one in (made, rounded)
        )
        for first, second in zip(*pairs, strict=True):
            union = np.count_nonzero(first | second)
            ious.append(np.count_nonzero(first & second) / union if union else 1.0)
    return ious


def say(text: str) -> None:
    """Write a line to the terminal at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
