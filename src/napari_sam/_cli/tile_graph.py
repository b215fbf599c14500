# SPDX-License-Identifier: Apache-2.0
"""Tiles as a dask graph: on threads of this process, or on the user's cluster."""

from __future__ import annotations

import asyncio
import importlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

from dask.base import compute
from dask.delayed import delayed

from napari_sam._cli.tile_task import (
    ModelHost,
    finds_weights,
    segment_on_worker,
    weights_bytes,
)
from napari_sam.errors import Cancelled, ImageError, NapariSamError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from types import TracebackType

    from napari_sam._cli.tile_task import ModelReference, TileTask
    from napari_sam.modeling.sam import Sam

Outcome: TypeAlias = "tuple[tuple[int, int], bytes | Exception]"

# One tile is in the model, one is read ahead, one is painted and packed.
_THREADS = 3
# Tiles of one graph. That of a huge image at once would not be small, and images that
# were read whole stay in memory as long as one of their tiles is in a graph.
_THREAD_GRAPH = 32
_TASKS_PER_WORKER_THREAD = 4
# How often a task is tried again on a cluster after an error that may pass.
_RETRIES = 2
_CONNECT_S = 20


class TileRunner(Protocol):
    """Runs tasks and hands out what comes of them, in the order in which it comes."""

    def run(self, tasks: Iterable[TileTask]) -> Generator[Outcome]:
        """Yield key and bytes of each task, or the error that ended it.

        Tasks are taken as they are needed. Closing the iterator ends the work.
        """
        ...


class ThreadRunner:
    """Tiles on threads of this process, around one model.

    Parameters
    ----------
    model : Sam
        The model.
    """

    def __init__(self, model: Sam) -> None:
        self._model = model

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End."""

    def run(self, tasks: Iterable[TileTask]) -> Generator[Outcome]:
        """Run tasks; see `TileRunner.run`."""
        host = ModelHost(self._model)
        stream = iter(tasks)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="tile") as pool:
            try:
                while batch := list(islice(stream, _THREAD_GRAPH)):
                    yield from _run_graph(batch, host, pool)
            finally:
                host.close()


def _run_graph(
    batch: list[TileTask], host: ModelHost, pool: ThreadPoolExecutor
) -> Generator[Outcome]:
    """Run some tasks as one graph; results come as they are made."""
    made: SimpleQueue[Outcome | None] = SimpleQueue()

    def work(task: TileTask) -> None:
        try:
            made.put((task.key, host.segment(task)))
        except Cancelled:
            return
        except Exception as error:  # noqa: BLE001  handed to who asked for the tile
            made.put((task.key, error))

    # Bound, so that dask does not look for arrays inside of tasks.
    graph = [delayed(partial(work, task), pure=False)() for task in batch]
    with ThreadPoolExecutor(1, thread_name_prefix="graph") as scheduler:
        running = scheduler.submit(
            compute, *graph, scheduler="threads", pool=pool, traverse=False
        )
        running.add_done_callback(lambda _: made.put(None))
        try:
            while (outcome := made.get()) is not None:
                yield outcome
        except BaseException:
            host.cancel.set()
            raise
        running.result()


class ClusterRunner:
    """Tiles on the user's dask.distributed cluster, one model for each worker.

    Parameters
    ----------
    address : str
        Of the scheduler, as ``tcp://host:8786``.
    reference : ModelReference
        The model.

    Raises
    ------
    NapariSamError
        If the package distributed is missing, nobody answers at the address, or the
        workers lack this package.
    """

    def __init__(self, address: str, reference: ModelReference) -> None:
        self._reference = reference
        self._client = _connect(address)
        try:
            self._weights = self._share_weights()
        except BaseException:
            self._client.close()
            raise

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go of the cluster, which goes on for others."""
        self._client.close()

    def run(self, tasks: Iterable[TileTask]) -> Generator[Outcome]:
        """Run tasks; see `TileRunner.run`.

        A task whose worker dies is begun again on another one.
        """
        stream = iter(tasks)
        running = _distributed().as_completed(loop=self._client.loop)
        keys: dict[Any, tuple[int, int]] = {}
        try:
            self._fill(running, keys, stream)
            for future in running:
                key = keys.pop(future)
                yield key, self._outcome(future)
                future.release()
                self._fill(running, keys, stream)
        finally:
            self._client.cancel(list(keys))

    def _fill(
        self, running: Any, keys: dict[Any, tuple[int, int]], stream: Iterator[TileTask]
    ) -> None:
        """Hand out tasks until all workers have some to go on with."""
        n_threads = sum(self._client.nthreads().values())
        wanted = _TASKS_PER_WORKER_THREAD * max(n_threads, 1) - len(keys)
        for task in islice(stream, max(wanted, 0)):
            future = self._client.submit(
                segment_on_worker,
                task,
                self._reference,
                self._weights,
                pure=False,
                retries=_RETRIES,
            )
            keys[future] = task.key
            running.add(future)

    def _outcome(self, future: Any) -> bytes | Exception:
        library = _distributed()
        try:
            made: bytes = future.result()
        except NapariSamError as error:
            return type(error)(f"On a machine of the cluster: {error}")
        except library.KilledWorker as error:
            msg = f"Workers of the cluster died again and again over one tile: {error}"
            return ImageError(msg)
        except library.client.FutureCancelledError as error:
            msg = "The scheduler of the cluster is gone or gave up the work."
            raise NapariSamError(msg) from error
        return made

    def _share_weights(self) -> Any:
        """Send the weights to all workers if one of them does not find them."""
        found = self._client.run(finds_weights, self._reference, on_error="return")
        for worker, answer in found.items():
            if isinstance(answer, Exception):
                msg = (
                    f"The worker {worker} cannot do this work ({answer!r}). Install "
                    "the same version of napari-sam-live on all machines."
                )
                raise NapariSamError(msg) from answer
        if all(found.values()):
            return None
        # On every worker: what only one holds is lost when it dies.
        return self._client.scatter(weights_bytes(self._reference), broadcast=True)


def _distributed() -> Any:
    """Return the package of clusters.

    Raises
    ------
    NapariSamError
        If it is not installed.
    """
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        msg = (
            "--scheduler needs the package distributed, which is not installed: "
            "pip install 'napari-sam-live[cluster]'"
        )
        raise NapariSamError(msg) from error


def _connect(address: str) -> Any:
    """Return a client of a scheduler that has workers."""
    library = _distributed()
    try:
        # A client that finds nobody would leave its thread behind.
        asyncio.run(_knock(address))
        client = library.Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        msg = (
            f"No dask scheduler answers at {address} ({error}). Start one with 'dask "
            "scheduler', and its workers with 'dask worker ADDRESS'."
        )
        raise NapariSamError(msg) from error
    if not client.scheduler_info()["workers"]:
        client.close()
        msg = (
            f"The scheduler at {address} has no workers. Start some with 'dask worker "
            f"{address}'."
        )
        raise NapariSamError(msg)
    return client


async def _knock(address: str) -> None:
    """Raise OSError if nobody answers at an address."""
    comm = await _distributed().comm.connect(address, timeout=_CONNECT_S)
    await comm.close()
