# SPDX-License-Identifier: Apache-2.0
"""How long a plane of a stack takes to be ready for clicks, slider step by slider step.

An annotator goes through a stack and stays on each plane for a while, as a user
who looks and clicks does. Measured is the time from the step to the moment at which the
embedding is there: on the way down with and without planes made ready ahead, on the way
back from memory, and in another session from disk. No viewer is needed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from paired import Row, machine, save

from napari_sam import load_model
from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.array_ports import ArrayImage, ArrayLabels
from napari_sam.annotation.jobs import ModelThread
from napari_sam.annotation.plane_ahead import PlanesAhead
from napari_sam.io.embedding_store import EmbeddingStore
from napari_sam.prediction.embedding_library import EmbeddingLibrary
from napari_sam.prediction.model_segmenter import ModelSegmenter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_sam.modeling.sam import Sam

GIVE_UP_S = 120.0


class Session:
    """An annotator of a stack with threads of its own.

    Parameters
    ----------
    stack : (Z, H, W) array
        The planes.
    model : Sam
        The model.
    library : EmbeddingLibrary or None
        Embeddings made before.
    is_ahead : bool
        Whether neighbouring planes are made ready.
    """

    def __init__(
        self,
        stack: np.ndarray,
        model: Sam,
        library: EmbeddingLibrary | None,
        *,
        is_ahead: bool,
    ) -> None:
        self._image = ArrayImage(stack)
        self._runners = ModelThread(), ModelThread("reader")
        labels = ArrayLabels(np.zeros(stack.shape, np.uint32))
        self._annotator = Annotator(self._image, labels, self._runners[0])
        self._ahead = PlanesAhead(
            self._annotator, *self._runners, stack.shape, is_on=is_ahead
        )
        self._ready: set[Any] = set()
        self._annotator.embedding_changed.connect(self._note)
        self._annotator.attach(ModelSegmenter(model, library))

    def visit(self, planes: Iterable[int], dwell_s: float) -> list[float]:
        """Go from plane to plane; seconds from each step to its embedding."""
        seconds = []
        for z in planes:
            key = self._image.plane(z)
            self._ready.discard(key)
            begin = time.perf_counter()
            self._annotator.look_at(key)
            self._live(lambda key=key: key in self._ready, GIVE_UP_S)
            seconds.append(time.perf_counter() - begin)
            self._live(lambda: False, dwell_s)
        return seconds

    def close(self) -> None:
        """End the threads."""
        self._annotator.detach()
        for runner in self._runners:
            runner.close()

    def _note(self, plane: Any, is_ready: bool) -> None:  # noqa: FBT001  a signal's payload
        if is_ready:
            self._ready.add(plane)

    def _live(self, condition: Callable[[], bool], seconds: float) -> None:
        """Deliver answers until a condition holds, as an event loop does."""
        end = time.perf_counter() + seconds
        while not condition() and time.perf_counter() < end:
            for runner in self._runners:
                runner.drain()
            time.sleep(0.0005)


def main() -> None:
    """Scroll, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--planes", type=int, default=24)
    parser.add_argument("--size", type=int, default=512, help="pixels along a side")
    parser.add_argument(
        "--dwell", type=float, default=1.0, help="seconds that each plane is looked at"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="also write the numbers as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = load_model(arguments.model, device=arguments.device)
    stack = make_stack(arguments.planes, arguments.size)
    with tempfile.TemporaryDirectory() as folder:
        results = measure(stack, model, Path(folder), arguments.dwell)
    say(
        f"{arguments.planes} planes of {stack.shape[1]} x {stack.shape[2]} pixels "
        f"({stack.dtype}), model {model.name}, {arguments.dwell:g} s on each; "
        "milliseconds from the step to the embedding"
    )
    for name, seconds in results.items():
        say(f"{name:34} {in_words(seconds)}")
    facts = machine(arguments.threads, arguments.device)
    say(str(facts))
    save(arguments.out, facts, to_rows(results))


def to_rows(results: dict[str, list[float]]) -> list[Row]:
    """Return the medians as rows of a report."""
    return [
        Row(
            f"step to another plane until it is embedded: {name}",
            "ms",
            ours=1e3 * statistics.median(seconds),
            n=len(seconds),
            note="absolute",
        )
        for name, seconds in results.items()
    ]


def measure(
    stack: np.ndarray, model: Sam, folder: Path, dwell_s: float
) -> dict[str, list[float]]:
    """Scroll in every way; the first plane has nobody to make it ready."""
    down, up = range(len(stack)), range(len(stack) - 2, -1, -1)
    results = {}
    session = Session(stack, model, None, is_ahead=False)
    results["down, nothing ahead"] = session.visit(down, dwell_s)[1:]
    results["back, nothing kept"] = session.visit(up, 0.0)
    session.close()

    library = EmbeddingLibrary(EmbeddingStore(folder))
    session = Session(stack, model, library, is_ahead=True)
    results["down, made ready ahead"] = session.visit(down, dwell_s)[1:]
    library.flush()
    results["back, from memory"] = session.visit(up, 0.0)
    library.clear_memory()
    session.close()

    session = Session(
        stack, model, EmbeddingLibrary(EmbeddingStore(folder)), is_ahead=False
    )
    results["another session, from disk"] = session.visit(down, 0.0)
    session.close()
    library = EmbeddingLibrary(EmbeddingStore(folder), max_bytes=0)
    session = Session(stack, model, library, is_ahead=False)
    session.visit(down, 0.0)
    results["back, from disk, digest known"] = session.visit(up, 0.0)[8:]
    session.close()
    return results


def make_stack(n_planes: int, side: int) -> np.ndarray:
    """Draw discs on noise, others on each plane; (Z, H, W) uint16."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    stack = rng.normal(1000, 100, (n_planes, side, side)).astype(np.float32)
    for plane in stack:
        for y, x in rng.uniform(0, side, (40, 2)):
            radius = side / 40
            plane += 3000 * (np.hypot(rows - y, columns - x) < radius)
    return stack.clip(0, 65535).astype(np.uint16)


def in_words(seconds: list[float]) -> str:
    """Say median, 95th percentile and maximum in milliseconds."""
    p50, p95, most = 1000 * np.percentile(seconds, [50, 95, 100])
    return f"median {p50:7.1f}   p95 {p95:7.1f}   max {most:7.1f}   n {len(seconds)}"


def say(text: str) -> None:
    """Write a line to the terminal at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
