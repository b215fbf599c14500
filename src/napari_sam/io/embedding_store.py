# SPDX-License-Identifier: Apache-2.0
"""A folder of embeddings, so that no picture is encoded twice.

One file per embedding, named by its digest; what is asked for is what was written or
nothing. Any number of processes may use a folder: files appear complete or not at all,
a file that goes while it is wanted counts as absent, and only one process at a time
makes room. The file's time of change is the time of its last use.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from napari_sam.errors import OutputError
from napari_sam.io.atomic import written_atomically
from napari_sam.io.embedding_file import from_bytes, to_bytes
from napari_sam.io.file_lock import try_lock
from napari_sam.weights.locations import APP_NAME, CACHE_DIR_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam.structures.embedding import ImageEmbedding

FOLDER_VARIABLE = "NAPARI_SAM_EMBEDDINGS_DIR"
DEFAULT_MAX_BYTES = 5 << 30
KEPT_FREE_BYTES = 1 << 30
"""Of the disk, which other programs need too."""

_SUFFIX = ".safetensors"
_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")
_UNFINISHED_NAME = re.compile(r"\.[0-9a-f]{64}-[0-9a-f]{8}\.safetensors")
_LOCK_NAME = ".lock"
_STALE_AFTER_S = 3600.0
_FILLED_TO = 0.9
"""Share of the limit that is left in use after files were removed."""


class Usage(NamedTuple):
    """How many embeddings there are and how many bytes they take."""

    n_embeddings: int
    n_bytes: int


class _File(NamedTuple):
    """An embedding on disk; sorted by last use."""

    used: float
    n_bytes: int
    path: Path


def embedding_folder() -> Path:
    """Return where embeddings are kept unless the user chose another folder.

    The environment variable `FOLDER_VARIABLE` wins; then comes the folder
    ``embeddings`` in that of `CACHE_DIR_VARIABLE` or in the system's own place. It need
    not exist.
    """
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    cache = os.environ.get(CACHE_DIR_VARIABLE)
    if cache:
        return Path(cache).expanduser().absolute() / "embeddings"
    import platformdirs

    return platformdirs.user_cache_path(APP_NAME) / "embeddings"


class EmbeddingStore:
    """Keeps embeddings in a folder; those used longest ago make room.

    Parameters
    ----------
    folder : Path
        Made at the first writing. Files in it that are not ours are left alone.
    max_bytes : int
        Most bytes in all. Less is used where the disk is nearly full. Processes that
        write at the same time may exceed it for a moment.
    is_half : bool
        Whether to write float16, half the size. Files in float32 are used as they are;
        without it, files in float16 count as absent.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        is_half: bool = False,
    ) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.is_half = is_half
        self._lock = Lock()
        self._room = 0  # bytes that may be written before the folder is looked at

    def get(self, digest: str) -> ImageEmbedding | None:
        """Read an embedding; a damaged file is removed and counts as absent.

        Parameters
        ----------
        digest : str
            `ImageEmbedding.digest`.

        Returns
        -------
        ImageEmbedding or None
            None if it is not there or cannot be read.
        """
        path = self._path(digest)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        embedding = from_bytes(content)
        if embedding is None or embedding.digest != digest:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        if not self.is_half and len(content) < embedding.nbytes:
            return None  # rounded: `put` writes it anew
        with suppress(OSError):  # the folder may be read-only
            os.utime(path)
        return embedding

    def put(self, embedding: ImageEmbedding) -> None:
        """Write an embedding unless it is there; make room if there is too much.

        Parameters
        ----------
        embedding : ImageEmbedding
            Of a model with a digest: others are not written, because they could not be
            told from each other.

        Raises
        ------
        OutputError
            If it cannot be written, or no room can be made for it.
        """
        if not embedding.model_digest:
            return
        path = self._path(embedding.digest)
        if self._is_there(path, embedding):
            return
        content = to_bytes(embedding, is_half=self.is_half)
        with self._lock:
            is_short = self._room < len(content)
            self._room -= len(content)
        if is_short and not self._make_room(len(content)):
            msg = (
                f"There is no room for embeddings in {self.folder}: they may take "
                f"{self.max_bytes / 2**30:.3g} GiB, and {KEPT_FREE_BYTES / 2**30:.3g} "
                "GiB of the disk stay free. Raise the limit, free space or choose "
                "another folder."
            )
            raise OutputError(msg)
        self._write(path, content, embedding)

    def usage(self) -> Usage:
        """Count what is there."""
        sizes = [file.n_bytes for file in self._files()]
        return Usage(len(sizes), sum(sizes))

    def clear(self) -> Usage:
        """Remove all embeddings; returns what was removed."""
        removed = [file.n_bytes for file in self._files() if _remove(file.path)]
        self._sweep()
        return Usage(len(removed), sum(removed))

    def trim(self) -> None:
        """Remove files until the limit is kept; writing does it by itself."""
        self._make_room(0)

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}{_SUFFIX}"

    def _is_there(self, path: Path, embedding: ImageEmbedding) -> bool:
        """Tell whether a file is there in the wanted precision or a better one."""
        try:
            n_bytes = path.stat().st_size
        except OSError:
            return False
        return n_bytes >= embedding.nbytes // (2 if self.is_half else 1)

    def _write(self, path: Path, content: bytes, embedding: ImageEmbedding) -> None:
        """Write a file under a temporary name, then rename it."""
        with suppress(OSError):  # told by what follows
            # Pictures can be guessed at from features: they are nobody else's business.
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with written_atomically(path) as temporary:
                temporary.write_bytes(content)
        except OSError:
            # On Windows, a file that another process reads cannot be replaced.
            if not self._is_there(path, embedding):
                raise

    def _make_room(self, n_wanted: int) -> bool:
        """Remove files used longest ago until the limit is kept with room to spare.

        Other processes may be writing, too: after a quarter of the room that is left,
        the folder is looked at again. Returns whether there is room now.
        """
        if n_wanted > self.max_bytes:
            return False
        self._sweep()
        files = sorted(self._files())
        in_use = sum(file.n_bytes for file in files)
        limit = min(self.max_bytes, in_use + self._free_bytes() - KEPT_FREE_BYTES)
        if in_use + n_wanted > limit:
            in_use = self._evict(files, in_use, int(_FILLED_TO * limit) - n_wanted)
        room = limit - in_use - n_wanted
        with self._lock:
            self._room = room // 4
        return room >= 0

    def _evict(self, files: list[_File], in_use: int, goal: int) -> int:
        """Remove the first files until `goal` bytes are in use; returns what is."""
        try:
            with (self.folder / _LOCK_NAME).open("ab") as lock:
                if not try_lock(lock):
                    return goal  # another process is about to have reached it
                for file in files:
                    if in_use <= goal:
                        break
                    if _remove(file.path):
                        in_use -= file.n_bytes
        except OSError:  # unwritable: nothing can be removed either
            return in_use
        return in_use

    def _free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self.folder).free
        except OSError:  # not made yet
            return self.max_bytes + KEPT_FREE_BYTES

    def _files(self) -> list[_File]:
        """List the embeddings; those that go meanwhile are left out."""
        found = []
        for entry in self._entries():
            if _NAME.fullmatch(entry.name):
                with suppress(OSError):
                    facts = entry.stat()
                    path = self.folder / entry.name
                    found.append(_File(facts.st_mtime, facts.st_size, path))
        return found

    def _sweep(self) -> None:
        """Remove what a process that was killed while writing has left behind."""
        before = time.time() - _STALE_AFTER_S
        for entry in self._entries():
            if _UNFINISHED_NAME.fullmatch(entry.name):
                with suppress(OSError):
                    if entry.stat().st_mtime < before:
                        _remove(self.folder / entry.name)

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self.folder) as entries:
                yield from entries
        except OSError:
            return


def _remove(path: Path) -> bool:
    """Delete a file; False if it is still there."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
