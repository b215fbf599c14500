# SPDX-License-Identifier: Apache-2.0
"""Work on one plane or on all: progress over planes, cancelling, what is kept."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, TypeVar

from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import Cancelled

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from napari_sam.annotation.job import JobContext

T = TypeVar("T")


class Scope(StrEnum):
    """Which planes are segmented; a region limits each of them."""

    PLANE = "plane"
    """The plane shown."""
    ALL = "all"
    """Every plane of the stack or series, in the orientation shown."""


def planes_in(
    scope: Scope, shape: tuple[int, ...], shown: PlaneKey
) -> tuple[PlaneKey, ...]:
    """List the planes of a scope.

    Parameters
    ----------
    scope : Scope
        How much.
    shape : tuple of int
        Shape of the image, without a colour axis.
    shown : PlaneKey
        The plane that the user looks at.

    Returns
    -------
    tuple of PlaneKey
        In array order; `shown` alone unless the scope is `Scope.ALL`.
    """
    if scope is not Scope.ALL:
        return (shown,)
    fixed = [range(shape[a]) for a in range(len(shape)) if a not in shown.axes]
    return tuple(PlaneKey(shown.axes, index) for index in itertools.product(*fixed))


class PlaneContext:
    """What work on one of several planes may use; its progress is that of all.

    Parameters
    ----------
    context : JobContext
        Of the whole work.
    number, n_planes : int
        Which plane, from 0, and of how many.
    """

    def __init__(self, context: JobContext, number: int, n_planes: int) -> None:
        self._context = context
        self._number = number
        self._n_planes = n_planes

    @property
    def cancel(self) -> threading.Event:
        """Says whether the work should stop; looking at it gives way to urgent jobs."""
        return self._context.cancel

    def check(self) -> None:
        """Raise Cancelled if the work should stop."""
        self._context.check()

    def progress(self, done: int, total: int) -> None:
        """Report progress on this plane; planes count alike."""
        self._context.progress(self._number * total + done, self._n_planes * total)


@dataclass(frozen=True, slots=True)
class PlanesResult(Generic[T]):
    """Results plane by plane.

    Attributes
    ----------
    planes : tuple
        Results in the order of the planes; the last may be of an interrupted plane.
    n_asked : int
        Planes that were to be worked on.
    is_partial : bool
        Whether the work was cancelled or failed on the way.
    error : Exception or None
        Why it failed; what was done before is there nevertheless.
    """

    planes: tuple[T, ...]
    n_asked: int
    is_partial: bool = False
    error: Exception | None = None


def over_planes(
    planes: Sequence[PlaneKey],
    work: Callable[[PlaneKey, PlaneContext], T],
    context: JobContext,
) -> PlanesResult[T]:
    """Work plane by plane; cancelling or failing keeps what was done.

    Parameters
    ----------
    planes : sequence of PlaneKey
        Where to work.
    work : callable
        Does one plane. When cancelled it returns what it has, or raises Cancelled.
    context : JobContext
        Of the job that this is.

    Raises
    ------
    Exception
        What `work` raises on the first plane: there is nothing to keep then.
    """
    done: list[T] = []
    for number, plane in enumerate(planes):
        if number and context.cancel.is_set():
            break
        try:
            done.append(work(plane, PlaneContext(context, number, len(planes))))
        except Cancelled:
            if not done:
                raise
            break
        except Exception as error:
            if not done:
                raise
            return PlanesResult(tuple(done), len(planes), is_partial=True, error=error)
    is_partial = len(done) < len(planes) or context.cancel.is_set()
    return PlanesResult(tuple(done), len(planes), is_partial)
