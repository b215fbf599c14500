# SPDX-License-Identifier: Apache-2.0
"""Keeps a journal of what is done, so that no crash takes more than one prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_sam._bridge.annotation_record import state_of, take_over
from napari_sam.io.journal import Journal
from napari_sam.io.journal_reader import discard_journal, find_unfinished
from napari_sam.io.journal_replay import recover

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_sam._bridge.controller import PromptController
    from napari_sam.annotation.objects import ObjectTable
    from napari_sam.annotation.state import AnnotationState
    from napari_sam.io.journal_reader import JournalInfo


class Autosave:
    """The journal of one controller.

    Parameters
    ----------
    controller : PromptController
        What is written down.
    report : callable
        Takes an exception to the user: steps that cannot be written.
    folder : Path, optional
        Where to write; by default in the user's data.
    is_written : bool
        Whether there is to be a journal at all.

    Attributes
    ----------
    labels : napari.layers.Labels
        The layer that was written to when the journal began.
    """

    def __init__(
        self,
        controller: PromptController,
        report: Callable[[Exception], None],
        folder: Path | None = None,
        *,
        is_written: bool = True,
    ) -> None:
        self._controller = controller
        self._folder = folder
        self.labels = controller.labels_layer
        self._is_saved = True
        annotator = controller.annotator
        self.stepped: Any = annotator.stepped
        self.objects_changed: Any = annotator.objects_changed
        annotator.stepped.connect(self._on_step)
        self._journal: Journal | None = None
        if is_written:
            self._journal = Journal(self, folder)
            self._journal.failed.connect(report)

    @property
    def objects(self) -> ObjectTable:
        """What is known of the objects in `labels`."""
        return self._controller.annotator.objects

    def snapshot(self) -> AnnotationState:
        """Return the annotation as it stands; the journal begins with it."""
        return state_of(self._controller)

    def mark_saved(self) -> None:
        """Take note that everything so far is in a file of the user's."""
        self._is_saved = True

    def offers(self) -> list[JournalInfo]:
        """Find what was left behind of this image, the newest first."""
        return find_unfinished(self._controller.source.image_identity, self._folder)

    def restore(self, info: JournalInfo) -> tuple[str, ...]:
        """Take over what was left behind; returns what the user should know of it.

        Raises
        ------
        AnnotationFileError
            If it cannot be read.
        LabelsError
            If the labels layer cannot take it; nothing has changed then.
        """
        found = recover(info.path)
        take_over(self._controller, found.state)
        # Both are on disk for a moment; a journal of what was taken over comes first.
        self.write_whole()
        discard_journal(info.path)
        return found.notices

    def write_whole(self) -> None:
        """Write everything now, not only what changes from here on.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        if self._journal is not None:
            self._journal.rebase()
            self._is_saved = False

    def close(self) -> Path | None:
        """Stop writing; returns the journal if it holds what is in no file."""
        annotator = self._controller.annotator
        annotator.stepped.disconnect(self._on_step, missing_ok=True)
        if self._journal is None:
            return None
        path = None if self._is_saved else self._journal.path
        self._journal.close(is_clean=self._is_saved)
        return path

    def _on_step(self, *_: Any) -> None:
        self._is_saved = False
