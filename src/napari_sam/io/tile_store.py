# SPDX-License-Identifier: Apache-2.0
"""Finished tiles of a run as a folder beside its result, so that it can go on later.

::

    NAME_tiles/
        manifest.json            what was segmented, with what: {"format", "version",
                                 "about": {...}}
        000/000012.npz           tile 12 (see `napari_sam.io.tile_file`), a thousand
                                 tiles a folder

        .lock                    held by the process that works on them

Every file appears complete or not at all, so that whatever ends a run, the tiles that
were finished are there.
"""

import json
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

from napari_sam.errors import ImageError, OutputError, SettingsError
from napari_sam.io.atomic import written_atomically
from napari_sam.io.file_lock import try_lock
from napari_sam.io.tile_file import decode_tile
from napari_sam.structures.lru_cache import LruCache
from napari_sam.structures.tile_result import TileResult

FORMAT = "napari-sam tiles"
VERSION = 1
_MANIFEST = "manifest.json"
_LOCK = ".lock"
_LOCK_TRIES = 10
_PER_FOLDER = 1000


class TileStore:
    """Results of the tiles of a file, for one process at a time.

    Made by `open_store`; to be closed, or used in a ``with`` statement.

    Parameters
    ----------
    folder : Path
        Where they lie.
    lock : file
        Locked as long as it is open.
    n_cached : int
        How many results are kept in memory.
    """

    def __init__(self, folder: Path, lock: IO[bytes], n_cached: int = 1024) -> None:
        self._folder = folder
        self._lock = lock
        self._cache: LruCache[TileResult] = LruCache(n_cached)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()

    @property
    def folder(self) -> Path:
        """Where the tiles lie."""
        return self._folder

    def finished(self) -> set[int]:
        """Return the numbers of the tiles that are there.

        A damaged one is removed, so that it is made again.
        """
        found = set()
        for path in self._folder.glob("*/*.npz"):
            if not path.stem.isdigit() or path != self._path(int(path.stem)):
                continue
            try:
                decode_tile(path.read_bytes())
            except ImageError:
                path.unlink(missing_ok=True)
            else:
                found.add(int(path.stem))
        return found

    def get(self, number: int, /) -> TileResult | None:
        """Return the result of a tile, None if it was not finished.

        Raises
        ------
        ImageError
            If its file is damaged.
        """
        kept = self._cache.get(number)
        if kept is not None:
            return kept
        try:
            content = self._path(number).read_bytes()
        except FileNotFoundError:
            return None
        result = decode_tile(content)
        self._cache.put(number, result)
        return result

    def put(self, number: int, content: bytes) -> None:
        """Keep a tile that was finished.

        Parameters
        ----------
        number : int
            Of the tile.
        content : bytes
            From `encode_tile`.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        with written_atomically(self._path(number)) as temporary:
            temporary.write_bytes(content)

    def remove(self) -> None:
        """Delete the folder and close: the result of the run is complete.

        Raises
        ------
        OutputError
            If that does not succeed.
        """
        self._cache.clear()
        _clear(self._folder)
        if sys.platform == "win32":  # where open files cannot be deleted
            self.close()
        # What another process has begun there in the meantime is its own.
        with suppress(OSError):
            (self._folder / _LOCK).unlink(missing_ok=True)
            self._folder.rmdir()
        self.close()

    def close(self) -> None:
        """Let others work on these tiles; what is finished stays."""
        self._lock.close()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number // _PER_FOLDER:03d}" / f"{number:06d}.npz"


def open_store(
    folder: Path, about: dict[str, Any], *, anew: bool = False, n_cached: int = 1024
) -> TileStore:
    """Begin a run, or go on with one that was ended.

    Parameters
    ----------
    folder : Path
        Of the tiles; made if it is missing.
    about : dict
        What decides the results: image, tiles, model, settings; plain JSON values.
    anew : bool
        Whether finished tiles of another image, model or settings are thrown away.
    n_cached : int
        How many results are kept in memory.

    Returns
    -------
    TileStore

    Raises
    ------
    SettingsError
        If the folder holds such tiles, and they are not to be thrown away.
    OutputError
        If it cannot be written, is something else, or another process (or another
        store of this one) works on it.
    """
    if folder.exists() and not _is_ours(folder):
        msg = (
            f"{folder} is needed for finished tiles, but holds something else. Move it "
            "away or choose another folder for the results."
        )
        raise OutputError(msg)
    wanted = json.loads(json.dumps(about))
    lock = _locked(folder)
    try:
        _prepare(folder, wanted, anew=anew)
    except BaseException:
        lock.close()
        raise
    return TileStore(folder, lock, n_cached)


def _prepare(folder: Path, wanted: dict[str, Any], *, anew: bool) -> None:
    """Make a folder one of the tiles that are wanted."""
    manifest = folder / _MANIFEST
    there = _read(manifest)
    if there == wanted:
        return
    if there is not None and not anew:
        raise SettingsError(_difference(there, wanted, folder))
    _clear(folder)
    content = {"format": FORMAT, "version": VERSION, "about": wanted}
    with written_atomically(manifest) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _locked(folder: Path) -> IO[bytes]:
    """Make a folder if it is missing, and take it for this process."""
    path = folder / _LOCK
    for _ in range(_LOCK_TRIES):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
        except FileNotFoundError:  # deleted in between by who has finished
            continue
        except OSError as error:
            msg = f"Cannot write {folder}: {error.strerror or error}."
            raise OutputError(msg) from error
        if not try_lock(file):
            file.close()
            msg = (
                f"{folder} is in use: another process works on the same result. Wait "
                "until it has ended, or choose another folder for the results."
            )
            raise OutputError(msg)
        with suppress(OSError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()
    msg = f"{folder} is deleted again and again by another process. Wait for its end."
    raise OutputError(msg)


def _is_ours(folder: Path) -> bool:
    """Tell whether a folder holds tiles, or what is left of them, or nothing."""
    if (folder / _MANIFEST).is_file():
        return _read(folder / _MANIFEST) is not None
    return folder.is_dir() and all(
        path.name.startswith(".") or path.name.isdigit() for path in folder.iterdir()
    )


def _read(manifest: Path) -> dict[str, Any] | None:
    """Return what a manifest says, None if it is none of ours."""
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return None
    about = content.get("about")
    is_known = content.get("version") == VERSION and isinstance(about, dict)
    return about if is_known else None


def _difference(there: dict[str, Any], wanted: dict[str, Any], folder: Path) -> str:
    """Say why tiles of different runs cannot be mixed."""
    changes = "; ".join(
        f"{name} was {there.get(name)!r} and is {wanted.get(name)!r}"
        for name in {**there, **wanted}
        if there.get(name) != wanted.get(name)
    )
    return (
        f"{folder} holds finished tiles of another run: {changes}. Repeat that run's "
        "options to go on with it, begin anew (command line: --existing overwrite), or "
        "choose another folder for the results."
    )


def _clear(folder: Path) -> None:
    """Delete everything in a folder but its lock."""
    try:
        # First what makes it a run: a deletion that is cut off leaves nothing to go on.
        (folder / _MANIFEST).unlink(missing_ok=True)
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()
    except OSError as error:
        msg = f"Cannot delete {folder}: {error.strerror or error}."
        raise OutputError(msg) from error
