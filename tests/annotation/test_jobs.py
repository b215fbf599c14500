# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
import time

import pytest

from napari_sam.annotation.job import JobContext, Priority
from napari_sam.annotation.jobs import InlineRunner, ModelThread
from napari_sam.errors import Cancelled, PhaseError


@pytest.fixture
def thread():
    runner = ModelThread("test-model")
    yield runner
    runner.close()
    assert not runner.is_alive


class Gate:
    """Keeps the model thread busy until opened."""

    def __init__(self, runner: ModelThread) -> None:
        self.entered, self.open = threading.Event(), threading.Event()
        runner.submit(self._wait, priority=Priority.INTERACTIVE)
        assert self.entered.wait(5)

    def _wait(self, context: JobContext) -> None:
        self.entered.set()
        assert self.open.wait(10)


def test_work_runs_in_one_other_thread_and_is_delivered_here(thread):
    seen = []
    for _ in range(3):
        thread.submit(
            lambda _: threading.current_thread().name,
            priority=Priority.GRID,
            on_result=lambda name: seen.append((name, threading.current_thread())),
        )
    thread.wait(5)
    assert seen == [("test-model", threading.main_thread())] * 3


def test_nothing_is_delivered_before_drain(thread):
    seen = []
    thread.submit(lambda _: 1, priority=Priority.GRID, on_result=seen.append)
    end = time.monotonic() + 5
    while not thread._outbox and time.monotonic() < end:
        time.sleep(0.005)
    assert seen == []
    assert thread.is_busy
    assert thread.drain() == 1
    assert seen == [1]
    assert not thread.is_busy


def test_urgent_work_goes_first(thread):
    gate, order = Gate(thread), []
    for name, priority in [
        ("prefetch", Priority.PREFETCH),
        ("grid", Priority.GRID),
        ("click", Priority.INTERACTIVE),
        ("second click", Priority.INTERACTIVE),
    ]:
        thread.submit(lambda _, n=name: order.append(n), priority=priority)
    gate.open.set()
    thread.wait(5)
    assert order == ["click", "second click", "grid", "prefetch"]


def test_grid_gives_way_to_a_click_between_batches(thread):
    order, started = [], threading.Event()

    def grid(context: JobContext) -> str:
        for step in range(3):
            order.append(f"batch {step}")
            started.set()
            assert clicked.wait(5)
            context.progress(step + 1, 3)
        return "grid"

    clicked = threading.Event()
    thread.submit(grid, priority=Priority.GRID, on_result=order.append)
    assert started.wait(5)
    thread.submit(
        lambda _: order.append("click"),
        priority=Priority.INTERACTIVE,
    )
    thread.submit(lambda _: order.append("later grid"), priority=Priority.GRID)
    clicked.set()
    thread.wait(5)
    assert order == ["batch 0", "click", "batch 1", "batch 2", "later grid", "grid"]


def test_newer_job_of_a_lane_replaces_waiting_and_running_ones(thread):
    seen, ran = [], []
    entered, go_on = threading.Event(), threading.Event()

    def slow(_: JobContext) -> str:
        entered.set()
        assert go_on.wait(5)
        return "first"

    common = {"priority": Priority.INTERACTIVE, "lane": "a", "on_result": seen.append}
    thread.submit(slow, **common)
    assert entered.wait(5)
    thread.submit(lambda _: ran.append("second"), **common)
    thread.submit(lambda _: "third", **common)
    thread.submit(lambda _: "other lane", **{**common, "lane": "b"})
    go_on.set()
    thread.wait(5)
    assert seen == ["third", "other lane"]
    assert ran == []


def test_forget_drops_the_answer_but_not_the_lane(thread):
    seen = []
    gate = Gate(thread)
    thread.submit(lambda _: 1, priority=Priority.GRID, lane="a", on_result=seen.append)
    thread.forget("a")
    thread.submit(lambda _: 2, priority=Priority.GRID, lane="a", on_result=seen.append)
    gate.open.set()
    thread.wait(5)
    assert seen == [2]


def test_stale_error_is_dropped_as_well(thread):
    errors = []

    def fail(_: JobContext) -> None:
        msg = "old"
        raise ValueError(msg)

    thread.submit(fail, priority=Priority.GRID, lane="a", on_error=errors.append)
    end = time.monotonic() + 5
    while not thread._outbox and time.monotonic() < end:
        time.sleep(0.005)
    thread.forget("a")
    thread.drain()
    assert errors == []


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("out of memory")])
def test_errors_arrive_and_the_thread_lives_on(thread, error):
    seen = []

    def fail(_: JobContext) -> None:
        raise error

    thread.submit(fail, priority=Priority.GRID, on_error=seen.append)
    thread.submit(lambda _: "next", priority=Priority.GRID, on_result=seen.append)
    thread.wait(5)
    assert seen == [error, "next"]


def test_progress_is_thinned_to_the_newest_value(thread):
    seen = []

    def work(context: JobContext) -> None:
        for step in range(1000):
            context.progress(step + 1, 1000)

    thread.submit(work, priority=Priority.GRID, on_progress=lambda *p: seen.append(p))
    end = time.monotonic() + 5
    while thread._running or thread._queue:
        assert time.monotonic() < end
        time.sleep(0.005)
    thread.drain()
    assert seen == [(1000, 1000)]


def test_a_raising_callback_does_not_lose_the_answers_after_it(thread):
    seen = []

    def bad(_: object) -> None:
        msg = "bad callback"
        raise KeyError(msg)

    thread.submit(lambda _: 1, priority=Priority.GRID, on_result=bad)
    thread.submit(lambda _: 2, priority=Priority.GRID, on_result=seen.append)
    with pytest.raises(KeyError, match="bad callback"):
        thread.wait(5)
    thread.wait(5)
    assert seen == [2]


def test_cancel_reaches_running_work(thread):
    errors, entered = [], threading.Event()

    def work(context: JobContext) -> None:
        entered.set()
        assert context.cancel.wait(5)
        context.check()

    job = thread.submit(work, priority=Priority.GRID, on_error=errors.append)
    assert entered.wait(5)
    job.cancel()
    thread.wait(5)
    assert [type(error) for error in errors] == [Cancelled]


def test_close_ends_running_work_and_delivers_nothing(thread):
    seen, entered = [], threading.Event()

    def work(context: JobContext) -> None:
        entered.set()
        assert context.cancel.wait(5)

    thread.submit(work, priority=Priority.GRID, on_result=seen.append)
    thread.submit(lambda _: 1, priority=Priority.GRID, on_result=seen.append)
    assert entered.wait(5)
    thread.close()
    assert thread.drain() == 0
    assert seen == []
    with pytest.raises(PhaseError, match="closed"):
        thread.submit(lambda _: 1, priority=Priority.GRID)


def test_wait_gives_up(thread):
    gate = Gate(thread)
    with pytest.raises(PhaseError, match="still busy"):
        thread.wait(0.05)
    gate.open.set()
    thread.wait(5)


def test_inline_runner_works_and_delivers_in_submit():
    runner, seen = InlineRunner(), []
    runner.submit(
        lambda _: threading.current_thread(),
        priority=Priority.GRID,
        on_result=seen.append,
    )
    assert seen == [threading.current_thread()]
    assert not runner.is_busy


def test_looking_at_the_cancel_flag_gives_way_too(thread):
    order, started, clicked = [], threading.Event(), threading.Event()

    def encoder(context: JobContext) -> None:
        for block in range(2):
            order.append(f"block {block}")
            started.set()
            assert clicked.wait(5)
            assert not context.cancel.is_set()

    thread.submit(encoder, priority=Priority.GRID)
    assert started.wait(5)
    thread.submit(lambda _: order.append("click"), priority=Priority.INTERACTIVE)
    clicked.set()
    thread.wait(5)
    assert order == ["block 0", "click", "block 1"]


def test_on_ready_is_called_from_the_thread_whenever_something_waits(thread):
    calls = []
    thread.on_ready = lambda: calls.append(
        (threading.current_thread().name, len(thread._outbox))
    )

    def work(context: JobContext) -> str:
        context.progress(1, 2)
        return "done"

    seen = []
    thread.submit(
        work,
        priority=Priority.GRID,
        on_result=seen.append,
        on_progress=lambda *p: seen.append(p),
    )
    end = time.monotonic() + 5
    while len(calls) < 2 and time.monotonic() < end:
        time.sleep(0.005)
    assert calls == [("test-model", 1), ("test-model", 2)]
    thread.drain()
    assert seen == [(1, 2), "done"]


def test_on_ready_may_drain_in_another_thread_while_the_call_lasts(thread):
    """The call is made outside of the lock that draining needs."""
    seen, drained = [], threading.Event()

    def drain() -> None:
        thread.drain()
        thread.submit(lambda _: 2, priority=Priority.GRID)
        drained.set()

    def on_ready() -> None:
        thread.on_ready = None
        helper = threading.Thread(target=drain)
        helper.start()
        helper.join(5)

    thread.on_ready = on_ready
    thread.submit(lambda _: 1, priority=Priority.GRID, on_result=seen.append)
    assert drained.wait(6)
    thread.wait(5)
    assert seen == [1]


def test_a_receiver_that_was_destroyed_does_not_end_the_thread(thread):
    def gone() -> None:
        msg = "wrapped C/C++ object of type Waker has been deleted"
        raise RuntimeError(msg)

    seen = []
    thread.on_ready = gone
    for i in range(2):
        thread.submit(lambda _, i=i: i, priority=Priority.GRID, on_result=seen.append)
    thread.wait(5)
    assert seen == [0, 1]


def test_a_prefetch_gives_way_to_a_click_and_goes_on(thread):
    """Lesson 18: what is made ahead is bounded, in main memory, and gives way.

    Prefetching looks at its flag between blocks; a click waits for one at most.
    """
    order, started, asked = [], threading.Event(), threading.Event()

    def prefetch(context: JobContext) -> str:
        for block in range(3):
            order.append(f"block {block}")
            started.set()
            assert asked.wait(5)
            assert not context.cancel.is_set()
        return "prefetched"

    thread.submit(prefetch, priority=Priority.PREFETCH, on_result=order.append)
    assert started.wait(5)
    for name, priority in [("grid", Priority.GRID), ("click", Priority.INTERACTIVE)]:
        thread.submit(lambda _, n=name: order.append(n), priority=priority)
    thread.submit(lambda _: order.append("next"), priority=Priority.PREFETCH)
    asked.set()
    thread.wait(5)
    assert order == [
        *("block 0", "click", "grid", "block 1", "block 2", "next", "prefetched")
    ]


def test_a_click_inside_a_grid_inside_a_prefetch_is_still_first(thread):
    order, entered, asked = [], threading.Event(), threading.Event()

    def grid(context: JobContext) -> None:
        order.append("grid 0")
        thread.submit(lambda _: order.append("click"), priority=Priority.INTERACTIVE)
        context.progress(1, 2)
        order.append("grid 1")

    def prefetch(context: JobContext) -> None:
        entered.set()
        assert asked.wait(5)
        assert not context.cancel.is_set()
        order.append("prefetch")

    thread.submit(prefetch, priority=Priority.PREFETCH)
    assert entered.wait(5)
    thread.submit(grid, priority=Priority.GRID)
    asked.set()
    thread.wait(5)
    assert order == ["grid 0", "click", "grid 1", "prefetch"]
