# SPDX-License-Identifier: Apache-2.0
"""Images with the label images that belong to them."""

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import ImageError, LabelsError, SettingsError
from napari_sam.io.images import IMAGE_SUFFIXES, read_image

_LABEL_ENDINGS = ("", "_labels", "_label", "_masks", "_mask")


@dataclass(frozen=True, slots=True)
class Pair:
    """An image file and its label file; ``name`` is the image's without extension."""

    name: str
    image: Path
    labels: Path


def find_pairs(
    images: str | Path, labels: str | Path, names: Sequence[str] | None = None
) -> list[Pair]:
    """Match the images of a folder with the label images of another, by name.

    ``NAME.png`` belongs to ``NAME.tif``, ``NAME_labels.tif``, ``NAME_masks.tif``, ...

    Parameters
    ----------
    images, labels : str or Path
        Two folders (they may be the same), or two files.
    names : sequence of str, optional
        Only these, in this order; without it all images that have labels, sorted.

    Raises
    ------
    ImageError
        If a folder is missing, a named image or its labels are, or nothing matches.
    """
    images, labels = Path(images), Path(labels)
    if images.is_file() and labels.is_file() and names is None:
        return [Pair(_stem(images), images, labels)]
    found_labels = _by_stem(labels)
    found_images = _by_stem(images)
    if names is None:
        wanted = sorted(
            name
            for name, image in found_images.items()
            if _label_of(name, image, found_labels)
        )
    else:
        wanted = list(names)
    pairs = []
    for name in wanted:
        image = found_images.get(name)
        label = None if image is None else _label_of(name, image, found_labels)
        if image is None or label is None:
            folder = images if image is None else labels
            msg = f"{folder} holds no file for {name!r}, which the list asks for."
            raise ImageError(msg)
        pairs.append(Pair(name, image, label))
    if not pairs:
        msg = (
            f"No image in {images} has labels in {labels}. Labels must have the "
            f"image's name, with or without {', '.join(_LABEL_ENDINGS[1:])}."
        )
        raise ImageError(msg)
    return pairs


def read_pair(
    pair: Pair, *, axes: str | None = None
) -> Iterator[tuple[str, NDArray[Any], NDArray[np.integer]]]:
    """Read both files; one triple of name, image and labels per plane.

    Raises
    ------
    ImageError, LabelsError
        If a file cannot be read or the two do not fit together.
    """
    image = read_image(pair.image, axes=axes)
    labels = read_image(pair.labels, as_labels=True)
    for notice in (*image.notices, *labels.notices):
        warnings.warn(notice, stacklevel=2)
    is_flat = labels.n_channels == 1
    if not is_flat or not np.issubdtype(labels.data.dtype, np.integer):
        msg = (
            f"{pair.labels} is no label image: it must hold one whole number per "
            f"pixel, not {labels.data.dtype} with {labels.n_channels} channels."
        )
        raise LabelsError(msg)
    same_planes = image.stack_shape == labels.stack_shape
    if not same_planes or image.plane_shape != labels.plane_shape:
        msg = (
            f"{pair.labels} ({_size(labels.data.shape)}) does not fit {pair.image} "
            f"({_size(image.data.shape)}). Both need the same planes, rows and columns."
        )
        raise LabelsError(msg)
    for (index, plane), (_, truth) in zip(image.planes(), labels.planes(), strict=True):
        where = ",".join(
            f"{a}={i}" for a, i in zip(image.plane_axes, index, strict=True)
        )
        yield (f"{pair.name}[{where}]" if where else pair.name), plane, truth


def read_names(source: str | Path) -> list[str]:
    """Read a list of image names.

    Parameters
    ----------
    source : str or Path
        A text file with one name a line, or a JSON file with a list; ``FILE:A/B`` takes
        the list under the keys A, then B of a JSON object.

    Raises
    ------
    SettingsError
        If the file or the keys are missing or there is no list of names.
    """
    path, keys = _split_source(str(source))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"Cannot read the list of names {path}: {error}."
        raise SettingsError(msg) from error
    if path.suffix.lower() != ".json" and not keys:
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        found: Any = json.loads(text)
    except ValueError as error:
        msg = f"{path} is no JSON file ({error})."
        raise SettingsError(msg) from error
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            known = ", ".join(found) if isinstance(found, dict) else "none"
            msg = f"{path} has no key {key!r} there. Known keys: {known}."
            raise SettingsError(msg)
        found = found[key]
    if not isinstance(found, list) or not all(isinstance(n, str) for n in found):
        hint = f" Keys: {', '.join(found)}." if isinstance(found, dict) else ""
        msg = f"{source} is no list of names. Give FILE.json:KEY/KEY.{hint}"
        raise SettingsError(msg)
    return found


def _split_source(source: str) -> tuple[Path, list[str]]:
    """Split ``FILE:A/B``; a colon may also belong to the file's own name."""
    head, colon, tail = source.rpartition(":")
    if colon and not Path(source).exists() and len(head) > 1:
        return Path(head), [key for key in tail.split("/") if key]
    return Path(source), []


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        msg = f"There is no folder {folder}. Give two folders, or two files."
        raise ImageError(msg)
    return {
        _stem(path): path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    }


def _stem(path: Path) -> str:
    return path.stem.removesuffix(".ome")


def _label_of(name: str, image: Path, labels: dict[str, Path]) -> Path | None:
    for ending in (*_LABEL_ENDINGS[1:], _LABEL_ENDINGS[0]):
        found = labels.get(name + ending)
        # In a folder that holds both, the file of the image's own name is the image.
        if found is not None and not found.samefile(image):
            return found
    return None


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
