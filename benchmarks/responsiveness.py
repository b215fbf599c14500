# SPDX-License-Identifier: Apache-2.0
"""Whether the window stays alive while the model works.

The same things are done in a viewer with the plugin and in one without: nothing,
sliding through a stack (each plane is embedded), clicking (each click is decoded), and
nothing while the grid runs. A 10 ms timer tells how late the event loop is; a thread
that looks at the main thread every 2 ms tells how long it stays in our code at a time.
The latter cannot see a call that keeps Python's lock to its end; the timer can.

Needs a display:
``xvfb-run -a -s "-screen 0 1600x1200x24" python benchmarks/responsiveness.py``.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from viewer_tools import (
    Pointer,
    environment,
    open_viewer,
    positions,
    report,
    sample_image,
    save,
    settle,
    start_prompts,
    summary,
    wait,
)

import napari_sam
from napari_sam._widgets.everything_widget import EverythingWidget
from napari_sam.errors import NapariSamError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

TICK_MS = 10
LOOK_S = 0.002
TARGET_SLOT_MS = 50.0
TARGET_LATER_MS = 20.0
N_PLANES = 40
ELSEWHERE = "napari, Qt, vispy"
PACKAGE = str(Path(napari_sam.__file__).parent)


class Ticks:
    """A timer of 10 ms that notes when it really fires."""

    def __init__(self) -> None:
        self._at: list[float] = []
        self._timer = QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(lambda: self._at.append(time.perf_counter()))

    def start(self) -> None:
        """Begin to note."""
        self._at.clear()
        self._timer.start()

    def stop(self) -> dict[str, float | int]:
        """End; returns the summary of the times between two ticks."""
        self._timer.stop()
        pairs = zip(self._at, self._at[1:], strict=False)
        return summary(after - before for before, after in pairs)


@dataclass
class Stay:
    """A time without a break that the main thread spent in one place.

    Attributes
    ----------
    place : str
        The outermost function of ours on its stack, or `ELSEWHERE`.
    seconds, cpu_seconds : float
        By the clock, and of the main thread's own computing: other programs that run
        on the machine lengthen only the former.
    seen : Counter of str
        Innermost functions, by the number of looks that met them.
    """

    place: str
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    seen: Counter[str] = field(default_factory=Counter)

    def text(self) -> str:
        """Say it in one line."""
        inner = ", ".join(name for name, _ in self.seen.most_common(2))
        return (
            f"{1000 * self.seconds:.0f} ms ({1000 * self.cpu_seconds:.0f} ms of "
            f"computing) in {self.place}: {inner}"
        )


class Lookout(threading.Thread):
    """Looks from time to time at what the main thread is doing.

    A stay is counted from the last look before it to the first look after it.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stays: list[Stay] = []
        self._main = threading.main_thread().ident or 0
        self._is_over = threading.Event()

    def run(self) -> None:
        """Look until `stop`."""
        before, stay, key = self._clocks(), None, None
        since = before
        while not self._is_over.wait(LOOK_S):
            frame = sys._current_frames().get(self._main)  # noqa: SLF001  there is no public way
            new_key, place, inner = _place_of(frame)
            now = self._clocks()
            if new_key != key or place != (stay.place if stay else ""):
                if stay is not None:
                    stay.seconds, stay.cpu_seconds = (
                        b - a for a, b in zip(since, now, strict=True)
                    )
                    self.stays.append(stay)
                stay = Stay(place) if place else None
                since, key = before, new_key
            if stay is not None:
                stay.seen[inner] += 1
            before = now

    def stop(self) -> None:
        """Look no more."""
        self._is_over.set()
        self.join()

    def result(self) -> dict[str, Any]:
        """Summary of all stays in our code, and the longest ones in words."""
        ours = [stay for stay in self.stays if stay.place != ELSEWHERE]
        rest = [stay for stay in self.stays if stay.place == ELSEWHERE]
        return {
            **summary(stay.seconds for stay in ours),
            "max_cpu_ms": round(1000 * max((s.cpu_seconds for s in ours), default=0)),
            "longest": [stay.text() for stay in _longest(ours)],
            "longest_elsewhere": [stay.text() for stay in _longest(rest)],
        }

    def _clocks(self) -> tuple[float, float]:
        """Return the time by the clock, and the main thread's computing time."""
        cpu = 0.0
        if hasattr(time, "pthread_getcpuclockid"):
            cpu = time.clock_gettime(time.pthread_getcpuclockid(self._main))
        return time.perf_counter(), cpu


def _place_of(frame: FrameType | None) -> tuple[int, str, str]:
    """Return an identity, the place (empty at rest) and the innermost function."""
    if frame is None or frame.f_code is settle.__code__:
        return 0, "", ""
    inner, key, place = frame.f_code.co_qualname, 0, ELSEWHERE
    outer: FrameType | None = frame
    while outer is not None:
        if outer.f_code.co_filename.startswith(PACKAGE):
            key, place = id(outer), outer.f_code.co_qualname
        outer = outer.f_back
    return key, place, inner


def _longest(stays: list[Stay]) -> list[Stay]:
    return sorted(stays, key=lambda stay: -stay.seconds)[:3]


def main() -> None:
    """Do everything twice, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each activity")
    parser.add_argument("--out", type=Path, help="also write the numbers as JSON")
    arguments = parser.parse_args()
    seconds = arguments.seconds
    viewer = open_viewer()
    without = without_plugin(viewer, seconds)
    viewer.close()
    viewer = open_viewer()
    within = with_plugin(viewer, seconds)
    rows = {}
    for name, run in within.items():
        plain = without["idle" if name == "grid" else name]["timer"]
        later = run["timer"]["p99_ms"] - plain["p99_ms"]
        rows[name] = {**run, "without": plain, "later_ms": round(later, 2)}
        report(
            f"{name}: timer median {run['timer']['median_ms']} ms, "
            f"p99 {run['timer']['p99_ms']} ms (without the plugin {plain['p99_ms']}, "
            f"target {TARGET_LATER_MS:g} more); "
            f"our longest stay {run['slots'].get('max_ms', 0)} ms, at most "
            f"{run['slots']['max_cpu_ms']} ms of computing (target {TARGET_SLOT_MS:g})"
        )
        for kind in ("longest", "longest_elsewhere"):
            for stay in run["slots"][kind]:
                report(f"    {stay}")
    report(f"{environment()}")
    targets = {"slot_ms": TARGET_SLOT_MS, "later_ms": TARGET_LATER_MS}
    save(arguments.out, {"runs": rows, "targets": targets})
    viewer.close()


def without_plugin(viewer: Any, seconds: float) -> dict[str, Any]:
    """Measure a plain viewer."""
    viewer.add_image(sample_image(N_PLANES), name="nuclei")
    settle(1.0)
    pointer = Pointer(viewer)
    return {
        "idle": observe(seconds, lambda _: None),
        "embedding": observe(seconds, lambda n: show_plane(viewer, n), every_s=1.0),
        "clicks": observe(seconds, lambda n: click(pointer, n), every_s=0.5),
    }


def with_plugin(viewer: Any, seconds: float) -> dict[str, Any]:
    """Measure a viewer whose image is being prompted."""
    viewer.add_image(sample_image(N_PLANES), name="nuclei")
    widget = start_prompts(viewer)
    session, pointer = widget.session, Pointer(viewer)
    results = {"idle": observe(seconds, lambda _: None)}
    results["embedding"] = observe(
        seconds, lambda n: show_plane(viewer, n), every_s=1.0
    )
    wait(lambda: not session.is_busy)

    def click_and_accept(number: int) -> None:
        try:
            if number:
                session.controller.accept()
        except NapariSamError:
            session.controller.discard()
        click(pointer, number)

    results["clicks"] = observe(seconds, click_and_accept, every_s=0.5)
    wait(lambda: not session.is_busy)
    everything = EverythingWidget(viewer)
    viewer.window.add_dock_widget(everything, name="Segment everything")
    settle(1.0)
    wait(lambda: not session.is_busy)
    everything.run.click()
    results["grid"] = observe(seconds, lambda _: None)
    everything.cancel.click()
    wait(lambda: not session.is_busy)
    return results


def observe(
    seconds: float, act: Callable[[int], None], every_s: float = 1e9
) -> dict[str, Any]:
    """Do something every so often and note what the main thread does.

    The action itself runs in a timer of its own, as an event of the user's would.
    """
    ticks, lookout, actor = Ticks(), Lookout(), QTimer()
    count = iter(range(10_000))
    actor.setInterval(int(min(1000 * every_s, 1e6)))
    actor.timeout.connect(lambda: act(next(count)))
    lookout.start()
    ticks.start()
    actor.start()
    settle(seconds)
    actor.stop()
    timer = ticks.stop()
    lookout.stop()
    return {"timer": timer, "slots": lookout.result()}


def show_plane(viewer: Any, number: int) -> None:
    """Move the slider to the next plane."""
    viewer.dims.set_current_step(0, (number * 3 + 1) % N_PLANES)


def click(pointer: Pointer, number: int) -> None:
    """Move to a position and click there."""
    place = positions(200)[number % 200]
    pointer.move(place)
    pointer.click(place)


if __name__ == "__main__":
    main()
