# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_sam.errors import OutputError
from napari_sam.io.embedding_store import EmbeddingStore
from napari_sam.prediction import embedding_library
from napari_sam.prediction.embedding_library import EmbeddingLibrary, InMemory
from napari_sam.structures.embedding import ImageEmbedding

NBYTES = 4 * 16


def made_of(number: int, model_digest: str = "d") -> ImageEmbedding:
    values = np.full((1, 1, 4, 4), number, np.float32)
    digest = f"{number:064x}"
    return ImageEmbedding(values, (), (4, 4), (4, 4), "m", digest, model_digest)


class Shelf:
    """A store in memory that can be slow and can fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.kept: dict[str, ImageEmbedding] = {}
        self.is_open = threading.Event()
        self.is_open.set()
        self.threads: set[threading.Thread] = set()
        self._error = error

    def get(self, digest: str) -> ImageEmbedding | None:
        return self.kept.get(digest)

    def put(self, embedding: ImageEmbedding) -> None:
        self.threads.add(threading.current_thread())
        assert self.is_open.wait(10)
        if self._error is not None:
            raise self._error
        self.kept[embedding.digest] = embedding


def test_memory_alone():
    library = EmbeddingLibrary(max_bytes=2 * NBYTES)
    for number in range(3):
        library.put(made_of(number))
    assert library.get(made_of(0).digest) is None
    assert library.get(made_of(2).digest) == made_of(2)
    assert library.in_memory == InMemory(2, 2 * NBYTES)
    library.clear_memory()
    assert library.in_memory == InMemory(0, 0)


def test_what_memory_forgot_comes_from_the_store():
    shelf = Shelf()
    library = EmbeddingLibrary(shelf, max_bytes=NBYTES)
    for number in range(3):
        library.put(made_of(number))
    assert library.flush()
    assert library.get(made_of(0).digest) is shelf.kept[made_of(0).digest]
    shelf.kept.clear()
    assert library.get(made_of(0).digest) is not None  # in memory again


def test_another_session_finds_it_on_disk(tmp_path):
    library = EmbeddingLibrary(EmbeddingStore(tmp_path))
    library.put(made_of(7))
    assert library.flush()
    found = EmbeddingLibrary(EmbeddingStore(tmp_path)).get(made_of(7).digest)
    np.testing.assert_array_equal(found.features, made_of(7).features)


def test_models_without_a_digest_are_not_mixed_up():
    shelf = Shelf()
    library = EmbeddingLibrary(shelf)
    library.put(made_of(1, model_digest=""))
    assert library.flush()
    assert library.get(made_of(1).digest) is None
    assert shelf.kept == {}


def test_nobody_waits_for_a_slow_disk():
    shelf = Shelf()
    shelf.is_open.clear()
    library = EmbeddingLibrary(shelf)
    for number in range(3):
        library.put(made_of(number))
    assert library.get(made_of(2).digest) is not None
    assert not library.flush(timeout=0.05)
    shelf.is_open.set()
    assert library.flush()
    assert len(shelf.kept) == 3
    assert threading.current_thread() not in shelf.threads
    assert len(shelf.threads) == 1


def test_what_waits_for_the_disk_is_bounded(monkeypatch):
    monkeypatch.setattr(embedding_library, "_MAX_QUEUED_BYTES", 3 * NBYTES)
    shelf = Shelf()
    shelf.is_open.clear()
    library = EmbeddingLibrary(shelf)
    for number in range(20):
        library.put(made_of(number))
    shelf.is_open.set()
    assert library.flush()
    assert 3 <= len(shelf.kept) <= 4  # one may be under way already
    assert library.in_memory.n_embeddings == 20
    library.put(made_of(99))
    assert library.flush()
    assert made_of(99).digest in shelf.kept


def test_a_store_that_fails_is_told_once_and_work_goes_on():
    problems: list[Exception] = []
    library = EmbeddingLibrary(Shelf(OutputError("full")), on_problem=problems.append)
    for number in range(3):
        library.put(made_of(number))
        assert library.flush()
    assert [str(problem) for problem in problems] == ["full"]
    assert library.get(made_of(1).digest) is not None
    library.store = Shelf(OutputError("full, too"))
    library.put(made_of(3))
    assert library.flush()
    assert len(problems) == 2


def test_without_anybody_to_tell_it_is_a_warning(monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(
        embedding_library.warnings, "warn", lambda text, **_: told.append(text)
    )
    library = EmbeddingLibrary(Shelf(OutputError("The disk is full.")))
    library.put(made_of(1))
    assert library.flush()
    assert told == ["Embeddings are not kept on disk. The disk is full."]


def test_a_mistake_in_a_store_does_not_end_writing(monkeypatch):
    seen: list[type] = []
    monkeypatch.setattr(
        threading, "excepthook", lambda found: seen.append(found.exc_type)
    )
    library = EmbeddingLibrary(Shelf(ZeroDivisionError()))
    library.put(made_of(1))
    assert library.flush()
    library.store = shelf = Shelf()
    library.put(made_of(2))
    assert library.flush()
    assert made_of(2).digest in shelf.kept
    assert seen == [ZeroDivisionError]


def test_many_threads_at_once():
    shelf = Shelf()
    library = EmbeddingLibrary(shelf, max_bytes=5 * NBYTES)
    wrong: list[int] = []

    def work(seed: int) -> None:
        for step in range(200):
            number = (seed * 7 + step) % 20
            library.put(made_of(number))
            found = library.get(made_of(number).digest)
            if found is not None and found.features[0, 0, 0, 0] != number:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert library.flush()
    assert wrong == []
    assert library.in_memory.n_bytes <= 5 * NBYTES


@pytest.mark.parametrize("store", [None, Shelf()])
def test_what_was_never_kept_is_not_there(store):
    assert EmbeddingLibrary(store).get("0" * 64) is None
