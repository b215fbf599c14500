# SPDX-License-Identifier: Apache-2.0
"""Takes one viewer through the images of a folder.

Every move saves first, then reads the other image, then saves again what was changed
meanwhile, and only then exchanges the layers. If anything fails on the way, the present
image stays open with everything in it. Only layers that were made here are removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from psygnal import Signal

from napari_sam._bridge.annotation_record import state_of
from napari_sam._bridge.folder_ahead import ReadAhead
from napari_sam._bridge.folder_files import FolderFiles
from napari_sam._bridge.folder_image import make_images, open_content, show
from napari_sam._bridge.folder_snapshot import restore_known, take_snapshot
from napari_sam._bridge.folder_view import carried_view, stored_view
from napari_sam._bridge.label_pyramid import finest
from napari_sam.errors import ImageError, NapariSamError
from napari_sam.io.folder_state import ImageState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_sam._bridge.controller import PromptController
    from napari_sam._bridge.folder_image import FileContent, OpenImage
    from napari_sam._bridge.model_segmenter import ModelSpec
    from napari_sam._bridge.sessions import ViewerSession
    from napari_sam.io.folder_images import FolderImage
    from napari_sam.io.folder_project import FolderProject


class FolderSession:
    """One image of a folder open at a time, in one viewer.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    session : ViewerSession
        The viewer's session; its threads do the reading, writing and embedding.
    project : FolderProject
    model : callable
        Says which model to prompt with.
    leftover : OpenImage, optional
        What a folder that was closed has left in the viewer: it makes room for the
        first image of this one.

    Attributes
    ----------
    project : FolderProject
    ahead : ReadAhead
        The image that is kept ready.
    problems : dict of str to str
        Why images could not be opened, by name.
    changed : Signal()
        The image that is open, a state, or what is going on is another.
    message_changed : Signal(str)
        One line for the user.
    """

    changed: ClassVar[Signal] = Signal()
    message_changed: ClassVar[Signal] = Signal(str)

    def __init__(
        self,
        viewer: ViewerModel,
        session: ViewerSession,
        project: FolderProject,
        model: Callable[[], ModelSpec],
        leftover: OpenImage | None = None,
    ) -> None:
        self.project = project
        self.ahead = ReadAhead(session, project)
        self.problems: dict[str, str] = {}
        self._viewer = viewer
        self._session = session
        self._model = model
        self._open: OpenImage | None = None
        self._leftover = leftover
        self._task = ""
        self._news: list[str] = []
        self._is_closed = False
        self._files = FolderFiles(session.errands, project)
        self._files.saved.connect(self._on_saved)
        session.controller_changed.connect(self._on_controller)

    @property
    def opened(self) -> OpenImage | None:
        """The image in the viewer, None before the first one."""
        return self._open

    @property
    def index(self) -> int | None:
        """Its place in the list, None if there is none or its file has gone."""
        return None if self._open is None else self.project.index_of(self._name)

    @property
    def task(self) -> str:
        """What is going on: "reading", "saving", or empty."""
        return self._task

    @property
    def is_changed(self) -> bool:
        """Whether something would be written by a save."""
        return (
            self._open is not None
            and take_snapshot(self._open).fingerprint != self._open.saved
        )

    def resume(self) -> None:
        """Open the image to go on with."""
        self.open(self.project.resume_index())

    def open(self, index: int, step: int = 1) -> None:
        """Save the present image and open another one.

        Parameters
        ----------
        index : int
            Its place in the list.
        step : int
            Where to go on if it cannot be read: 1 for the next, -1 for the one before.
        """
        if self._task or self._is_closed:
            return
        if not 0 <= index < len(self.project):
            where = "last" if step > 0 else "first"
            self._tell(f"This is the {where} image.")
            return
        if self._open is not None and index == self.index:
            return
        entry = self.project.images[index]
        self._save(then=lambda: self._read(entry, step))

    def next(self) -> None:
        """Open the image after this one."""
        self.open(self._place() + 1)

    def previous(self) -> None:
        """Open the image before this one."""
        self.open(self._place() - 1, step=-1)

    def save(self) -> None:
        """Write labels and annotation now."""
        if not self._task and self._open is not None:
            self._save(
                then=lambda: self._tell(f"{self._name} is saved."),
                is_forced=True,
            )

    def done_and_next(self) -> None:
        """Save, call the image done, and open the next one that is not."""
        opened = self._open
        if self._task or opened is None:
            return

        def go_on() -> None:
            self._attempt(lambda: self.project.mark_done(opened.entry))
            self.changed.emit()
            self._open_undone()

        self._save(then=go_on, is_forced=True)

    def mark_undone(self) -> None:
        """Call the open image not done after all."""
        if self._open is not None:
            entry = self._open.entry
            self._attempt(lambda: self.project.mark_done(entry, is_done=False))
            self.changed.emit()

    def refresh(self) -> None:
        """Look at the folder again; raises ImageError if no image is left."""
        self.project.refresh()
        self.problems.clear()
        self.changed.emit()
        self._look_ahead()

    def save_now(self) -> bool:
        """Write what is unsaved before returning; for the moment before an end.

        Returns
        -------
        bool
            Whether everything is on disk now. If not, the user was told.
        """
        try:
            copies = [] if self._open is None else self._files.save_now(self._open)
        except NapariSamError as error:
            self._tell_unsaved(error)
            return False
        if copies:
            self._tell(_kept(copies))
        return True

    def close(self) -> bool:
        """Save and let go; layers stay in the viewer.

        Returns
        -------
        bool
            Whether it was closed. It stays open if saving fails.
        """
        if self._is_closed:
            return True
        if not self.save_now():
            return False
        self.release()
        return True

    def release(self) -> None:
        """Let go without saving."""
        if not self._is_closed:
            self._is_closed = True
            self.ahead.close()
            self._files.forget()
            self._session.controller_changed.disconnect(self._on_controller)

    @property
    def _name(self) -> str:
        return "" if self._open is None else self._open.entry.name

    def _place(self) -> int:
        """Place of the open image; of one that has gone, where it would be."""
        index = self.index
        return self.project.resume_index() - 1 if index is None else index

    def _open_undone(self) -> None:
        """Open the next image that is neither done nor unreadable."""
        images, start = self.project.images, self._place() + 1
        for index in [*range(start, len(images)), *range(start)]:
            image = images[index]
            is_done = self.project.state(image) is ImageState.DONE
            if not is_done and image.name not in self.problems:
                self.open(index)
                return
        self._tell("All images are done.")

    def _save(self, then: Callable[[], None], *, is_forced: bool = False) -> None:
        """Write what has changed, then go on; stay here if it cannot be written."""
        opened = self._open
        if opened is None:
            then()
            return

        def saved(copies: list[Path]) -> None:
            self._enter("")
            self._news += [_kept(copies)] if copies else []
            then()

        def failed(error: Exception) -> None:
            self._enter("")
            self._tell_unsaved(error)

        self._enter("saving")
        self._files.save(opened, saved, failed, is_forced=is_forced)

    def _tell_unsaved(self, error: Exception) -> None:
        self._session.report(error)
        self._tell(f"{self._name} could not be saved and stays open: {error}")
        self.changed.emit()

    def _read(self, entry: FolderImage, step: int) -> None:
        ready = self.ahead.take(entry)

        def read(content: FileContent) -> None:
            self._enter("")
            self.problems.pop(entry.name, None)
            images = make_images(content.pixels) if ready is None else ready.images
            # The user may have gone on working while the file was read.
            self._save(then=lambda: self._exchange(content, images))

        def failed(error: Exception) -> None:
            self._enter("")
            self._session.report(error)
            if isinstance(error, ImageError):
                self._skip(entry, error, step)
            else:
                self._tell(f"{entry.name} could not be opened: {error}")

        self._enter("reading")
        pixels = None if ready is None else ready.pixels
        self._files.read(entry, pixels, read, failed)

    def _skip(self, entry: FolderImage, error: Exception, step: int) -> None:
        """Go on to the neighbour of an image that cannot be read."""
        self.problems[entry.name] = str(error)
        self.changed.emit()
        index = self.project.index_of(entry.name)
        following = None if index is None else index + step
        if following is None or not 0 <= following < len(self.project):
            self._tell(f"{entry.name} was skipped: {error}")
            return
        self.open(following, step)

    def _exchange(self, content: FileContent, images: list[Image]) -> None:
        """Put the layers of one image in the place of another's."""
        before, self._open = self._open or self._leftover, None
        self._leftover = None
        self._session.stop_prompts()
        opened = open_content(content, images)
        show(self._viewer, opened, before)
        self._open = opened
        self._attempt(
            lambda: self._session.start_prompts(
                opened.image,
                self._model(),
                opened.labels,
                stored_view(content.annotation) or carried_view(before),
                opened.images[1:],
            )
        )
        opened.saved = take_snapshot(opened).fingerprint
        self._attempt(lambda: self.project.set_current(content.entry))
        place = self.project.index_of(content.entry.name)
        number = "" if place is None else f" ({place + 1} of {len(self.project)})"
        texts = (f"{content.entry.name}{number}", *content.pixels.notices)
        self._tell(" ".join((*texts, *content.notices)))
        self.changed.emit()
        self._look_ahead()

    def _look_ahead(self) -> None:
        index = self.index
        if index is None or self._is_closed:
            return
        for entry in self.project.images[index + 1 :]:
            if entry.name not in self.problems:
                self.ahead.prepare(entry, carried_view(self._open))
                return

    def _on_controller(self, controller: PromptController | None) -> None:
        """Give whoever prompts our image what is known of its objects."""
        opened = self._open
        if opened is None or controller is None or controller.image != opened.image:
            return
        known, before = opened.content.annotation, opened.controller
        if before is not None:
            known = state_of(before)
        opened.controller = controller
        labels = np.asarray(finest(controller.labels_layer))
        restore_known(controller.annotator, known, labels)

    def _on_saved(self, opened: OpenImage) -> None:
        """Let the journal know that there is nothing to restore."""
        autosave, controller = self._session.autosave, self._session.controller
        if autosave is not None and controller is opened.controller is not None:
            autosave.mark_saved()

    def _tell(self, text: str) -> None:
        """Tell the user something, and what has happened on the way to it."""
        news, self._news = self._news, []
        self.message_changed.emit(" ".join((text, *news)))

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except NapariSamError as error:
            self._session.report(error)

    def _enter(self, task: str) -> None:
        self._task = task
        self.changed.emit()


def _kept(copies: list[Path]) -> str:
    """Tell where what was in replaced files is now."""
    names = " and ".join(copy.name for copy in copies)
    if len(copies) == 1:
        return f"The older file is kept as {names}."
    return f"The older files are kept as {names}."
