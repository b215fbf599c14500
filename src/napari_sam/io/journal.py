# SPDX-License-Identifier: Apache-2.0
"""The journal: every step of an annotator on disk, as soon as it was made.

Steps are appended, never changed, so a process that is killed loses at most the line it
was writing. The first step makes the file; until then there is nothing to lose. When
the file has grown, a new one (the next generation) begins with the annotation as it
stands, and only then the old one is deleted; nothing is renamed, because Windows cannot
rename open files. See ``docs/decisions/0007-journal.md``.
"""

from __future__ import annotations

import os
import platform
import re
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from psygnal import Signal

import napari_sam
from napari_sam.errors import OutputError
from napari_sam.io.annotation_file import utc_now
from napari_sam.io.journal_file import JournalFile
from napari_sam.io.step_json import step_to_json
from napari_sam.io.user_data import journal_folder

if TYPE_CHECKING:
    from napari_sam.annotation.history import Step
    from napari_sam.annotation.objects import ObjectChange
    from napari_sam.annotation.state import AnnotationState
    from napari_sam.io.json_fields import JsonObject

SUFFIX = ".journal"
FORMAT = "napari-sam journal"
VERSION = 1
MAX_BYTES = 64 * 2**20
"""A longer file is replaced by one that begins with the present state."""
_SLICE_SECONDS = 0.01
"""Time that one step spends at most on labels that were there before it."""
_PAUSE_SECONDS = 10.0
"""Time to the next try after a file could not be begun."""


class Journaled(Protocol):
    """What a journal needs of an annotator."""

    @property
    def stepped(self) -> Any:
        """Signal(Step, str): each step as it was applied; "do", "undo" or "redo"."""
        ...

    @property
    def objects_changed(self) -> Any:
        """Signal(tuple): empty if all labels and objects are others now."""
        ...

    def snapshot(self) -> AnnotationState:
        """Return the annotation as it stands."""
        ...


class Journal:
    """Writes down what an annotator does.

    Parameters
    ----------
    annotator : Journaled
        An `Annotator`; all calls come from its thread.
    folder : Path, optional
        Where to write; by default in the user's data.
    max_bytes : int
        Length at which a new file begins.
    is_synced : bool
        Whether each step waits until the disk has it. Without, steps survive the end
        of the process, however it ends, but not a loss of power.

    Attributes
    ----------
    failed : Signal(Exception)
        Writing did not succeed; emitted once until it succeeds again. The steps are
        kept and written with the next one.
    """

    failed: ClassVar[Signal] = Signal(Exception)

    def __init__(
        self,
        annotator: Journaled,
        folder: Path | None = None,
        *,
        max_bytes: int = MAX_BYTES,
        is_synced: bool = False,
    ) -> None:
        self._annotator = annotator
        self._folder = journal_folder() if folder is None else Path(folder)
        self._max_bytes = self._limit = max_bytes
        self._is_synced = is_synced
        self._session = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._started = utc_now()
        self._generation = 0
        self._file: JournalFile | None = None
        self._has_failed = False
        self._next_try = 0.0
        annotator.stepped.connect(self._on_step)
        annotator.objects_changed.connect(self._on_objects)

    @property
    def path(self) -> Path | None:
        """The present file; None before the first step."""
        return None if self._file is None else self._file.path

    def rebase(self) -> None:
        """Begin anew from the present state: it was changed by other means than steps.

        Raises
        ------
        OutputError
            If the new file cannot be written; the old one stays in use.
        """
        try:
            self._begin(is_whole=True)
        except OSError as error:
            raise self._explained(error) from error

    def write_pending(self, seconds: float = _SLICE_SECONDS) -> bool:
        """Write labels that were there before the first step, for a limited time.

        Every step calls it; a timer may, so that it ends sooner.

        Returns
        -------
        bool
            Whether all are written.
        """
        try:
            return self._file is None or self._file.write_base(seconds)
        except OSError as error:
            self._tell(error)
            return False

    def close(self, *, is_clean: bool = True) -> None:
        """Stop.

        Parameters
        ----------
        is_clean : bool
            Whether nothing needs to be restored, so that the file is deleted.
        """
        self._annotator.stepped.disconnect(self._on_step, missing_ok=True)
        self._annotator.objects_changed.disconnect(self._on_objects, missing_ok=True)
        file, self._file = self._file, None
        if file is None:
            return
        if is_clean:
            file.delete()
            return
        try:
            file.write_base()
        except OSError as error:
            self._tell(error)
        file.close()

    def _on_step(self, step: Step, kind: str) -> None:
        # Nothing is raised in the middle of a signal: the step itself went well.
        try:
            self._write_step(step, kind)
        except OSError as error:
            self._tell(error)

    def _on_objects(self, changes: tuple[ObjectChange, ...]) -> None:
        """Begin anew where the steps so far were those of other labels."""
        if not changes and self._file is not None:
            try:
                self._begin(is_whole=True)
            except OSError as error:
                self._tell(error)

    def _write_step(self, step: Step, kind: str) -> None:
        file = self._file
        if file is None:
            if time.monotonic() < self._next_try:
                return
            self._next_try = time.monotonic() + _PAUSE_SECONDS
            file = self._begin(is_whole=False)
        file.queue_base_of(step.edits)
        file.append({"kind": kind, "step": step_to_json(step)})
        self._has_failed = False
        file.write_base(_SLICE_SECONDS)
        if file.n_bytes > self._limit:
            self._limit = 2 * file.n_bytes  # if it fails, not again at once
            self._begin(is_whole=True)

    def _begin(self, *, is_whole: bool) -> JournalFile:
        """Write the state into the next file; then the one before can go."""
        state = self._annotator.snapshot()
        generation = self._generation + 1
        file = JournalFile(
            self._folder / f"{self._stem(state)}.{generation}{SUFFIX}",
            self._head(state, generation),
            state,
            is_synced=self._is_synced,
            seconds=None if is_whole else _SLICE_SECONDS,
        )
        if self._file is not None:
            try:
                file.sync()
            except BaseException:
                file.delete()
                raise
        before, self._file = self._file, file
        self._generation = generation
        self._limit = max(self._max_bytes, 2 * file.n_bytes)
        if before is not None:
            before.delete()
        return file

    def _head(self, state: AnnotationState, generation: int) -> JsonObject:
        return {
            "format": FORMAT,
            "version": VERSION,
            "napari_sam": napari_sam.__version__,
            "session": self._session,
            "generation": generation,
            "started": self._started,
            "pid": os.getpid(),
            "host": platform.node(),
            "image": {"identity": state.image_identity, "name": state.image_name},
        }

    def _stem(self, state: AnnotationState) -> str:
        """Return what the names of all files of this session begin with."""
        name = re.sub(r"[^\w.-]+", "_", state.image_name, flags=re.ASCII)
        stamp = re.sub(r"\W", "", self._started)
        return f"{name[:40].strip('._') or 'image'}-{stamp}-{self._session}"

    def _tell(self, error: OSError) -> None:
        if not self._has_failed:
            self._has_failed = True
            self.failed.emit(self._explained(error))

    def _explained(self, error: OSError) -> OutputError:
        return OutputError(
            f"Steps cannot be written to {self._folder}: {error.strerror or error}. "
            "Save the annotation; what follows would be lost if the program ended."
        )
