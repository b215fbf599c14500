# SPDX-License-Identifier: Apache-2.0
"""Kills an annotator at random moments and restores it; run as a program of its own.

Each trial is a fork that makes random commands through the real annotator and says
after each that it is done. It is killed in the middle, and what its journal holds has
to be the annotation after the last command it told of, or after the one in flight.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.array_ports import ArrayImage, ArrayLabels
from napari_sam.annotation.ports import PlaneKey
from napari_sam.annotation.state import AnnotationState
from napari_sam.errors import NapariSamError
from napari_sam.io.journal import Journal
from napari_sam.io.journal_reader import discard_journal, find_unfinished
from napari_sam.io.journal_replay import recover
from napari_sam.structures.candidates import Answer
from napari_sam.structures.mask_window import MaskWindow

SHAPE = (2, 48, 64)
N_COMMANDS = 150


class Squares:
    """A model that answers with squares around the last point."""

    name = "squares"
    auto_defaults: dict[str, float] = {}  # noqa: RUF012

    def describe(self) -> dict[str, str]:
        return {"model": self.name}

    def embed(self, pixels: Any, **_: Any) -> int:
        return 0

    def scale_for(self, embedding: Any, view: Any, extent: Any = None) -> None:
        return None

    def region_at(self, embedding: Any, yx: Any, scale: Any) -> None:
        return None

    def predict(
        self, embedding: Any, prompts: Any, *, scale: Any = None, cancel: Any = None
    ) -> Answer:
        y, x = (int(value) for value in prompts.points[-1].yx)
        masks = []
        for side in (5, 3, 5, 9):
            mask = np.zeros(SHAPE[1:], bool)
            mask[max(y - side, 0) : y + side, max(x - side, 0) : x + side] = True
            masks.append(MaskWindow.of_mask(mask))
        logits = np.zeros((4, 4, 4), np.float32)
        return Answer(tuple(masks), np.linspace(0.5, 0.9, 4, dtype=np.float32), logits)


class Recorded(Annotator):
    """An annotator that can say how it stands."""

    def snapshot(self) -> AnnotationState:
        drafts, plane = self.ledger.drafts, self.plane
        keys = [PlaneKey((1, 2), (i,)) for i in range(SHAPE[0])]
        whole = (0, 0, *SHAPE[1:])
        return AnnotationState(
            image_identity="pixels",
            shape=SHAPE,
            objects=tuple(replace(item, seconds=0.0) for item in self.objects),
            labels={key: self.labels.read(key, whole) for key in keys},
            draft=self.draft,
            other_drafts=tuple(d for p, d in drafts.items() if p != plane),
        )


def make_annotator() -> Recorded:
    labels = np.zeros(SHAPE, np.uint32)
    labels[1, 40:, :10] = 3
    image = ArrayImage(np.zeros(SHAPE, np.uint8))
    annotator = Recorded(image, ArrayLabels(labels))
    annotator.attach(Squares())
    return annotator


def one_command(annotator: Recorded, chance: random.Random) -> None:
    """Do something, the same with the same numbers."""
    plane = PlaneKey((1, 2), (chance.randrange(SHAPE[0]),))
    yx = (float(chance.randrange(SHAPE[1])), float(chance.randrange(SHAPE[2])))
    keys = [item.key for item in annotator.objects]
    key = chance.choice(keys) if keys else (plane, 1)
    commands = [
        lambda: annotator.add_point(plane, yx),
        lambda: annotator.add_point(plane, yx),
        annotator.commit,
        annotator.commit,
        annotator.next_candidate,
        annotator.undo,
        annotator.redo,
        annotator.discard,
        lambda: annotator.delete([key]),
        lambda: annotator.change([key], class_name=f"class {yx[0]:.0f}"),
        lambda: annotator.reopen(*key),
    ]
    with suppress(NapariSamError):
        chance.choice(commands)()


def same(one: AnnotationState, two: AnnotationState) -> bool:
    """Compare; objects are in no order after an undo."""

    def plain(state: AnnotationState) -> AnnotationState:
        objects = sorted(
            (replace(item, seconds=0.0) for item in state.objects),
            key=lambda item: (item.plane.index, item.object_id),
        )
        return replace(state, objects=tuple(objects))

    return plain(one) == plain(two)


def work(folder: Path, seed: int, max_bytes: int, done: int) -> None:
    """Make commands until somebody ends it; tells of each."""
    annotator, chance = make_annotator(), random.Random(seed)
    journal = Journal(annotator, folder, max_bytes=max_bytes)
    for _ in range(N_COMMANDS):
        one_command(annotator, chance)
        os.write(done, b".")
    time.sleep(60)
    journal.close()


def trial(folder: Path, seed: int) -> str:
    """Kill one annotator; returns what is wrong."""
    chance = random.Random(-seed)
    told, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        work(folder, seed, 30_000 if seed % 2 else 2**26, done)
    os.close(done)
    n_wanted = chance.randrange(1, N_COMMANDS)
    n_done = 0
    while n_done < n_wanted:
        n_done += len(os.read(told, n_wanted - n_done))
    in_use = find_unfinished(folder=folder)
    time.sleep(chance.random() * 0.004)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while more := os.read(told, 4096):
        n_done += len(more)
    os.close(told)
    if in_use:
        return f"seed {seed}: a journal in use was offered"
    annotator, chance = make_annotator(), random.Random(seed)
    expected = [annotator.snapshot()]
    for _ in range(n_done + 1):
        one_command(annotator, chance)
        expected.append(annotator.snapshot())
    found = find_unfinished("pixels", folder)
    if not found:
        # Killed before the first step, or at the latest while it was written.
        for path in folder.iterdir():
            path.unlink()
        is_same = same(expected[0], expected[n_done])
        return "" if is_same else f"seed {seed}: no journal after {n_done} commands"
    recovery = recover(found[0].path)
    discard_journal(found[0].path)
    if recovery.notices or list(folder.iterdir()):
        return f"seed {seed}: {recovery.notices}, {list(folder.iterdir())}"
    if not any(same(recovery.state, state) for state in expected[n_done:]):
        return f"seed {seed}: not as after {n_done} commands"
    return ""


def main() -> None:
    folder, n_trials = Path(sys.argv[1]), int(sys.argv[2])
    problems = [trial(folder, seed) for seed in range(n_trials)]
    print(*filter(None, problems), sep="\n")
    sys.exit(bool(any(problems)))


if __name__ == "__main__":
    main()
