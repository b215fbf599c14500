# SPDX-License-Identifier: Apache-2.0
"""A folder of images that are annotated one after the other.

Beside the images, or in a folder of its own, lie the results: ``NAME_labels.tif`` and
``NAME.sam.json`` per image, and one file that says how far each image is. A file that
somebody else wrote is never replaced before a copy of it was made; one of our own is
copied if whoever writes says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import ImageError, LabelsError, OutputError
from napari_sam.io.backup import back_up, file_digest
from napari_sam.io.folder_images import FolderImage, find_image_files, place_results
from napari_sam.io.folder_state import STATE_FILE, FolderState, ImageState
from napari_sam.io.image_file import ImageFile
from napari_sam.io.images import read_image
from napari_sam.io.labels_tiff import MAX_PLANE_AXES, write_labels


class FolderProject:
    """The images of a folder, their results, and how far each of them is.

    Parameters
    ----------
    source : path or sequence of paths
        A folder, or image files in the order in which they are to be annotated.
    out_dir : path, optional
        Where results go; by default the folder, or the folder of the first file.
    pattern : str
        Which names of a folder are meant, for instance ``"*.tif"``.

    Attributes
    ----------
    folder : Path
        Where the results lie.
    images : tuple of FolderImage
    notices : list of str
        What the user should know, for instance that a file has gone.

    Raises
    ------
    ImageError
        If there is no image.
    OutputError
        If the folder for the results cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> Image.new("L", (8, 6)).save(folder / "cell.png")
    >>> project = FolderProject(folder)
    >>> [image.labels.name for image in project.images], project.resume_index()
    (['cell_labels.tif'], 0)
    """

    def __init__(
        self,
        source: str | Path | Sequence[str | Path],
        out_dir: str | Path | None = None,
        pattern: str = "*",
    ) -> None:
        self._source = source
        self._pattern = pattern
        files, missing = find_image_files(source, pattern)
        if out_dir is not None:
            self.folder = Path(out_dir)
        else:
            is_folder = isinstance(source, (str, Path))
            self.folder = Path(source) if is_folder else files[0].parent  # type: ignore[arg-type]
        self._state = FolderState(self.folder / STATE_FILE)
        self.notices = [*missing, *self._state.notices]
        self._present: set[str] = set()
        self.images: tuple[FolderImage, ...] = ()
        self._take(files)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def n_done(self) -> int:
        """Number of images that are done."""
        return sum(self.state(image) is ImageState.DONE for image in self.images)

    def refresh(self) -> None:
        """Look at the folders again: files may have come or gone.

        Raises
        ------
        ImageError
            If no image is left; the list stays as it was.
        """
        files, missing = find_image_files(self._source, self._pattern)
        self.notices = missing
        self._take(files)

    def index_of(self, name: str) -> int | None:
        """Place of an image in the list, None if it is not there any more."""
        names = [image.name for image in self.images]
        return names.index(name) if name in names else None

    def state(self, image: FolderImage) -> ImageState:
        """How far an image is, as far as its results are still there."""
        record = self._state[image.name]
        has_labels = image.labels.name in self._present
        if record.state is ImageState.DONE and has_labels:
            return ImageState.DONE
        if has_labels or image.annotation.name in self._present:
            return ImageState.STARTED
        return ImageState.TODO

    def resume_index(self) -> int:
        """Place of the image to go on with.

        That is the one that was open last, or, if it is done, the next one that is
        not. If all are done, the first.
        """
        start = self.index_of(self._state.current) or 0
        order = [*range(start, len(self.images)), *range(start)]
        undone = [i for i in order if self.state(self.images[i]) is not ImageState.DONE]
        return undone[0] if undone else 0

    def set_current(self, image: FolderImage) -> None:
        """Remember that an image was opened; raises OutputError."""
        self._state.set_current(image.name)

    def mark_done(self, image: FolderImage, *, is_done: bool = True) -> None:
        """Call an image finished, or not finished after all.

        Raises
        ------
        LabelsError
            If it has no labels file yet: write one first, empty if need be.
        OutputError
            If this cannot be written down.
        """
        if is_done and not image.labels.is_file():
            msg = f"{image.name} has no labels yet; save them before it is done."
            raise LabelsError(msg)
        record = self._state[image.name]
        state = ImageState.DONE if is_done else ImageState.STARTED
        self._state.change(image.name, replace(record, state=state, stem=image.stem))

    def read_image(self, image: FolderImage) -> ImageFile:
        """Read the pixels.

        Raises
        ------
        ImageError
            If the file cannot be read, or has more axes than labels can be saved with.
        """
        found = read_image(image.path)
        if len(found.plane_axes) > MAX_PLANE_AXES:
            msg = (
                f"{image.path} has the axes {found.axes}. Labels can be saved for at "
                f"most {MAX_PLANE_AXES} axes beside rows, columns and channels: split "
                "the file."
            )
            raise ImageError(msg)
        return found

    def read_labels(
        self, image: FolderImage, pixels: ImageFile
    ) -> NDArray[np.uint32] | None:
        """Read the labels that are there, whoever made them.

        Parameters
        ----------
        image : FolderImage
            One of `images`.
        pixels : ImageFile
            What `read_image` gave.

        Returns
        -------
        (..., H, W) uint32 array or None
            None if there is no file.

        Raises
        ------
        ImageError, LabelsError
            If the file is damaged, is no label image or does not fit the image. It will
            be kept as a copy if labels are written.
        """
        if not image.labels.is_file():
            return None
        found = read_image(image.labels, as_labels=True)
        _require_fit(found.data.shape, pixels, str(image.labels))
        return _whole_numbers(found.data, image.labels)

    def write_labels(
        self,
        image: FolderImage,
        labels: NDArray[np.integer],
        pixels: ImageFile,
        *,
        is_older_kept: bool = False,
    ) -> Path | None:
        """Write the label image; the image counts as started from then on.

        Parameters
        ----------
        image : FolderImage
            One of `images`.
        labels : (..., H, W) integer array
            0 is background.
        pixels : ImageFile
            What `read_image` gave: axes and pixel sizes are taken over.
        is_older_kept : bool
            Whether to copy also an older file of ours: these labels do not go on from
            it.

        Returns
        -------
        Path or None
            The copy of the older file, if one was made.

        Raises
        ------
        LabelsError
            If the array is no label image of this image; nothing is written then.
        OutputError
            If it cannot be written; an older file stays as it was.
        """
        _require_fit(labels.shape, pixels, f"The array of labels for {image.name}")
        return self._write(
            image,
            image.labels,
            lambda path: write_labels(
                path,
                labels,
                axes=pixels.plane_axes + "YX",
                pixel_size_um=pixels.pixel_size_um,
                z_step_um=pixels.z_step_um,
            ),
            is_older_kept=is_older_kept,
        )

    def write_annotation(
        self,
        image: FolderImage,
        write: Callable[[Path], object],
        *,
        is_older_kept: bool = False,
    ) -> Path | None:
        """Let `write` make the annotation file; otherwise as `write_labels`."""
        return self._write(image, image.annotation, write, is_older_kept=is_older_kept)

    def _write(
        self,
        image: FolderImage,
        path: Path,
        write: Callable[[Path], object],
        *,
        is_older_kept: bool,
    ) -> Path | None:
        copy = None
        record = self._state[image.name]
        if path.exists() and (
            is_older_kept or file_digest(path) != record.written.get(path.name)
        ):
            copy = back_up(path)
        write(path)
        self._present.add(path.name)
        state = record.state
        if state is ImageState.TODO:
            state = ImageState.STARTED
        written = {path.name: file_digest(path)}
        self._state.change(
            image.name,
            replace(record, state=state, stem=image.stem, written=written),
        )
        return copy

    def _take(self, files: list[Path]) -> None:
        known = {path.name: self._state[path.name].stem for path in files}
        self.images = place_results(files, self.folder, known)
        try:
            self._present = {path.name for path in self.folder.iterdir()}
        except OSError as error:
            msg = f"Cannot list {self.folder}: {error.strerror or error}."
            raise OutputError(msg) from error


def _require_fit(shape: tuple[int, ...], pixels: ImageFile, what: str) -> None:
    """Raise LabelsError unless labels have the planes, rows and columns of an image."""
    wanted = (*pixels.stack_shape, *pixels.plane_shape)
    if tuple(shape) != wanted:
        msg = (
            f"{what} ({_size(shape)}) does not fit {pixels.path.name} "
            f"({_size(wanted)}). Labels need the same planes, rows and columns."
        )
        raise LabelsError(msg)


def _whole_numbers(data: NDArray[Any], path: Path) -> NDArray[np.uint32]:
    """Take numbers as ids; some programs store ids as real numbers."""
    is_whole = data.dtype.kind in "biu" or bool(
        np.isfinite(data).all() and (data == np.round(data)).all()
    )
    low, high = data.min(initial=0), data.max(initial=0)
    if not is_whole or low < 0 or high >= 2**32:
        msg = (
            f"{path} is no label image: it holds {data.dtype} values from {low} to "
            f"{high}. Labels are whole numbers from 0 to {2**32 - 1}."
        )
        raise LabelsError(msg)
    return data.astype(np.uint32)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
