# SPDX-License-Identifier: Apache-2.0
"""The window stays alive while the model embeds, answers and searches.

A 10 ms timer tells how late the event loop is, with the plugin and without; a thread
that looks at the main thread every 2 ms tells how long it stays in our code at a time.
Other programs delay both, so the best of several tries counts, and both are counted in
processor time of the main thread as well, where the system knows it: on a machine that
is busy, both have wider limits.
Each layer more costs the viewer time at every step of a slider (10 to 25 ms without a
graphics card), and each object drawn as well, so all is compared with the same layers
at rest, and with points and objects drawn by hand.
`benchmarks/responsiveness.py` prints the same with the real model.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_sam
from napari_sam._widgets.everything_widget import EverythingWidget

PACKAGE = str(Path(napari_sam.__file__).parent)
TICK_MS = 10
SECONDS = 0.8
N_TRIES = 4
N_PLANES = 40
MAX_STAY_S = 0.05
MAX_LATER_S = 0.02
MAX_LATER_WHEN_BUSY_S = 0.1
MAX_WORK_WHEN_BUSY_S = 0.03


def main_clock() -> float:
    """Processor time of the main thread, else time."""
    get = getattr(time, "pthread_getcpuclockid", None)
    if get is None:
        return time.perf_counter()
    return time.clock_gettime(get(threading.main_thread().ident))


class Lookout(threading.Thread):
    """Looks every 2 ms for the outermost function of ours in the main thread."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stays: list[tuple[float, str]] = []
        self._is_over = threading.Event()

    def run(self) -> None:
        since = main_clock()
        inside: tuple[int, str] | None = None
        while not self._is_over.wait(0.002):
            frame = self._outermost()
            now = main_clock()
            if frame != inside:
                if inside is not None:
                    self.stays.append((now - since, inside[1]))
                since, inside = now, frame

    def stop(self) -> tuple[float, str]:
        """End; returns the longest stay and where it was."""
        self._is_over.set()
        self.join()
        return max(self.stays, default=(0.0, "nowhere"))

    @staticmethod
    def _outermost() -> tuple[int, str] | None:
        frame = sys._current_frames().get(threading.main_thread().ident)
        found = None
        while frame is not None:
            if frame.f_code.co_filename.startswith(PACKAGE):
                found = (id(frame), frame.f_code.co_qualname)
            frame = frame.f_back
        return found


@dataclass(frozen=True)
class Seen:
    """What `observe` saw: p99 between two ticks in two clocks, our longest stay."""

    wall: float
    busy: float
    stay: float
    where: str

    def is_good(self, without: Seen) -> bool:
        is_quiet = hasattr(os, "getloadavg") and os.getloadavg()[0] < 0.7
        limit = MAX_LATER_S if is_quiet else MAX_LATER_WHEN_BUSY_S
        work_limit = MAX_LATER_S if is_quiet else MAX_WORK_WHEN_BUSY_S
        return (
            self.wall - without.wall <= limit
            and self.busy - without.busy <= work_limit
            and self.stay <= MAX_STAY_S
        )

    def told(self, without: Seen) -> str:
        return (
            f"p99 {1000 * self.wall:.0f} ms (without {1000 * without.wall:.0f}), "
            f"processor {1000 * self.busy:.0f} ({1000 * without.busy:.0f}), "
            f"stay {1000 * self.stay:.0f} in {self.where}"
        )


def observe(act: Any, every_s: float) -> Seen:
    """Do something every so often and watch the main thread."""
    from qtpy.QtCore import QEventLoop, QTimer

    ticks: list[tuple[float, float]] = []
    ticker, actor, loop, lookout = QTimer(), QTimer(), QEventLoop(), Lookout()
    ticker.timeout.connect(lambda: ticks.append((time.perf_counter(), main_clock())))
    count = iter(range(10_000))
    actor.timeout.connect(lambda: act(next(count)))
    QTimer.singleShot(round(1000 * SECONDS), loop.quit)
    lookout.start()
    ticker.start(TICK_MS)
    actor.start(round(1000 * every_s))
    loop.exec()
    ticker.stop()
    actor.stop()
    wall, busy = np.percentile(np.diff(ticks, axis=0), 99, axis=0).tolist()
    return Seen(wall, busy, *lookout.stop())


@pytest.fixture
def stack(viewer, blobs):
    """A stack whose planes differ, so that each has to be looked at."""
    gray = blobs.image.mean(axis=2).astype(np.uint8)
    planes = [np.roll(gray, 5 * number, axis=1) for number in range(N_PLANES)]
    return viewer.add_image(np.stack(planes), name="stack", contrast_limits=(0, 255))


@pytest.fixture
def slide(viewer):
    steps = iter(range(1, 10_000))

    def to_another_plane(_: int) -> None:
        viewer.dims.set_current_step(0, next(steps) * 3 % N_PLANES)

    return to_another_plane


class Doings:
    """What is done while the main thread is watched."""

    def __init__(self, live: Any, everything: Any, slide: Any, centres: Any) -> None:
        self.live = live
        self._everything = everything
        self._slide = slide
        self._centres = centres

    def idle(self) -> Seen:
        return observe(lambda _: None, 9)

    def embedding(self) -> Seen:
        return observe(self._slide, 0.2)

    def decoding(self) -> Seen:
        live = self.live
        if live.annotator.draft is not None:
            live.controller.act("discard")
        if len(live.annotator.objects):
            live.annotator.delete([known.key for known in live.annotator.objects])
        live.press(live.widget.tools.tools["point"])

        def click_or_accept(number: int) -> None:
            live.controller.act("accept") if number % 2 else self._click(number)

        seen = observe(click_or_accept, 0.15)
        live.settle()
        assert live.labels.data.any(), "no click was answered"
        return seen

    def drawing(self) -> Seen:
        """Do the same by hand: a point at each click, a disk in the labels after."""
        points, labels = self.live.controller.prompts.points, self.live.labels
        labels.brush_size, labels.n_edit_dimensions = 40, 2
        self.live.activate(points)
        points.mode = "add"

        def click_or_paint(number: int) -> None:
            if number % 2:
                plane = self.live.viewer.dims.current_step[0]
                labels.paint((plane, *self._place(number)), number)
                points.data = np.zeros((0, 3))
            else:
                self._click(number)

        seen = observe(click_or_paint, 0.15)
        assert labels.data.any()
        labels.data = np.zeros_like(labels.data)
        points.data = np.zeros((0, 3))
        return seen

    def grid(self) -> Seen:
        self._everything.run.click()
        progress = self._everything.progress
        self.live._wait(lambda: progress.value() > 0, timeout=60)
        seen = self.idle()
        assert self.live.widget.session.is_grid_running, "it was too short to tell"
        self._everything.cancel.click()
        return seen

    def _place(self, number: int) -> tuple[int, int]:
        return self._centres[number // 2 % len(self._centres)][:2]

    def _click(self, number: int) -> None:
        self.live._mouse.click(self.live.controller.image, self._place(number))


@pytest.fixture
def doings(viewer, stack, slide, hand, docked, centres):
    live = hand()
    everything = docked(EverythingWidget)
    everything.settings.set_value("points_per_side", 64)
    return Doings(live, everything, slide, centres)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_slots_are_short_and_the_timer_is_on_time(doings):
    """While embedding, decoding and the grid run: 50 ms in our slots, 20 ms later."""
    dock = doings.live.widget.parent()
    dock.hide()  # nothing of ours listens now
    for _ in range(2):  # the first time napari makes up its mind
        idle, sliding = doings.idle(), doings.embedding()
        drawing = doings.drawing()
    dock.show()
    doings.live.settle()
    doings.decoding()  # what is done once
    without = {"idle": idle, "embedding": sliding, "decoding": drawing, "grid": idle}
    misses = set(without)
    for _ in range(N_TRIES):
        told = {}
        for name in sorted(misses):
            doings.live.settle()
            seen = getattr(doings, name)()
            told[name] = seen.told(without[name])
            if seen.is_good(without[name]):
                misses.remove(name)
        if not misses:
            break
    assert not misses, told
