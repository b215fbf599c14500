# SPDX-License-Identifier: Apache-2.0
"""One thread that owns the model, and the queue in front of it.

Work is ordered by priority (a click before a grid before a prefetch), then by age. A
grid gives way between its batches: each `JobContext.progress` call first runs whatever
is more urgent, in the same thread, so the model needs no lock. Jobs of one lane replace
each other: a newer one takes the lane's next generation number and every answer of an
older generation is dropped at delivery. Answers wait in an outbox until `drain` is
called by the thread that owns the GUI; `on_ready` tells that thread to do it now.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

from napari_sam.annotation.job import Job, JobContext, Priority
from napari_sam.errors import PhaseError

if TYPE_CHECKING:
    from collections.abc import Callable


class ModelThread:
    """A single persistent thread with a priority queue (see the module's text).

    The thread starts with the first job and is a daemon: it never keeps a finished
    program alive.

    Parameters
    ----------
    name : str
        Name of the thread, as debuggers show it.

    Attributes
    ----------
    has_thread : bool
        Whether work is done in a thread of its own.
    on_ready : callable or None
        Called without arguments from the model thread whenever something is to be
        drained. It must return at once and do no more than wake another thread.
    """

    has_thread: ClassVar[bool] = True

    def __init__(self, name: str = "napari-sam-model") -> None:
        self.on_ready: Callable[[], None] | None = None
        self._name = name
        self._wake = threading.Condition()
        self._queue: list[tuple[int, int, Job]] = []
        self._sequence = itertools.count()
        self._generations: dict[str, int] = {}
        self._running: list[Job] = []
        self._outbox: deque[tuple[Job, str, Any]] = deque()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def is_busy(self) -> bool:
        """Whether work or undelivered answers are left."""
        with self._wake:
            return bool(self._queue or self._running or self._outbox)

    @property
    def is_alive(self) -> bool:
        """Whether the thread exists and runs."""
        return self._thread is not None and self._thread.is_alive()

    def submit(
        self,
        work: Callable[[JobContext], Any],
        *,
        priority: Priority,
        lane: str = "",
        on_result: Callable[[Any], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Job:
        """Queue `work`; the callbacks run later inside `drain`.

        Parameters
        ----------
        work : callable
            Called with a `JobContext` in the model thread.
        priority : Priority
            Order in the queue.
        lane : str
            Jobs of the same non-empty lane replace each other: those still waiting
            are dropped, the answer of a running one will not be delivered.
        on_result, on_error, on_progress : callable, optional
            Receive the return value, the exception (Cancelled included), or
            ``(done, total)``.

        Raises
        ------
        PhaseError
            After `close`.
        """
        with self._wake:
            if self._is_closed:
                msg = "The model thread is closed; nothing can be computed any more."
                raise PhaseError(msg)
            job = Job(
                work,
                priority=priority,
                lane=lane,
                generation=self._advance(lane),
                on_result=on_result,
                on_error=on_error,
                on_progress=on_progress,
            )
            heapq.heappush(self._queue, (int(priority), next(self._sequence), job))
            self._start()
            self._wake.notify_all()
        return job

    def forget(self, lane: str) -> None:
        """Make every job of `lane` stale: waiting ones never run."""
        with self._wake:
            self._advance(lane)

    def drain(self) -> int:
        """Deliver waiting answers in the calling thread.

        An exception of a callback leaves this method at once; the remaining answers
        stay for the next call.

        Returns
        -------
        int
            Number of callbacks that ran.
        """
        n_delivered = 0
        for _ in range(len(self._outbox)):
            try:
                job, kind, value = self._outbox.popleft()
            except IndexError:  # closed meanwhile
                break
            if kind == "progress":
                with self._wake:
                    value, job.latest_progress = job.latest_progress, None
            if not self._is_current(job):
                continue
            if self._deliver(job, kind, value):
                n_delivered += 1
        return n_delivered

    def wait(self, timeout: float = 60.0) -> None:
        """Drain until nothing is left to do; for scripts and tests.

        Raises
        ------
        PhaseError
            If the work is not done within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while self.is_busy:
            if self.drain():
                continue
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                msg = f"The model thread is still busy after {timeout:g} s."
                raise PhaseError(msg)
            with self._wake:
                if not self._outbox:
                    self._wake.wait(min(remaining, 0.1))

    def serve(self, above: int) -> None:
        """Run waiting jobs more urgent than `above`; called in the model thread."""
        while (job := self._take(above)) is not None:
            self._run(job)

    def report_progress(self, job: Job, done: int, total: int) -> None:
        """Post progress of a job; only its newest value is delivered."""
        with self._wake:
            is_waiting = job.latest_progress is not None
            job.latest_progress = (done, total)
        if job.on_progress is not None and not is_waiting:
            self._post(job, "progress", None)

    def close(self, timeout: float = 5.0) -> None:
        """Cancel everything, end the thread and drop what was not delivered."""
        with self._wake:
            self._is_closed = True
            for job in [*self._running, *(entry[2] for entry in self._queue)]:
                job.cancel()
            self._queue.clear()
            self._wake.notify_all()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        self._outbox.clear()

    def _advance(self, lane: str) -> int:
        """Next generation of `lane`; drops its waiting jobs. Needs the lock."""
        if not lane:
            return 0
        generation = self._generations.get(lane, 0) + 1
        self._generations[lane] = generation
        kept = [entry for entry in self._queue if entry[2].lane != lane]
        if len(kept) != len(self._queue):
            self._queue[:] = kept
            heapq.heapify(self._queue)
        return generation

    def _is_current(self, job: Job) -> bool:
        return not job.lane or self._generations.get(job.lane) == job.generation

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._loop, name=self._name, daemon=True
            )
            self._thread.start()

    def _take(self, above: int) -> Job | None:
        """Pop the most urgent waiting job, if more urgent than `above`."""
        with self._wake:
            if self._is_closed or not self._queue or self._queue[0][0] >= above:
                return None
            job = heapq.heappop(self._queue)[2]
            self._running.append(job)
            return job

    def _loop(self) -> None:
        lowest = max(Priority) + 1
        while True:
            self.serve(above=lowest)
            with self._wake:
                if self._is_closed:
                    return
                if not self._queue:
                    self._wake.wait()

    def _run(self, job: Job) -> None:
        try:
            result = job.work(JobContext(job, self))
        except Exception as error:  # noqa: BLE001  it travels to on_error
            self._post(job, "error", error)
        else:
            self._post(job, "result", result)
        finally:
            with self._wake:
                self._running.remove(job)
                self._wake.notify_all()

    def _post(self, job: Job, kind: str, value: Any) -> None:
        with self._wake:
            if self._is_closed:
                return
            self._outbox.append((job, kind, value))
            self._wake.notify_all()
            on_ready = self.on_ready
        if on_ready is not None:
            # Outside of the lock, or a receiver that drains would wait for it. A window
            # that is being destroyed raises; the model has to outlive it.
            with contextlib.suppress(RuntimeError):
                on_ready()

    @staticmethod
    def _deliver(job: Job, kind: str, value: Any) -> bool:
        callback: Callable[..., None] | None = {
            "progress": job.on_progress,
            "error": job.on_error,
            "result": job.on_result,
        }[kind]
        if callback is None:
            return False
        if kind == "progress":
            callback(*value)
        else:
            callback(value)
        return True


class InlineRunner(ModelThread):
    """The same contract without a thread: work runs and is delivered in `submit`.

    For scripts that want no thread, and for tests.
    """

    has_thread: ClassVar[bool] = False

    def _start(self) -> None:
        """Start nothing: the caller's thread does the work."""

    def submit(
        self,
        work: Callable[[JobContext], Any],
        *,
        priority: Priority,
        lane: str = "",
        on_result: Callable[[Any], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Job:
        """Run `work` at once and deliver its answer before returning."""
        job = super().submit(
            work,
            priority=priority,
            lane=lane,
            on_result=on_result,
            on_error=on_error,
            on_progress=on_progress,
        )
        self.serve(above=max(Priority) + 1)
        self.drain()
        return job
