# SPDX-License-Identifier: Apache-2.0
"""Which files a command reads, and where their results go."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from napari_sam.errors import ImageError, OutputError
from napari_sam.io.images import IMAGE_SUFFIXES, check_image_file
from napari_sam.io.open_image import FOLDER_SUFFIXES, HDF5_SUFFIXES, split_path
from napari_sam.io.zarr_images import is_zarr

_LABELS, _TABLE, _PARTIAL = "_labels.tif", "_objects.csv", "_partial"
_LARGE_LABELS = "_labels.zarr"
_FILE_SUFFIXES = IMAGE_SUFFIXES | HDF5_SUFFIXES


class Existing(StrEnum):
    """What to do where a result is there already."""

    ERROR = "error"
    SKIP = "skip"
    OVERWRITE = "overwrite"


@dataclass(frozen=True, slots=True)
class Work:
    """One input with the two files made from it.

    Attributes
    ----------
    source : Path
        A file or zarr folder, with ``::`` and a place in it for one array of several.
    labels : Path
        TIFF file of the labels.
    table : Path
        Table of the objects.
    """

    source: Path
    labels: Path
    table: Path

    @property
    def large_labels(self) -> Path:
        """Zarr folder of the labels, in place of `labels`, of an image past memory."""
        return self.labels.with_name(
            self.labels.name.removesuffix(_LABELS) + _LARGE_LABELS
        )

    @property
    def tiles(self) -> Path:
        """Folder of the finished tiles until the result is complete."""
        return self.labels.with_name(f"{self.labels.name.removesuffix(_LABELS)}_tiles")

    @property
    def is_cut_off(self) -> bool:
        """Whether a run in tiles was ended when its table was there, but no labels."""
        has_labels = self.labels.exists() or self.large_labels.exists()
        return self.tiles.is_dir() and self.table.exists() and not has_labels

    @property
    def is_done(self) -> bool:
        """Whether labels and table are there."""
        has_labels = self.labels.exists() or self.large_labels.exists()
        # One without the other is what a run leaves that was cut off between.
        return has_labels and self.table.exists()

    @property
    def partial(self) -> "Work":
        """The same work with names that say that some planes are missing."""
        labels, table = (
            path.with_name(path.name.removesuffix(ending) + _PARTIAL + ending)
            for path, ending in ((self.labels, _LABELS), (self.table, _TABLE))
        )
        return Work(self.source, labels, table)


def find_inputs(words: Sequence[Path]) -> list[Path]:
    """Images that the user means: files, folders, patterns the shell left alone.

    A zarr folder is one image.

    Raises
    ------
    ImageError
        If a file is missing or empty, or a folder or pattern holds no image.
    """
    found: list[Path] = []
    for word in words:
        if is_zarr(word):
            matches = [word]
        elif word.is_dir():
            matches = _images_in(word)
        elif not word.exists() and any(sign in word.name for sign in "*?["):
            matches = sorted(word.parent.glob(word.name))
        else:
            # What is named is checked at once; of many, bad ones are told at the end.
            file, _ = split_path(word)
            if not is_zarr(file):
                check_image_file(file)
            matches = [word]
        if not matches:
            endings = ", ".join(sorted(_FILE_SUFFIXES | FOLDER_SUFFIXES))
            msg = f"{word} holds no image ({endings})."
            raise ImageError(msg)
        found += matches
    return found


def plan_outputs(inputs: Sequence[Path], out: Path, existing: Existing) -> list[Work]:
    """Name the results and refuse, before any work, what would lose a file.

    Raises
    ------
    OutputError
        If two inputs would be written to one file, or a result is there already and
        ``existing`` is ``error``.
    """
    plan: dict[str, Work] = {}
    for source in inputs:
        stem = _stem(source)
        if stem in plan:
            msg = (
                f"{plan[stem].source} and {source} would both be written to "
                f"{stem}_labels.tif. Segment them into different folders."
            )
            raise OutputError(msg)
        plan[stem] = Work(source, out / f"{stem}{_LABELS}", out / f"{stem}{_TABLE}")
    works = list(plan.values())
    if existing is Existing.OVERWRITE:
        return works
    if existing is Existing.SKIP:
        return [work for work in works if not work.is_done]
    results = (
        (work.labels, work.large_labels, work.table)
        for work in works
        if not work.is_cut_off
    )
    for path in (path for paths in results for path in paths):
        if path.exists():
            msg = (
                f"{path} is there already. Choose another folder, or --existing skip "
                "or overwrite."
            )
            raise OutputError(msg)
    return works


def check_writable(folder: Path) -> None:
    """Make the folder and write a byte, to fail before the work and not after it.

    Raises
    ------
    OutputError
        If that does not succeed.
    """
    from napari_sam.io.atomic import written_atomically

    probe = folder / ".napari-sam-probe"
    try:
        with written_atomically(probe) as temporary:
            temporary.write_bytes(b"0")
    except OutputError as error:
        raise OutputError(str(error).replace(str(probe), str(folder))) from error
    probe.unlink(missing_ok=True)


def check_writable_file(path: Path) -> None:
    """Check that a file can be made, or replaced, before the work and not after it.

    Raises
    ------
    OutputError
        If it is a folder, or its folder cannot be written.
    """
    if path.is_dir():
        msg = f"Cannot write {path}: it is a folder. Name a file in it."
        raise OutputError(msg)
    check_writable(path.parent)


def _images_in(folder: Path) -> list[Path]:
    paths = [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and _looks_like_image(path)
    ]
    # Results of an earlier run in the same folder are no new images.
    stems = {_stem(path) for path in paths}
    return [path for path in paths if _source_stem(path) not in stems - {path.stem}]


def _looks_like_image(path: Path) -> bool:
    ending = path.suffix.lower()
    return ending in _FILE_SUFFIXES or (ending in FOLDER_SUFFIXES and is_zarr(path))


def _stem(source: Path) -> str:
    """Return what the names of the results begin with."""
    file, inside = split_path(source)
    stem = file.stem.removesuffix(".ome")
    return f"{stem}_{inside.replace('/', '_')}" if inside else stem


def _source_stem(path: Path) -> str:
    """Name of the image that a file of labels was made from, else its own."""
    stem = path.stem.removesuffix("_labels")
    return stem if stem == path.stem else stem.removesuffix(_PARTIAL)
