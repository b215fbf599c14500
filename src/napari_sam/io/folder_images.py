# SPDX-License-Identifier: Apache-2.0
"""Which files of a folder are images to annotate, and what their results are called."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from napari_sam.errors import ImageError
from napari_sam.io.images import IMAGE_SUFFIXES

LABELS_ENDING = "_labels.tif"
ANNOTATION_ENDING = ".sam.json"
# How other programs, and our own command line, name the labels of an image.
_RESULT_STEM = re.compile(r"(?:_partial)?_(?:labels?|masks?)$")


@dataclass(frozen=True, slots=True)
class FolderImage:
    """One image of a folder.

    Attributes
    ----------
    name : str
        File name; unique among the images of a project.
    path : Path
    labels, annotation : Path
        Where its label image and its annotation file go.
    """

    name: str
    path: Path
    labels: Path
    annotation: Path

    @property
    def stem(self) -> str:
        """What the names of the results begin with."""
        return self.labels.name.removesuffix(LABELS_ENDING)


def find_image_files(
    source: str | Path | Sequence[str | Path], pattern: str
) -> tuple[list[Path], list[str]]:
    """List images in natural order: ``cell2`` before ``cell10``.

    Parameters
    ----------
    source : path or sequence of paths
        A folder, or image files.
    pattern : str
        What the names in a folder have to look like, for instance ``"*.tif"``.

    Returns
    -------
    files : list of Path
    missing : list of str
        One sentence for each file of a sequence that is not there.

    Raises
    ------
    ImageError
        If there is no such folder, or no image is left.
    """
    if not isinstance(source, (str, Path)):
        files = [Path(path) for path in source]
        missing = [f"There is no file {path}." for path in files if not path.is_file()]
        files = [path for path in files if path.is_file()]
        if not files:
            msg = "None of the files is there: " + " ".join(missing or ["none named."])
            raise ImageError(msg)
        return files, missing
    folder = Path(source)
    try:
        entries = [path for path in folder.iterdir() if path.is_file()]
    except NotADirectoryError as error:
        msg = f"{folder} is a file. Choose the folder that the images are in."
        raise ImageError(msg) from error
    except OSError as error:
        msg = f"Cannot list {folder}: {error.strerror or error}. Choose another folder."
        raise ImageError(msg) from error
    images = [
        path
        for path in entries
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]
    stems = {file_stem(path) for path in images}
    files = [
        path
        for path in images
        if fnmatch(path.name, pattern) and not _is_result(path, stems)
    ]
    if not files:
        wanted = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        named = "" if pattern == "*" else f" whose name fits {pattern!r}"
        msg = (
            f"{folder} holds no image{named}. Choose a folder with images of one of "
            f"the formats {wanted}."
        )
        raise ImageError(msg)
    return sorted(files, key=natural_key), []


def place_results(
    files: Iterable[Path], folder: Path, known_stems: Mapping[str, str]
) -> tuple[FolderImage, ...]:
    """Name the results of each image; no two share a name.

    Parameters
    ----------
    files : iterable of Path
        Images.
    folder : Path
        Where the results go.
    known_stems : mapping of str to str
        By file name, what the results of earlier sessions are called.

    Raises
    ------
    ImageError
        If two images have the same file name, or an image would be replaced by the
        labels of another one.
    """
    files = list(files)
    by_name: dict[str, Path] = {}
    for path in files:
        if path.name in by_name:
            msg = (
                f"{by_name[path.name]} and {path} have the same name, so their results "
                "would be mixed up. Annotate their folders one after the other."
            )
            raise ImageError(msg)
        by_name[path.name] = path
    stems = {name: known_stems[name] for name in by_name if known_stems.get(name)}
    for name, path in by_name.items():
        if name not in stems:
            stem = file_stem(path)
            stems[name] = path.name if stem in stems.values() else stem
    images = tuple(
        FolderImage(
            name,
            path,
            folder / f"{stems[name]}{LABELS_ENDING}",
            folder / f"{stems[name]}{ANNOTATION_ENDING}",
        )
        for name, path in by_name.items()
    )
    originals = {path.resolve() for path in files}
    for image in images:
        if image.labels.resolve() in originals:
            msg = (
                f"The labels of {image.name} would replace the image {image.labels}. "
                "Choose another output folder."
            )
            raise ImageError(msg)
    return images


def natural_key(path: Path) -> tuple[list[str | int], str]:
    """Sort key in which numbers count as numbers."""
    parts = re.split(r"(\d+)", path.name.casefold())
    # Text and digits take turns, so like is compared with like.
    keyed = [int(p) if i % 2 else p for i, p in enumerate(parts)]
    return keyed, path.name


def file_stem(path: Path) -> str:
    """Return the name without its extension, ``.ome`` included."""
    return path.stem.removesuffix(".ome")


def _is_result(path: Path, stems: set[str]) -> bool:
    """Whether a file is the labels of an image beside it, and no image itself."""
    stem = file_stem(path)
    source = _RESULT_STEM.sub("", stem)
    return source != stem and source in stems
