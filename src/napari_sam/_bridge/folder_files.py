# SPDX-License-Identifier: Apache-2.0
"""Reads and writes the files of a folder's images, in the thread for errands."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal

from napari_sam._bridge.folder_image import read_content
from napari_sam._bridge.folder_snapshot import take_snapshot, write_snapshot
from napari_sam.annotation.job import Priority

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_sam._bridge.folder_image import FileContent, OpenImage
    from napari_sam._bridge.folder_snapshot import Snapshot
    from napari_sam.annotation.ports import JobRunner
    from napari_sam.io.folder_images import FolderImage
    from napari_sam.io.folder_project import FolderProject
    from napari_sam.io.image_file import ImageFile


class FolderFiles:
    """One errand at a time: a newer one takes the place of an older one.

    Parameters
    ----------
    errands : JobRunner
        Runs them.
    project : FolderProject
        Where the images belong.

    Attributes
    ----------
    saved : Signal(OpenImage)
        Everything of an image is on disk now.
    """

    saved: ClassVar[Signal] = Signal(object)

    def __init__(self, errands: JobRunner, project: FolderProject) -> None:
        self._errands = errands
        self._project = project
        # Two folders of one viewer share its thread, not their errands.
        self._lane = f"folder-{id(self)}"

    def save(
        self,
        opened: OpenImage,
        then: Callable[[list[Path]], None],
        failed: Callable[[Exception], None],
        *,
        is_forced: bool = False,
    ) -> None:
        """Write an image's labels and annotation as they are now.

        Parameters
        ----------
        opened : OpenImage
            Whose.
        then : callable
            Called with the copies of replaced files: those of others, and our own if
            the labels are those of another layer now. At once, if nothing has changed
            since the last time.
        failed : callable
            Called with the error; the image counts as changed still.
        is_forced : bool
            Whether to write also what has not changed.
        """
        snapshot = take_snapshot(opened)
        if snapshot.fingerprint == opened.saved and not is_forced:
            then([])
            return

        def written(copies: list[Path]) -> None:
            self._mark(opened, snapshot)
            then(copies)

        is_other = snapshot.array is not opened.array
        self._errands.submit(
            lambda _: self._write(opened, snapshot, is_older_kept=is_other),
            priority=Priority.INTERACTIVE,
            lane=self._lane,
            on_result=written,
            on_error=failed,
        )

    def save_now(self, opened: OpenImage) -> list[Path]:
        """Write what has changed before returning; returns copies as `save`.

        Raises
        ------
        NapariSamError
            If it cannot be written.
        """
        snapshot = take_snapshot(opened)
        if snapshot.fingerprint == opened.saved:
            return []
        is_other = snapshot.array is not opened.array
        copies = self._write(opened, snapshot, is_older_kept=is_other)
        self._mark(opened, snapshot)
        return copies

    def read(
        self,
        entry: FolderImage,
        pixels: ImageFile | None,
        then: Callable[[FileContent], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Read the files of an image; of `pixels`, only what is missing."""
        self._errands.submit(
            lambda _: read_content(self._project, entry, pixels),
            priority=Priority.INTERACTIVE,
            lane=self._lane,
            on_result=then,
            on_error=failed,
        )

    def forget(self) -> None:
        """Let what is under way have no consequences."""
        self._errands.forget(self._lane)

    def _mark(self, opened: OpenImage, snapshot: Snapshot) -> None:
        opened.saved, opened.array = snapshot.fingerprint, snapshot.array
        # The user may have gone on working while the files were written.
        if take_snapshot(opened).fingerprint == opened.saved:
            self.saved.emit(opened)

    def _write(
        self, opened: OpenImage, snapshot: Snapshot, *, is_older_kept: bool
    ) -> list[Path]:
        return write_snapshot(
            self._project,
            opened.entry,
            opened.content.pixels,
            snapshot,
            is_older_kept=is_older_kept,
        )
