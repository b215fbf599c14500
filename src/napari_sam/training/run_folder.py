# SPDX-License-Identifier: Apache-2.0
"""Folders of training runs: one process at a time, and no more of them than wanted."""

from __future__ import annotations

import logging
import os
import platform
import re
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from napari_sam.errors import OutputError
from napari_sam.io.file_lock import try_lock
from napari_sam.training.feature_cache import FOLDER as FEATURES
from napari_sam.training.feature_cache import (
    clear_features,
    has_only_features,
    is_by_system,
    remove_if_empty,
)
from napari_sam.training.loop import BEST_FILE, LAST_FILE, STATE_FILE
from napari_sam.training.run_log import LOG_FILE
from napari_sam.weights.trained import CARD_NAME, TEXT_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

LOCK_FILE, END_FILE = ".lock", "finished.txt"
KEPT_RUNS = 5
"""Finished runs of the training panel that can still be gone on with."""

_TRIES = 10
_FILES = (STATE_FILE, BEST_FILE, LAST_FILE, LOG_FILE, CARD_NAME, TEXT_NAME, END_FILE)
# What `io.atomic` leaves of a file when the program is killed.
_UNFINISHED = re.compile(r"\.(state|best|last|log|card|finished)-[0-9a-f]{8}\.\w+")
_EVENTS = "events.out.tfevents"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder; the lock ends with this process.

    Raises
    ------
    OutputError
        If another process, or another run of this one, works there, or the folder
        cannot be written.
    """
    file = _lock(folder)
    try:
        yield
    finally:
        is_gone = _unlinked(folder / LOCK_FILE)
        file.close()
        if not is_gone:
            # Windows deletes nothing that is open. Elsewhere this would be too late:
            # the next run may have made the file anew.
            _unlinked(folder / LOCK_FILE)


def delete_run(folder: Path) -> None:
    """Delete what a run left; what somebody else put beside it stays.

    Raises
    ------
    OutputError
        If a process trains there, or something cannot be deleted.
    """
    if not folder.exists():
        return
    with locked(folder):
        clear_run(folder)
    remove_if_empty(folder)


def clear_run(folder: Path) -> None:
    """Delete what a run left in a folder that is `locked`.

    Raises
    ------
    OutputError
        If something cannot be deleted.
    """
    try:
        for path in folder.iterdir():
            if path.name == FEATURES:
                clear_features(path)
            elif _is_ours(path):
                path.unlink(missing_ok=True)
    except OSError as error:
        msg = f"Cannot delete the earlier run {folder}: {error}. Delete it by hand."
        raise OutputError(msg) from error


def mark_finished(folder: Path, ended: str) -> None:
    """Note that a run came to its end and that nothing of it waits to be kept.

    Raises
    ------
    OutputError
        If that cannot be written.
    """
    try:
        (folder / END_FILE).write_text(f"{ended}\n", encoding="utf-8")
    except OSError as error:
        msg = f"Cannot write {folder / END_FILE}: {error.strerror or error}."
        raise OutputError(msg) from error


def mark_begun(folder: Path) -> None:
    """Note that a run goes on, if it had come to its end."""
    with suppress(OSError):
        (folder / END_FILE).unlink(missing_ok=True)


def tidy_runs(folder: Path, keep: int) -> None:
    """Delete finished runs but for the newest.

    Runs that were stopped can be gone on with and stay; so does a folder in which a
    process works, that cannot be read, or in which there is anything else than what a
    run writes and file managers leave. What cannot be deleted is told in the log.

    Parameters
    ----------
    folder : Path
        Holds a folder for each run.
    keep : int
        How many finished runs stay.
    """
    try:
        ends = [p for p in folder.glob(f"*/{END_FILE}") if _is_only_ours(p.parent)]
    except OSError as error:
        logger.info("Finished runs stay: %s", error)
        return
    for end in sorted(ends, key=_age)[keep:]:
        try:
            delete_run(end.parent)
        except OutputError as error:
            logger.info("A finished run stays: %s", error)


def _age(path: Path) -> float:
    """Order by time, the newest first."""
    try:
        return -path.stat().st_mtime
    except OSError:  # just deleted
        return 0.0


def _is_only_ours(folder: Path) -> bool:
    """Tell whether a folder can be deleted as a whole; not if it cannot be read."""
    try:
        return not folder.is_symlink() and all(
            _is_ours(path) or path.name == LOCK_FILE or is_by_system(path)
            for path in folder.iterdir()
        )
    except OSError:
        return False


def _is_ours(path: Path) -> bool:
    """Tell whether a run writes something of that name, and of that content."""
    if path.name == FEATURES:
        is_folder = path.is_dir() and not path.is_symlink()
        return is_folder and has_only_features(path)
    is_named = path.name in _FILES or path.name.startswith(_EVENTS)
    return path.is_file() and (is_named or bool(_UNFINISHED.fullmatch(path.name)))


def _unlinked(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _lock(folder: Path) -> IO[str]:
    """Make a folder if it is missing, and take it for this process."""
    path = folder / LOCK_FILE
    for _ in range(_TRIES):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = path.open("a+", encoding="utf-8")
        except FileNotFoundError:  # deleted in between by who has ended
            continue
        except OSError as error:
            msg = f"Cannot write {folder}: {error.strerror or error}."
            raise OutputError(msg) from error
        if not try_lock(file):
            file.seek(0)
            holder = file.read().strip()
            file.close()
            raise OutputError(_in_use(folder, holder))
        if _is_same(file, path):
            _sign(file)
            return file
        file.close()
    msg = f"{folder} is deleted again and again by another process. Wait for its end."
    raise OutputError(msg)


def _is_same(file: IO[str], path: Path) -> bool:
    """Tell whether an open file still is the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _sign(file: IO[str]) -> None:
    """Say who holds a lock, if there is space for it: the lock holds without."""
    with suppress(OSError):
        os.ftruncate(file.fileno(), 0)
        # Past the buffer of the file: closing would try a full disk once more.
        os.write(file.fileno(), _here().encode())


def _here() -> str:
    return f"{os.getpid()} on {platform.node() or 'this computer'}"


def _in_use(folder: Path, holder: str) -> str:
    who = f"process {holder}" if holder else "another process"
    if holder == _here():
        who = "this program itself"
    return (
        f"{folder} is in use: {who} trains there. Wait until that has ended, or stop "
        "it; other data, or another folder, can be trained with meanwhile."
    )
