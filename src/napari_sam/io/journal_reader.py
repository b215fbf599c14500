# SPDX-License-Identifier: Apache-2.0
"""Journals that were left behind: finding them, and what can be had from them."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from napari_sam.errors import AnnotationFileError
from napari_sam.io.annotation_file import check_version
from napari_sam.io.file_lock import try_lock
from napari_sam.io.journal import FORMAT, SUFFIX, VERSION
from napari_sam.io.journal_lines import read_lines
from napari_sam.io.json_fields import JsonObject, take
from napari_sam.io.user_data import journal_folder


@dataclass(frozen=True, slots=True)
class JournalInfo:
    """A journal that nobody writes any more.

    Attributes
    ----------
    path : Path
    image_identity, image_name : str
    started, modified : str
        Times in UTC: of the session, and of its last step.
    host : str
        Name of the computer.
    pid : int
        The process that wrote it.
    n_bytes : int
    """

    path: Path
    image_identity: str
    image_name: str
    started: str
    modified: str
    host: str
    pid: int
    n_bytes: int


def find_unfinished(
    image_identity: str | None = None, folder: Path | None = None
) -> list[JournalInfo]:
    """Find journals that were neither closed nor are being written, newest first.

    Parameters
    ----------
    image_identity : str or None
        Only those of one image.
    folder : Path, optional
        Where to look; by default in the user's data.
    """
    folder = journal_folder() if folder is None else Path(folder)
    sessions: dict[str, list[tuple[int, JournalInfo]]] = defaultdict(list)
    in_use: set[str] = set()
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with suppress(OSError, AnnotationFileError):
            head = read_head(path)
            session = take(head, "session", str)
            generation = take(head, "generation", int)
            if _is_in_use(path):
                in_use.add(session)
            elif _has_state(path):
                sessions[session].append((generation, _info(path, head)))
    infos = [_valid(found) for name, found in sessions.items() if name not in in_use]
    if image_identity is not None:
        infos = [info for info in infos if info.image_identity == image_identity]
    return sorted(infos, key=lambda info: info.modified, reverse=True)


def discard_journal(path: Path) -> None:
    """Delete a journal that is not needed any more, with what it replaces.

    Raises
    ------
    AnnotationFileError
        If it is being written.
    """
    path = Path(path)
    if path.exists() and _is_in_use(path):
        msg = f"{path} is being written by another process. End that one first."
        raise AnnotationFileError(msg)
    session = _session_in(path)
    for sibling in path.parent.glob(f"*{SUFFIX}"):
        if _session_in(sibling) == session:
            sibling.unlink(missing_ok=True)


def read_head(path: Path) -> JsonObject:
    """Return the first line of a journal.

    Raises
    ------
    OSError
        If the file cannot be read.
    AnnotationFileError
        If it is no journal, or a newer version wrote it.
    """
    line = next(read_lines(path), None)
    if line is None or line.content is None or line.content.get("format") != FORMAT:
        msg = f"{path} is no journal of napari-sam, or its beginning is damaged."
        raise AnnotationFileError(msg)
    check_version(line.content.get("version"), VERSION, str(path))
    return line.content


def _info(path: Path, head: Any) -> JournalInfo:
    found = path.stat()
    changed = datetime.fromtimestamp(found.st_mtime, UTC)
    image = take(head, "image", dict)
    return JournalInfo(
        path=path,
        image_identity=take(image, "identity", str),
        image_name=take(image, "name", str, ""),
        started=take(head, "started", str, ""),
        modified=changed.strftime("%Y-%m-%dT%H:%M:%SZ"),
        host=take(head, "host", str, ""),
        pid=take(head, "pid", int, 0),
        n_bytes=found.st_size,
    )


def _valid(generations: list[tuple[int, JournalInfo]]) -> JournalInfo:
    """Return the newest generation that is whole: one may have been begun at the end.

    The first may lack labels of planes that were not changed, and counts all the same.
    """
    newest_first = sorted(generations, key=lambda item: item[0], reverse=True)
    for _, info in newest_first[:-1]:
        if any(
            line.content is not None and line.content.get("kind") == "whole"
            for line in read_lines(info.path)
        ):
            return info
    return newest_first[-1][1]


def _has_state(path: Path) -> bool:
    """Tell whether there is more than the head: else nothing can be restored."""
    second = next(islice(read_lines(path), 1, None), None)
    return second is not None and second.content is not None


def _session_in(path: Path) -> list[str]:
    """Return process and random part of a name; the rest may change with the image."""
    return path.name.removesuffix(SUFFIX).rpartition(".")[0].split("-")[-2:]


def _is_in_use(path: Path) -> bool:
    """Tell whether a process that lives holds the file."""
    with path.open("rb+") as file:
        return not try_lock(file)
