# SPDX-License-Identifier: Apache-2.0
"""Embeddings made before: the recent ones in memory, the others in a store.

One library serves all models and images of a process. It finds an embedding by its
digest, which holds everything that the features depend on. Writing happens in a thread
of its own, which lives only while there is something to write: no click waits for a
disk.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

from napari_sam.errors import NapariSamError
from napari_sam.structures.lru_cache import LruCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam.structures.embedding import ImageEmbedding

DEFAULT_MAX_BYTES = 512 << 20
_MAX_QUEUED_BYTES = 128 << 20


class EmbeddingStore(Protocol):
    """Where embeddings outlive the process; called from any thread."""

    def get(self, digest: str) -> ImageEmbedding | None:
        """Return an embedding, or None if it is not there."""
        ...

    def put(self, embedding: ImageEmbedding) -> None:
        """Keep an embedding; raises NapariSamError if that fails."""
        ...


class InMemory(NamedTuple):
    """How many embeddings are in memory and how many bytes they take."""

    n_embeddings: int
    n_bytes: int


class EmbeddingLibrary:
    """Finds embeddings by digest; safe to use from several threads.

    Embeddings of a model without a digest, one with random weights, are not kept:
    nothing tells them from those of another such model.

    Parameters
    ----------
    store : EmbeddingStore or None
        Where they are kept for longer; None for memory only.
    max_bytes : int
        Most bytes in memory; those used longest ago are forgotten.
    on_problem : callable, optional
        Takes the first error of a store, in the writing thread; a warning by default.
        Work goes on without what could not be written.

    Attributes
    ----------
    store : EmbeddingStore or None
    """

    def __init__(
        self,
        store: EmbeddingStore | None = None,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        on_problem: Callable[[NapariSamError], None] | None = None,
    ) -> None:
        self.store = store
        self._on_problem = on_problem or _warn
        self._memory: LruCache[ImageEmbedding] = LruCache(sys.maxsize, max_bytes)
        self._wake = threading.Condition()
        self._queue: deque[tuple[EmbeddingStore, ImageEmbedding]] = deque()
        self._n_queued_bytes = 0
        self._is_writing = False
        self._has_told: EmbeddingStore | None = None

    @property
    def in_memory(self) -> InMemory:
        """What is in memory."""
        return InMemory(len(self._memory), self._memory.nbytes)

    def get(self, digest: str) -> ImageEmbedding | None:
        """Return an embedding from memory, else from the store, else None.

        Parameters
        ----------
        digest : str
            `ImageEmbedding.digest`.
        """
        embedding = self._memory.get(digest)
        store = self.store
        if embedding is None and store is not None:
            embedding = store.get(digest)
            if embedding is not None:
                self._memory.put(digest, embedding, embedding.nbytes)
        return embedding

    def put(self, embedding: ImageEmbedding) -> None:
        """Keep an embedding; it is written to the store in the background.

        If the store is too slow, it is kept in memory only.
        """
        if not embedding.model_digest:
            return
        self._memory.put(embedding.digest, embedding, embedding.nbytes)
        store = self.store
        if store is None:
            return
        with self._wake:
            if self._n_queued_bytes + embedding.nbytes > _MAX_QUEUED_BYTES:
                return
            self._queue.append((store, embedding))
            self._n_queued_bytes += embedding.nbytes
            if not self._is_writing:
                self._is_writing = True
                # No daemon: what was made shortly before the end is written, too.
                threading.Thread(
                    target=self._write, name="napari-sam-embeddings"
                ).start()

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything is written; returns whether it is."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._is_writing, timeout)

    def clear_memory(self) -> None:
        """Forget what is in memory."""
        self._memory.clear()

    def _write(self) -> None:
        """Write until the queue is empty."""
        while (found := self._next()) is not None:
            store, embedding = found
            try:
                store.put(embedding)
            except NapariSamError as error:
                self._tell(store, error)
            except BaseException:
                # A mistake of ours ends this thread; the next `put` begins another.
                self._stop_writing()
                raise

    def _next(self) -> tuple[EmbeddingStore, ImageEmbedding] | None:
        """Take what is to be written next; None ends the thread."""
        with self._wake:
            if not self._queue:
                self._stop_writing()
                return None
            store, embedding = self._queue.popleft()
            self._n_queued_bytes -= embedding.nbytes
            return store, embedding

    def _stop_writing(self) -> None:
        with self._wake:
            self._is_writing = False
            self._wake.notify_all()

    def _tell(self, store: EmbeddingStore, error: NapariSamError) -> None:
        """Report the first error of a store."""
        if self._has_told is not store:
            self._has_told = store
            self._on_problem(error)


def _warn(error: NapariSamError) -> None:
    warnings.warn(f"Embeddings are not kept on disk. {error}", stacklevel=2)
