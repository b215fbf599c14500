# SPDX-License-Identifier: Apache-2.0
"""Folders of training runs: one process at a time, and no more of them than wanted."""

from __future__ import annotations

import logging
import os
import platform
import re
import shutil
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from napari_sam.errors import OutputError
from napari_sam.io.file_lock import try_lock
from napari_sam.training.feature_cache import FOLDER as FEATURES
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
        with suppress(OSError):  # Windows keeps it: nobody can delete what is open
            (folder / LOCK_FILE).unlink(missing_ok=True)
        file.close()


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
        _remove(folder)
    with suppress(OSError):  # there is something else in it
        folder.rmdir()


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
    process works or in which there is anything else than what a run writes. What cannot
    be deleted is told in the log.

    Parameters
    ----------
    folder : Path
        Holds a folder for each run.
    keep : int
        How many finished runs stay.
    """
    ends = [path for path in folder.glob(f"*/{END_FILE}") if _is_only_ours(path.parent)]
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
    return not folder.is_symlink() and all(
        _is_ours(path) or path.name == LOCK_FILE for path in folder.iterdir()
    )


def _is_ours(path: Path) -> bool:
    """Tell whether a run writes something of that name."""
    if path.name == FEATURES:
        return path.is_dir() and not path.is_symlink()
    is_named = path.name in _FILES or path.name.startswith(_EVENTS)
    return path.is_file() and (is_named or bool(_UNFINISHED.fullmatch(path.name)))


def _remove(folder: Path) -> None:
    try:
        for path in folder.iterdir():
            if path.name == FEATURES and _is_ours(path):
                shutil.rmtree(path)
            elif _is_ours(path):
                path.unlink(missing_ok=True)
    except OSError as error:
        msg = f"Cannot delete the earlier run {folder}: {error}. Delete it by hand."
        raise OutputError(msg) from error


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
        with suppress(OSError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                file.truncate(0)
                file.write(_here())
                file.flush()
                return file
        file.close()
    msg = f"{folder} is deleted again and again by another process. Wait for its end."
    raise OutputError(msg)


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
