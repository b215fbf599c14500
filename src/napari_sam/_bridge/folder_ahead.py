# SPDX-License-Identifier: Apache-2.0
"""The next image of a folder, read and embedded while the user works on this one.

Only one image is kept ahead. Reading happens in the thread for errands; embedding in
the model's thread with the lowest priority, where it gives way to every click. What the
encoder made is kept by the model itself under the hash of what it was shown, so the
image that is opened later finds it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal

from napari_sam._bridge.folder_image import first_plane, make_images
from napari_sam._bridge.image_source import LayerImageSource
from napari_sam._bridge.model_holder import LoadedModel
from napari_sam.annotation.job import Priority
from napari_sam.errors import NapariSamError

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_sam._bridge.model_holder import ModelStatus
    from napari_sam._bridge.sessions import ViewerSession
    from napari_sam.annotation.job import Job
    from napari_sam.annotation.ports import Segmenter
    from napari_sam.io.folder_images import FolderImage
    from napari_sam.io.folder_project import FolderProject
    from napari_sam.io.image_file import ImageFile
    from napari_sam.structures.view_settings import ViewSettings


@dataclass(frozen=True, eq=False)
class AheadImage:
    """An image that was read ahead.

    Attributes
    ----------
    entry : FolderImage
    stamp : tuple of int
        Size and time of the file: whether it was changed since.
    pixels : ImageFile
    images : list of Image
        Its layers, in no viewer yet.
    view : ViewSettings or None
        How the model is shown it.
    """

    entry: FolderImage
    stamp: tuple[int, int]
    pixels: ImageFile
    images: list[Image]
    view: ViewSettings | None


class ReadAhead:
    """Keeps one image ready.

    Parameters
    ----------
    session : ViewerSession
        Its threads and its model.
    project : FolderProject
        Where images come from.

    Attributes
    ----------
    ready : Signal(FolderImage)
        The image is read, and embedded if there is a model.
    """

    ready: ClassVar[Signal] = Signal(object)

    def __init__(self, session: ViewerSession, project: FolderProject) -> None:
        self._session = session
        self._project = project
        self._lane = f"folder-ahead-{id(self)}"
        self._wanted: FolderImage | None = None
        self._image: AheadImage | None = None
        self._job: Job | None = None
        session.models.changed.connect(self._on_model)

    def prepare(self, entry: FolderImage, view: ViewSettings | None = None) -> None:
        """Read and embed an image in the background; failures show when it is opened.

        Another image that was kept ready is dropped.

        Parameters
        ----------
        entry : FolderImage
            Which.
        view : ViewSettings, optional
            How the model will be shown it.
        """
        if entry == self._wanted:
            return
        self.drop()
        self._wanted = entry

        def read(_: object) -> tuple[tuple[int, int], ImageFile]:
            stamp = _stamp(entry)
            return stamp, self._project.read_image(entry)

        self._session.errands.submit(
            read,
            priority=Priority.PREFETCH,
            lane=self._lane,
            on_result=lambda found: self._receive(entry, view, *found),
            on_error=lambda _: None,
        )

    def take(self, entry: FolderImage) -> AheadImage | None:
        """Hand the image out if it is this one and its file is still the same."""
        image = self._image
        if image is None or image.entry != entry or _stamp(entry) != image.stamp:
            return None
        # An embedding half made would be made twice: the annotator asks for it now.
        self.drop()
        return image

    def drop(self) -> None:
        """Forget the image and stop working on it."""
        if self._job is not None:
            self._job.cancel()
            self._job = None
        self._wanted = self._image = None
        self._session.errands.forget(self._lane)
        self._session.runner.forget(self._lane)

    def close(self) -> None:
        """Drop everything and let go of the session."""
        self.drop()
        self._session.models.changed.disconnect(self._on_model)

    def _receive(
        self,
        entry: FolderImage,
        view: ViewSettings | None,
        stamp: tuple[int, int],
        pixels: ImageFile,
    ) -> None:
        self._image = AheadImage(entry, stamp, pixels, make_images(pixels), view)
        status = self._session.models.status
        if isinstance(status, LoadedModel):
            self._embed(self._image, status.segmenter)
        else:
            self.ready.emit(entry)

    def _on_model(self, status: ModelStatus) -> None:
        """Embed anew: what another model made is of no use."""
        if isinstance(status, LoadedModel) and self._image is not None:
            self._embed(self._image, status.segmenter)

    def _embed(self, image: AheadImage, segmenter: Segmenter) -> None:
        try:
            source = LayerImageSource(image.images[0], image.view, image.images[1:])
        except NapariSamError:  # channels of this image are others: it is told later
            return
        plane = first_plane(image.pixels)
        self._job = self._session.runner.submit(
            lambda context: segmenter.embed(
                source.plane_pixels(plane), cancel=context.cancel
            ),
            priority=Priority.PREFETCH,
            lane=self._lane,
            on_result=lambda _: self.ready.emit(image.entry),
            # The same error comes again, and is told, when the image is open.
            on_error=lambda _: None,
        )


def _stamp(entry: FolderImage) -> tuple[int, int]:
    """Size and time of an image file; zeros if it has gone."""
    try:
        found = entry.path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns
