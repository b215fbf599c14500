# SPDX-License-Identifier: Apache-2.0
"""One file of a journal while it is written: lines, and the labels they build on."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from napari_sam.io.file_lock import try_lock
from napari_sam.io.journal_lines import format_line
from napari_sam.io.state_json import label_plane_to_json, state_to_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_sam.annotation.history import PlaneEdit
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.annotation.state import AnnotationState, LabelPlane
    from napari_sam.io.json_fields import JsonObject


class JournalFile:
    """A new file that only grows.

    The labels that were there before the first step are written plane by plane, at the
    latest before a step changes them: a stack of thousands of planes does not hold up
    the first step.

    Parameters
    ----------
    path : Path
        Must not exist.
    head : dict
        First line.
    state : AnnotationState
        What the steps build on.
    is_synced : bool
        Whether each line waits until the disk has it.
    seconds : float or None
        Time for labels that were there before; None writes them all.

    Raises
    ------
    OSError
        If the file cannot be made or written; none is left then.
    """

    def __init__(
        self,
        path: Path,
        head: JsonObject,
        state: AnnotationState,
        *,
        is_synced: bool = False,
        seconds: float | None = None,
    ) -> None:
        self.path = path
        self.n_bytes = 0
        self._n_lines = 0
        self._is_synced = is_synced
        self._backlog: list[JsonObject] = []
        self._pending: dict[PlaneKey, LabelPlane] = {
            plane: labels for plane, labels in state.labels.items() if labels.any()
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: what could not be written must not come later by itself.
        self._file = path.open("xb", buffering=0)
        try:
            try_lock(self._file)
            # In one piece: a beginning without its labels is of little use.
            self._backlog.append({"kind": "head", **head})
            self._backlog.append({"kind": "state", "state": state_to_json(state)})
            if not self._pending:
                self._backlog.append({"kind": "whole"})
            self._queue_base(seconds)
            self._flush()
        except BaseException:
            self.delete()
            raise

    def append(self, content: JsonObject) -> None:
        """Write a line, and before it those that could not be written earlier.

        Raises
        ------
        OSError
            If that does not succeed; the line is kept for the next time.
        """
        self._backlog.append(content)
        self._flush()

    def write_base(self, seconds: float | None = None) -> bool:
        """Write labels that were there before, for a limited time or all.

        Returns
        -------
        bool
            Whether all are written.

        Raises
        ------
        OSError
            As `append`.
        """
        self._queue_base(seconds)
        self._flush()
        return not self._pending

    def queue_base_of(self, edits: Sequence[PlaneEdit]) -> None:
        """Put planes that a step changes before the line that comes next."""
        for edit in edits:
            if any(plane.axes != edit.plane.axes for plane in self._pending):
                # Planes along other axes cross this one.
                self._queue_base(None)
            elif edit.plane in self._pending:
                self._queue_plane(edit.plane)

    def sync(self) -> None:
        """Wait until the disk has everything; raises OSError."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close; the lock ends."""
        with contextlib.suppress(OSError):
            self._file.close()

    def delete(self) -> None:
        """Close and delete."""
        # Deleted while it is locked, so that nobody takes it for an unfinished one.
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        self.close()
        if os.name == "nt":  # where an open file cannot be deleted
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)

    def _queue_base(self, seconds: float | None) -> None:
        end = None if seconds is None else time.perf_counter() + seconds
        while self._pending and (end is None or time.perf_counter() < end):
            self._queue_plane(next(iter(self._pending)))

    def _queue_plane(self, plane: PlaneKey) -> None:
        labels = self._pending.pop(plane)
        self._backlog.append({"kind": "labels", **label_plane_to_json(plane, labels)})
        if not self._pending:
            self._backlog.append({"kind": "whole"})

    def _flush(self) -> None:
        """Write all lines that wait; raises OSError, and then they wait on."""
        if not self._backlog:
            return
        lines = b"".join(
            format_line(item, self._n_lines + i) for i, item in enumerate(self._backlog)
        )
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
            if self._is_synced:
                self.sync()
        except OSError:
            # Half a line at the end would hide all that follows.
            with contextlib.suppress(OSError):
                self._file.seek(self.n_bytes)
                self._file.truncate()
            raise
        self._n_lines += len(self._backlog)
        self.n_bytes += len(lines)
        self._backlog = []
