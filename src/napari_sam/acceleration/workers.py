# SPDX-License-Identifier: Apache-2.0
"""Pieces of work side by side, each within one thread.

PyTorch splits every single operation between its threads and waits for the last one.
With thousands of small operations this is a wait each, and a long one wherever another
program holds a core. Here whole pieces of work are handed out instead, to whoever is
free, and their operations are not split: torch releases Python's lock while it
computes.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

Piece = TypeVar("Piece")
Result = TypeVar("Result")


class _Crew(threading.local):
    """Who helps this thread: so many threads of a pool."""

    pool: ThreadPoolExecutor | None = None
    helpers: int = 0


_crew = _Crew()


def spread(
    work: Callable[[Piece], None],
    pieces: Iterable[Piece],
    check: Callable[[], None],
) -> None:
    """Call ``work`` with every piece, on as many threads as PyTorch may use.

    Parameters
    ----------
    work : callable
        Does one piece, which no other piece waits for. It runs without gradients.
    pieces : iterable
        In the order in which they are begun.
    check : callable
        Called in this thread, about once for each piece; whatever it raises ends the
        work, once the pieces that were begun are done.
    """
    n_threads = torch.get_num_threads()
    if n_threads == 1:
        for piece in pieces:
            check()
            work(piece)
        return
    pool = _pool(n_threads)
    running: set[Future[None]] = set()
    try:
        for piece in pieces:
            check()
            running.add(pool.submit(_without_gradients, work, piece))
            if len(running) >= n_threads:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
    finally:
        # Nobody may still write to memory that the caller uses for something else.
        done, _ = wait(running)
    for future in done:
        future.result()


def work_side_by_side(
    work: Callable[[Piece], Result], items: Sequence[Piece]
) -> list[Result]:
    """Call ``work`` with every item, on as many threads as PyTorch may use.

    Parameters
    ----------
    work : callable
        Its operations are not split. What it asks for itself is done in its thread.
    items : sequence
        What it is called with, one by one.

    Returns
    -------
    list
        Results in the order of the items; of several errors the first one is raised.
    """
    n_threads = torch.get_num_threads()
    if n_threads == 1 or not items:
        return [work(item) for item in items]
    return list(_pool(n_threads).map(_in_this_mode(work), items))


def work_in_order(
    work: Callable[[Piece], Result], items: Iterable[Piece]
) -> Generator[Result, None, None]:
    """Call ``work`` with every item as `work_side_by_side`, and yield what is done.

    While results are looked at, the next items are worked on. Whoever stops asking has
    to wait for the items that were begun; the rest is given up.

    Parameters
    ----------
    work : callable
        As for `work_side_by_side`.
    items : iterable
        What it is called with, one by one.

    Yields
    ------
    Results in the order of the items; an error of one is raised in its turn.
    """
    n_threads = torch.get_num_threads()
    if n_threads == 1:
        yield from map(work, items)
        return
    pool, work_alone, waiting = _pool(n_threads), _in_this_mode(work), iter(items)
    # As many again, so that nobody has to wait for the reader of results.
    begun = deque(
        pool.submit(work_alone, item) for item in islice(waiting, 2 * n_threads)
    )
    try:
        while begun:
            result = begun.popleft().result()
            begun.extend(pool.submit(work_alone, item) for item in islice(waiting, 1))
            yield result
    finally:
        for future in begun:
            future.cancel()
        wait(begun)


def work_unsplit(work: Callable[[], Result]) -> Result:
    """Call ``work`` on a thread that does not split its operations.

    One prompt is hundreds of operations of some ten microseconds. On several threads
    they take nearly as long as on one, and ten times as long where another program
    holds a core, because each waits for the slowest thread.

    Parameters
    ----------
    work : callable
        What it asks to be done side by side is done in its thread; with what it wants
        to share (`work_with_help`) the others help.

    Returns
    -------
    What `work` returned; an error of it is raised here.
    """
    n_threads = torch.get_num_threads()
    if n_threads == 1:
        return work()
    pool = _pool(n_threads)

    def work_with_helpers(_: None) -> Result:
        _crew.helpers, _crew.pool = n_threads - 1, pool
        try:
            return work()
        finally:
            _crew.helpers, _crew.pool = 0, None

    return pool.submit(_in_this_mode(work_with_helpers), None).result()


def work_with_help(
    work: Callable[[Piece], Result], items: Sequence[Piece]
) -> list[Result]:
    """Call ``work`` with every item in this thread, while idle threads do some of them.

    For the larger pieces of what `work_unsplit` does; anywhere else the other threads
    have work of their own, and nobody helps. Nobody is waited for who has not begun.

    Parameters
    ----------
    work : callable
        As for `work_side_by_side`.
    items : sequence
        What it is called with, one by one.

    Returns
    -------
    list
        Results in the order of the items. After an error no other item is begun.
    """
    pool, n_helpers = _crew.pool, min(_crew.helpers, len(items) - 1)
    if pool is None or n_helpers < 1:
        return [work(item) for item in items]
    results: dict[int, Result] = {}
    waiting = deque(enumerate(items))
    work_alone = _in_this_mode(work)

    def take() -> None:
        while True:
            try:
                number, item = waiting.popleft()
            except IndexError:
                return
            try:
                results[number] = work_alone(item)
            except BaseException:
                waiting.clear()
                raise

    helpers = [pool.submit(take) for _ in range(n_helpers)]
    try:
        take()
    finally:
        # Nobody may still write to memory that the caller uses for something else.
        begun = [helper for helper in helpers if not helper.cancel()]
        wait(begun)
    for helper in begun:
        helper.result()
    return [results[number] for number in range(len(items))]


def n_helpers() -> int:
    """Return how many threads help this one: see `work_with_help`."""
    return _crew.helpers


def _in_this_mode(work: Callable[[Piece], Result]) -> Callable[[Piece], Result]:
    """Let work be done in the present inference mode: each thread has its own."""
    is_inference = torch.is_inference_mode_enabled()

    def work_alone(item: Piece) -> Result:
        with torch.inference_mode(is_inference):
            return work(item)

    return work_alone


def _without_gradients(work: Callable[[Piece], None], piece: Piece) -> None:
    with torch.no_grad():
        work(piece)


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    """Return threads that do not split their operations."""
    pool = ThreadPoolExecutor(n_threads)
    have_started = threading.Barrier(n_threads + 1)

    def start() -> None:
        # The question sets the thread up as all are. An operation would, too; a split
        # one would begin OpenMP threads of this thread's own, for good. Where there
        # are more of those than cores, GNU's OpenMP no longer waits busily: every
        # split operation of the whole process then takes several times as long.
        torch.get_num_threads()
        # Holds for the thread that says it, and for threads that begin later on.
        torch.set_num_threads(1)
        have_started.wait()

    for _ in range(n_threads):
        pool.submit(start)
    have_started.wait()
    torch.set_num_threads(n_threads)
    return pool
