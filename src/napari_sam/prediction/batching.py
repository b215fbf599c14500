# SPDX-License-Identifier: Apache-2.0
"""Working through many prompts in batches that fit the device's memory."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeVar

import torch

from napari_sam.acceleration.workers import work_in_order

Result = TypeVar("Result")


def in_batches(
    work: Callable[[int, int], Result],
    n_items: int,
    batch_size: int,
    *,
    n_at_once: int = 1,
) -> Iterator[tuple[int, Result]]:
    """Work on ranges of items; when memory runs out, halve the batch and go on.

    Parameters
    ----------
    work : callable
        Called with ``(start, stop)``.
    n_items : int
        Number of items in all.
    batch_size : int
        Items at once to begin with; it is not raised again after it was halved.
    n_at_once : int
        Batches that may be worked on at the same time, each by a thread that does not
        split its operations; they share `batch_size`.

    Yields
    ------
    stop : int
        Number of items done.
    result
        What `work` returned for the range that ends there.

    Raises
    ------
    torch.OutOfMemoryError, RuntimeError
        If memory does not suffice for a single item.
    """
    start = 0
    if n_at_once > 1:
        batch_size = max(batch_size // n_at_once, 1)
        try:
            for start, result in _side_by_side(work, n_items, batch_size):
                yield start, result
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # What is left, if anything, has to do with less memory: one at a time.
    while start < n_items:
        stop = min(start + batch_size, n_items)
        try:
            result = work(start, stop)
        except RuntimeError as error:
            if stop - start == 1 or not is_out_of_memory(error):
                raise
        else:
            yield stop, result
            start = stop
            continue
        # Only here, past the error, are the failed batch's own tensors gone.
        batch_size = (stop - start) // 2
        _release_unused_memory()


def _side_by_side(
    work: Callable[[int, int], Result], n_items: int, batch_size: int
) -> Iterator[tuple[int, Result]]:
    """Yield the ends and results of ranges that are worked on at the same time."""
    stops = [min(n + batch_size, n_items) for n in range(0, n_items, batch_size)]
    ranges = zip([0, *stops], stops, strict=False)
    with closing(work_in_order(lambda part: work(*part), ranges)) as results:
        yield from zip(stops, results, strict=True)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that a device has no memory left.

    CUDA has a class for it; Apple's MPS and the CPU raise plain RuntimeErrors.
    """
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    phrases = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(phrase in text for phrase in phrases)


def _release_unused_memory() -> None:
    """Give cached blocks back, so that a smaller batch finds connected memory."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
