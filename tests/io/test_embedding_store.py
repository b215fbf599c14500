# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from napari_sam.errors import OutputError
from napari_sam.io import embedding_store
from napari_sam.io.embedding_store import EmbeddingStore, Usage, embedding_folder
from napari_sam.structures.embedding import ImageEmbedding

WORKER = Path(__file__).with_name("embedding_worker.py")
SIZE = 64 * 16 * 16 * 4  # bytes of the features below; a file is a little larger
FILE = SIZE + 1000


def made_of(number: int, model_digest: str = "d") -> ImageEmbedding:
    values = np.random.default_rng(number).normal(size=(1, 64, 16, 16))
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return ImageEmbedding(
        values.astype(np.float32), (), (16, 16), (16, 16), "m", digest, model_digest
    )


def has(store: EmbeddingStore, number: int) -> bool:
    return (store.folder / f"{made_of(number).digest}.safetensors").exists()


def names(store: EmbeddingStore) -> list[str]:
    return [path.name for path in store.folder.iterdir()]


def used_at(store: EmbeddingStore, number: int, seconds: float) -> None:
    os.utime(store.folder / f"{made_of(number).digest}.safetensors", (seconds, seconds))


@pytest.fixture
def store(tmp_path) -> EmbeddingStore:
    return EmbeddingStore(tmp_path / "embeddings")


def test_what_was_kept_is_found_by_another_store(store):
    store.put(made_of(1))
    found = EmbeddingStore(store.folder).get(made_of(1).digest)
    np.testing.assert_array_equal(found.features, made_of(1).features)
    assert store.get(made_of(2).digest) is None
    assert store.usage().n_embeddings == 1
    assert SIZE < store.usage().n_bytes < FILE


def test_files_are_named_by_digest_and_nothing_else_is_left(store):
    store.put(made_of(1))
    store.put(made_of(1))
    assert names(store) == [f"{made_of(1).digest}.safetensors"]


def test_models_without_a_digest_are_not_kept(store):
    store.put(made_of(1, model_digest=""))
    assert store.usage() == Usage(0, 0)


def test_half_precision_is_not_taken_for_the_whole(store):
    half = EmbeddingStore(store.folder, is_half=True)
    half.put(made_of(1))
    assert half.usage().n_bytes < 0.55 * SIZE
    assert store.get(made_of(1).digest) is None
    rounded = half.get(made_of(1).digest)
    np.testing.assert_allclose(rounded.features, made_of(1).features, rtol=2**-11)

    store.put(made_of(1))
    exact = half.get(made_of(1).digest)
    np.testing.assert_array_equal(exact.features, made_of(1).features)
    half.put(made_of(1))  # what is better stays
    assert store.get(made_of(1).digest) is not None


@pytest.mark.parametrize("damage", ["truncated", "bit", "empty", "text", "other"])
def test_a_damaged_file_counts_as_absent_and_is_removed(store, damage):
    store.put(made_of(1))
    path = store.folder / f"{made_of(1).digest}.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "other":  # a sound file under the wrong name
        store.put(made_of(2))
        (store.folder / f"{made_of(2).digest}.safetensors").replace(path)
    else:
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 16
        damaged = {
            "truncated": content[:-100],
            "bit": flipped,
            "empty": b"",
            "text": b"not at all",
        }
        path.write_bytes(damaged[damage])
    assert store.get(made_of(1).digest) is None
    assert not path.exists()
    store.put(made_of(1))
    assert store.get(made_of(1).digest) is not None


def test_those_used_longest_ago_make_room(tmp_path):
    store = EmbeddingStore(tmp_path, max_bytes=5 * FILE)
    for number in range(5):
        store.put(made_of(number))
        used_at(store, number, 1000.0 + number)
    assert store.get(made_of(0).digest) is not None  # used just now
    store.put(made_of(5))
    left = [number for number in range(6) if has(store, number)]
    assert left == [0, 3, 4, 5]  # 90 % of the limit, the new one included
    assert store.usage().n_bytes <= 5 * FILE


def test_the_limit_holds_however_many_are_written(tmp_path):
    store = EmbeddingStore(tmp_path, max_bytes=4 * FILE)
    for number in range(30):
        store.put(made_of(number))
        assert store.usage().n_bytes <= 4 * FILE
    assert has(store, 29)


def test_a_lower_limit_holds_from_the_next_writing_on(tmp_path):
    EmbeddingStore(tmp_path).put(made_of(0))
    large = EmbeddingStore(tmp_path)
    for number in range(1, 6):
        large.put(made_of(number))
    small = EmbeddingStore(tmp_path, max_bytes=2 * FILE)
    small.put(made_of(6))
    assert small.usage().n_bytes <= 2 * FILE
    assert has(small, 6)


def test_trimming_makes_room_without_writing(tmp_path):
    store = EmbeddingStore(tmp_path)
    for number in range(5):
        store.put(made_of(number))
        used_at(store, number, 1000.0 + number)
    store.max_bytes = 3 * FILE
    store.trim()
    assert [number for number in range(5) if has(store, number)] == [3, 4]


def test_what_is_larger_than_the_limit_drives_nothing_out(tmp_path):
    EmbeddingStore(tmp_path).put(made_of(0))
    store = EmbeddingStore(tmp_path, max_bytes=SIZE // 2)
    with pytest.raises(OutputError, match="no room"):
        store.put(made_of(1))
    assert has(store, 0)


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine", "utf-8")
    (tmp_path / "weights.safetensors").write_bytes(bytes(10 * FILE))
    (tmp_path / ("0" * 64)).mkdir()
    store = EmbeddingStore(tmp_path, max_bytes=2 * FILE)
    for number in range(4):
        store.put(made_of(number))
    assert store.clear().n_embeddings >= 1
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != ".lock") == [
        "0" * 64,
        "thesis.txt",
        "weights.safetensors",
    ]


def test_clear_says_what_it_removed(store):
    assert store.clear() == Usage(0, 0)
    for number in range(3):
        store.put(made_of(number))
    before = store.usage()
    assert before.n_embeddings == 3
    assert store.clear() == before
    assert store.usage() == Usage(0, 0)
    store.put(made_of(1))
    assert has(store, 1)


def test_files_that_go_meanwhile_do_no_harm(store, monkeypatch):
    for number in range(3):
        store.put(made_of(number))
        used_at(store, number, number)
    files = store._files()
    store.clear()  # another process
    monkeypatch.setattr(store, "_files", lambda: files)
    store.max_bytes, store._room = 2 * FILE, 0
    store.put(made_of(3))
    assert has(store, 3)


def test_only_one_process_makes_room(tmp_path):
    from napari_sam.io.file_lock import try_lock

    store = EmbeddingStore(tmp_path, max_bytes=2 * FILE)
    store.put(made_of(0))
    store.put(made_of(1))
    with (tmp_path / ".lock").open("ab") as lock:
        assert try_lock(lock)
        store.put(made_of(2))
        assert store.usage().n_embeddings == 3  # the other one is at it
    store.put(made_of(3))
    assert store.usage().n_bytes <= 2 * FILE


def test_the_disk_is_not_filled_to_the_brim(tmp_path, monkeypatch):
    Disk = namedtuple("Disk", "free")
    free = embedding_store.KEPT_FREE_BYTES + int(2.5 * FILE)
    monkeypatch.setattr(
        embedding_store.shutil, "disk_usage", lambda _: Disk(free - used())
    )

    def used() -> int:
        return sum(path.stat().st_size for path in tmp_path.iterdir())

    store = EmbeddingStore(tmp_path)
    for number in range(6):
        store.put(made_of(number))
        assert used() <= 2.5 * FILE
    assert has(store, 5)
    free = 0
    with pytest.raises(OutputError, match="stay free"):
        store.put(made_of(6))
    assert store.usage().n_embeddings == 0


def unwritable(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):  # such as root
        folder.rmdir()
        folder.write_text("a file where the folder should be", "utf-8")


def test_an_unwritable_folder_is_told(tmp_path):
    folder = tmp_path / "embeddings"
    unwritable(folder)
    store = EmbeddingStore(folder)
    with pytest.raises(OutputError, match="Cannot write"):
        store.put(made_of(1))
    assert store.get(made_of(1).digest) is None
    assert store.usage() == store.clear() == Usage(0, 0)


def test_a_full_disk_is_told_and_leaves_nothing(store, monkeypatch):
    store.put(made_of(1))

    def fail(path: Path, content: bytes) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match="No space left"):
        store.put(made_of(2))
    assert names(store) == [f"{made_of(1).digest}.safetensors"]
    assert store.get(made_of(1).digest) is not None


def test_a_file_that_cannot_be_replaced_because_it_is_there_is_no_error(
    store, monkeypatch
):
    def refuse(self: Path, target: Path) -> None:
        target.write_bytes(bytes(FILE))  # the other process was faster
        raise PermissionError(13, "in use")

    monkeypatch.setattr(Path, "replace", refuse)
    store.put(made_of(1))
    assert len(list(store.folder.iterdir())) == 1


def start(folder: Path, seed: int, max_bytes: int, seconds: float) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, WORKER, folder, str(seed), str(max_bytes), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_write_read_and_evict_at_once(tmp_path):
    limit = 12 * FILE
    workers = [start(tmp_path, seed, limit, 0.5) for seed in range(2)]
    for worker in workers:
        out, errors = worker.communicate(timeout=60)
        assert (worker.returncode, out, errors) == (0, "begun\n", "")
    store = EmbeddingStore(tmp_path, max_bytes=limit)
    store.put(made_of(77))
    assert 0 < store.usage().n_bytes <= limit
    assert all(store.get(file.path.stem) is not None for file in store._files())


def test_killed_while_writing(tmp_path):
    """What the killed process leaves is no embedding, and is swept in the end."""
    for trial in range(3):
        worker = start(tmp_path, trial, 12 * FILE, 60)
        assert worker.stdout.readline() == "begun\n"
        time.sleep(0.02 + 0.017 * trial)
        worker.kill()
        worker.communicate()
    unfinished = tmp_path / f".{'a' * 64}-0123abcd.safetensors"
    unfinished.write_bytes(b"half")  # in case that no kill hit the right moment
    store = EmbeddingStore(tmp_path, max_bytes=12 * FILE)
    found = [store.get(file.path.stem) for file in store._files()]
    assert found
    assert None not in found
    store._sweep()
    assert unfinished.exists()  # somebody may be writing it
    for path in tmp_path.glob(".*.safetensors"):
        os.utime(path, (0, 0))
    store.put(made_of(99))
    assert not list(tmp_path.glob(".*.safetensors"))


def test_where_embeddings_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("NAPARI_SAM_EMBEDDINGS_DIR", raising=False)
    assert embedding_folder() == tmp_path / "cache" / "embeddings"
    monkeypatch.setenv("NAPARI_SAM_EMBEDDINGS_DIR", str(tmp_path / "here"))
    assert embedding_folder() == tmp_path / "here"
    monkeypatch.delenv("NAPARI_SAM_EMBEDDINGS_DIR")
    monkeypatch.delenv("NAPARI_SAM_CACHE_DIR")
    assert embedding_folder().name == "embeddings"
    assert "napari-sam-live" in embedding_folder().parts


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_others_cannot_look_into_the_folder(store):
    store.put(made_of(1))
    assert store.folder.stat().st_mode & 0o077 == 0
