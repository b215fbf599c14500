# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from napari_sam.acceleration import workers
from napari_sam.acceleration.workers import (
    n_helpers,
    spread,
    work_in_order,
    work_side_by_side,
    work_unsplit,
    work_with_help,
)
from napari_sam.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=[1, 2, 5])
def n_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def go_on() -> None:
    """Let it run."""


@pytest.mark.parametrize("n_pieces", [0, 1, 2, 30])
def test_every_piece_once(n_threads: int, n_pieces: int) -> None:
    counts = [0] * n_pieces

    def work(piece: int) -> None:
        time.sleep(0.001 * (piece % 3))
        counts[piece] += 1

    spread(work, range(n_pieces), go_on)
    assert counts == [1] * n_pieces


def test_as_many_at_once_as_there_are_threads(n_threads: int) -> None:
    at_once = threading.Barrier(n_threads, timeout=10)
    spread(lambda _: at_once.wait(), range(3 * n_threads), go_on)  # else it times out
    assert not at_once.broken


def test_operations_in_a_piece_are_not_split(n_threads: int) -> None:
    seen: list[tuple[int, bool]] = []
    weight = torch.ones(3, requires_grad=True)

    def work(_: int) -> None:
        seen.append((torch.get_num_threads(), (2 * weight).requires_grad))

    with torch.no_grad():
        spread(work, range(8), go_on)
    assert seen == [(1, False)] * 8
    assert torch.get_num_threads() == n_threads


def test_threads_that_begin_later_split_as_before(n_threads: int) -> None:
    spread(go_on_with, range(8), go_on)
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [n_threads]


def go_on_with(_: int) -> None:
    torch.ones(9).sum()


def test_an_error_ends_the_work(n_threads: int) -> None:
    begun: list[int] = []

    def work(piece: int) -> None:
        begun.append(piece)
        if piece == 3:
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  the very error
        spread(work, range(100), go_on)
    assert 3 < len(begun) + 1 < 40


def test_an_error_of_the_last_piece_is_seen(n_threads: int) -> None:
    def work(piece: int) -> None:
        if piece == 9:
            time.sleep(0.01)
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  the very error
        spread(work, range(10), go_on)


def test_check_can_stop_and_nothing_is_left_running(n_threads: int) -> None:
    calls: list[str] = []
    begun: list[int] = []
    ended: list[int] = []

    def work(piece: int) -> None:
        begun.append(piece)
        time.sleep(0.01)
        ended.append(piece)

    def check() -> None:
        calls.append(threading.current_thread().name)
        if len(calls) == 7:
            raise Cancelled

    with pytest.raises(Cancelled):
        spread(work, range(50), check)
    assert sorted(begun) == sorted(ended) == list(range(6))
    assert set(calls) == {threading.current_thread().name}


def test_results_come_in_order(three_threads):
    def work(number):
        time.sleep(0.02 * (3 - number % 3))
        return number, threading.current_thread().name

    with three_threads():
        found = work_side_by_side(work, range(7))
    assert [number for number, _ in found] == list(range(7))
    assert len({name for _, name in found}) == 3


def test_only_the_crew_is_restricted_to_one_core(three_threads):
    with three_threads():
        inside = work_side_by_side(lambda _: torch.get_num_threads(), range(6))
        outside = []
        fresh = threading.Thread(target=lambda: outside.append(torch.get_num_threads()))
        fresh.start()
        fresh.join()
        assert inside == [1] * 6
        assert outside == [3]
        assert torch.get_num_threads() == 3


def test_the_inference_mode_is_the_callers(three_threads):
    def work(_):
        return torch.is_inference_mode_enabled()

    with three_threads():
        assert work_side_by_side(work, range(3)) == [False] * 3
        with torch.inference_mode():
            assert work_side_by_side(work, range(3)) == [True] * 3


def test_errors_come_out(three_threads):
    def work(number):
        if number == 2:
            raise torch.OutOfMemoryError
        return number

    with three_threads(), pytest.raises(torch.OutOfMemoryError):
        work_side_by_side(work, range(5))


@pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="lists threads as Linux does"
)
def test_the_crew_brings_no_threads_of_its_own(three_threads):
    # More threads of OpenMP than cores slow down whatever is split afterwards.
    large = torch.ones(1 << 20)

    def tasks():
        return {int(path.name) for path in Path("/proc/self/task").iterdir()}

    with three_threads():
        large.sum()
        before = tasks()
        spread(lambda _: large.sum(), range(30), go_on)
        work_side_by_side(lambda _: large @ large, range(30))
        begun = tasks() - before
    assert len(begun) == 3
    assert begun == {thread.native_id for thread in workers._pool(3)._threads}


def test_one_piece_of_work_is_not_split_either(three_threads):
    with three_threads():
        assert work_unsplit(torch.get_num_threads) == 1
        assert work_unsplit(threading.current_thread) is not threading.current_thread()
        assert torch.get_num_threads() == 3
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert work_unsplit(threading.current_thread) is threading.current_thread()
    finally:
        torch.set_num_threads(before)


def test_work_may_ask_for_more_work(three_threads):
    def ask():
        return work_side_by_side(lambda i: (i, threading.current_thread()), range(4))

    with three_threads():
        found = work_unsplit(lambda: (threading.current_thread(), ask()))
    assert found[1] == [(i, found[0]) for i in range(4)]


def test_idle_threads_help_with_a_lone_piece_of_work(three_threads):
    together = threading.Barrier(3, timeout=10)

    def work(item):
        if item < 3:
            together.wait()  # only passed if three threads are at work
        return item, torch.get_num_threads(), torch.is_inference_mode_enabled()

    def share():
        assert n_helpers() == 2
        return work_with_help(work, range(20))

    with three_threads(), torch.inference_mode():
        found = work_unsplit(share)
    assert found == [(item, 1, True) for item in range(20)]


def test_nobody_helps_where_all_have_work_of_their_own(three_threads):
    def share(_):
        threads = work_with_help(lambda _: threading.current_thread(), range(4))
        return set(threads) == {threading.current_thread()}, n_helpers()

    def share_within(_):
        return n_helpers()

    with three_threads():
        assert work_side_by_side(share, range(9)) == [(True, 0)] * 9
        assert share(0) == (True, 0)
        # Neither does who helps have help; who asked for it has it again afterwards.
        outer = threading.current_thread
        found = work_unsplit(
            lambda: work_with_help(lambda _: (outer(), n_helpers()), range(30))
        )
        assert {n for _, n in found} <= {0, 2}
        assert work_side_by_side(share_within, range(9)) == [0] * 9


def test_helpers_that_are_busy_are_not_waited_for(three_threads):
    free = threading.Event()
    with three_threads():
        pool = workers._pool(3)
        busy = [pool.submit(free.wait, 10) for _ in range(2)]
        try:
            found = work_unsplit(lambda: work_with_help(str, range(5)))
            assert not free.is_set()
        finally:
            free.set()
        assert all(future.result() for future in busy)
    assert found == list("01234")


@pytest.mark.parametrize("failing", [0, 7])
def test_an_error_of_a_shared_item_comes_out(three_threads, failing):
    begun = []

    def work(item):
        begun.append(item)
        time.sleep(0.002)
        if item == failing:
            raise IndexError(item)

    with three_threads(), pytest.raises(IndexError, match=str(failing)):
        work_unsplit(lambda: work_with_help(work, range(100)))
    assert len(begun) < 20


def test_one_thread_works_in_place():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        names = work_side_by_side(lambda _: threading.current_thread(), range(3))
    finally:
        torch.set_num_threads(before)
    assert set(names) == {threading.current_thread()}


def test_results_come_in_order_while_the_next_are_worked_on(n_threads: int) -> None:
    def work(item: int) -> tuple[int, int, bool]:
        time.sleep(0.002 * (item % 3))
        return item, torch.get_num_threads(), torch.is_inference_mode_enabled()

    with torch.inference_mode():
        found = list(work_in_order(work, iter(range(20))))
    assert found == [(item, 1, True) for item in range(20)]
    assert list(work_in_order(work, [])) == []


def test_whoever_stops_asking_waits_for_what_was_begun(n_threads: int) -> None:
    running: list[int] = []
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        running.append(item)
        time.sleep(0.005)
        running.remove(item)
        return item

    results = work_in_order(work, range(100))
    assert next(results) == 0
    results.close()
    assert not running
    assert len(begun) < 5 * n_threads
    with pytest.raises(RuntimeError, match="item 1"):
        list(work_in_order(_fail_at_one, range(9)))


def _fail_at_one(item: int) -> None:
    if item == 1:
        msg = "item 1"
        raise RuntimeError(msg)
