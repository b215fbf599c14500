# SPDX-License-Identifier: Apache-2.0
"""One piece of work for the model thread, and what it may use while it runs."""

from __future__ import annotations

import threading
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

from napari_sam.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable


class Priority(IntEnum):
    """Who goes first; smaller is more urgent."""

    INTERACTIVE = 0
    LOOK = 1
    """Encoding what is on screen: previews and clicks go first."""
    GRID = 2
    PREFETCH = 3


class GivesWay(Protocol):
    """The thread that a job runs in, as far as the job needs it."""

    def serve(self, above: int) -> None:
        """Run waiting jobs that are more urgent."""
        ...

    def report_progress(self, job: Job, done: int, total: int) -> None:
        """Take a progress report to where the GUI lives."""
        ...


class Job:
    """Handle of submitted work."""

    def __init__(
        self,
        work: Callable[[JobContext], Any],
        *,
        priority: Priority,
        lane: str,
        generation: int,
        on_result: Callable[[Any], None] | None,
        on_error: Callable[[Exception], None] | None,
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        self.work = work
        self.priority = priority
        self.lane = lane
        self.generation = generation
        self.on_result = on_result
        self.on_error = on_error
        self.on_progress = on_progress
        self.cancel_event = threading.Event()
        self.latest_progress: tuple[int, int] | None = None

    def cancel(self) -> None:
        """Ask the work to stop at its next opportunity."""
        self.cancel_event.set()


class YieldingEvent(threading.Event):
    """A cancel flag whose inspection lets more urgent jobs run first.

    Work looks at its flag wherever it can be interrupted, for instance between the
    blocks of an encoder. Those are the places where it can give way, too.
    """

    def __init__(self, job: Job, runner: GivesWay) -> None:
        super().__init__()
        self._job = job
        self._runner = runner

    def is_set(self) -> bool:
        """Give way, then tell whether the job should stop."""
        self._runner.serve(above=self._job.priority)
        return self._job.cancel_event.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the job should stop."""
        return self._job.cancel_event.wait(timeout)


class JobContext:
    """What running work may use: its cancel flag and a way to report and give way."""

    def __init__(self, job: Job, runner: GivesWay) -> None:
        self._job = job
        self._runner = runner
        self._yielding = YieldingEvent(job, runner)

    @property
    def cancel(self) -> threading.Event:
        """Says whether the work should stop; looking at it gives way to urgent jobs."""
        return self._yielding

    def check(self) -> None:
        """Raise Cancelled if the work should stop."""
        if self._job.cancel_event.is_set():
            msg = "The work was cancelled before it was done."
            raise Cancelled(msg)

    def progress(self, done: int, total: int) -> None:
        """Report progress, then run everything that is more urgent than this job."""
        self._runner.report_progress(self._job, done, total)
        self._runner.serve(above=self._job.priority)
