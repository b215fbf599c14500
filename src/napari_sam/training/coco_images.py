# SPDX-License-Identifier: Apache-2.0
"""Labels from COCO instance files and from SA-1B, one JSON per image.

Masks of these files may overlap, label images cannot: where they do, the smaller mask
is in front, so that a part inside of an object stays an object of its own.
"""

from __future__ import annotations

import json
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import ImageError, LabelsError
from napari_sam.io.open_image import open_image
from napari_sam.prediction.shown_pixels import ShownPixels
from napari_sam.structures.plane_pixels import ArrayPixels
from napari_sam.structures.rle import Rle
from napari_sam.training.sources import LabelledPlane, TrainingImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray


def from_coco(path: str | Path, images: str | Path) -> list[TrainingImage]:
    """Take the images of a COCO file, or of a folder of SA-1B's files.

    Crowd regions (``iscrowd``) are left out. Masks are drawn when an image is opened;
    until then, those of a folder are not in memory, those of one file are, as written.

    Parameters
    ----------
    path : str or Path
        A JSON file with ``images`` and ``annotations``, or a folder of JSON files with
        ``image`` and ``annotations``.
    images : str or Path
        The folder that the file names are in.

    Raises
    ------
    ImageError
        If a file is missing, is no JSON of this kind, or names an image that is not
        there.
    """
    path, images = Path(path), Path(images)
    if not images.is_dir():
        msg = f"There is no folder {images} with the images of {path}."
        raise ImageError(msg)
    found = [
        _training_image(record, annotate, images, source)
        for source, record, annotate in _records(path)
    ]
    if not found:
        msg = f"{path} holds no image with annotations. Choose another file."
        raise ImageError(msg)
    return found


def draw_labels(
    annotations: Sequence[dict[str, Any]], shape: tuple[int, int], source: str
) -> NDArray[np.int32]:
    """Draw annotations as labels 1, 2, ... in their order.

    One mask at a time is in memory, however many there are.

    Parameters
    ----------
    annotations : sequence of dict
        With ``segmentation``: polygons ``[[x, y, x, y, ...], ...]``, or run lengths
        ``{"size": [H, W], "counts": ...}``, as numbers or COCO's compressed text.
    shape : (H, W)
        Of the image.
    source : str
        For messages.

    Raises
    ------
    LabelsError
        If a segmentation is of another kind or another size.
    """
    labels = np.zeros(shape, np.int32)
    areas = np.zeros(len(annotations) + 1, np.int64)
    areas[0] = np.iinfo(np.int64).max  # the background is behind everything
    for number, annotation in enumerate(annotations, start=1):
        where = f"{source}, annotation {annotation.get('id', number)}"
        mask = _mask(annotation.get("segmentation"), shape, where)
        areas[number] = np.count_nonzero(mask)
        # Painted as they come: an image of SA-1B has hundreds of masks of 4 MB.
        shown = labels[mask]
        shown[areas[shown] >= areas[number]] = number
        labels[mask] = shown
    return labels


def decompress_counts(text: str) -> list[int]:
    """Read COCO's compressed run lengths, the inverse of ``Rle.to_coco``.

    Five bits a letter, the sixth says that more follow; from the fourth number on they
    are steps from the number two before (cocoapi, maskApi.c, rleFrString).

    Raises
    ------
    ValueError
        If the text ends inside a number.
    """
    counts: list[int] = []
    value, shift = 0, 0
    for letter in text:
        bits = ord(letter) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value, shift = 0, 0
    if shift:
        msg = "the text of run lengths ends too early"
        raise ValueError(msg)
    return counts


def _records(
    path: Path,
) -> Iterator[tuple[str, dict[str, Any], Callable[[], list[dict[str, Any]]]]]:
    """Yield file, image record and how to get the annotations of each image."""
    if path.is_dir():
        for file in sorted(path.glob("*.json")):
            record, wanted = _read_one(file)
            if wanted:
                yield str(file), record, partial(_annotations, file)
        return
    content = _read(path)
    records, annotations = content.get("images"), content.get("annotations")
    if not isinstance(records, list) or not isinstance(annotations, list):
        msg = (
            f"{path} lacks the lists 'images' and 'annotations' of a COCO file of "
            "instances. Of SA-1B give the folder."
        )
        raise ImageError(msg)
    by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in _wanted(annotations):
        by_image[annotation.get("image_id")].append(annotation)
    for record in records:
        if not isinstance(record, dict):
            msg = f"{path}: {record!r} in 'images' is no image."
            raise ImageError(msg)
        if found := by_image[record.get("id")]:
            yield str(path), record, partial(list, found)


def _read_one(file: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read image record and annotations of a file of SA-1B."""
    content = _read(file)
    record, annotations = content.get("image"), content.get("annotations")
    if not isinstance(record, dict) or not isinstance(annotations, list):
        msg = f"{file} lacks 'image' or 'annotations', as SA-1B's files have."
        raise ImageError(msg)
    return record, _wanted(annotations)


def _annotations(file: Path) -> list[dict[str, Any]]:
    return _read_one(file)[1]


def _wanted(annotations: list[Any]) -> list[dict[str, Any]]:
    return [a for a in annotations if isinstance(a, dict) and not a.get("iscrowd")]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"Cannot read the annotations {path}: {error}."
        raise ImageError(msg) from error
    if not isinstance(content, dict):
        msg = f"{path} is no file of annotations: it holds no JSON object."
        raise ImageError(msg)
    return content


def _training_image(
    record: dict[str, Any],
    annotate: Callable[[], list[dict[str, Any]]],
    images: Path,
    source: str,
) -> TrainingImage:
    name = record.get("file_name")
    if not isinstance(name, str) or not (images / name).is_file():
        msg = f"{source} names the image {name!r}, which is not in {images}."
        raise ImageError(msg)

    def planes() -> list[LabelledPlane]:
        opened = open_image(images / name)
        if opened.n_planes != 1:
            msg = f"{images / name} is a stack; {source} describes flat images."
            raise ImageError(msg)
        labels = draw_labels(annotate(), opened.plane_shape, source)
        pixels = opened.plane_pixels((0,) * len(opened.stack_shape))
        shown = ShownPixels(pixels, opened.channel_axis)
        return [LabelledPlane("", shown, ArrayPixels((labels,), axes=(0, 1)))]

    return TrainingImage(name, planes)


def _mask(segmentation: Any, shape: tuple[int, int], where: str) -> NDArray[np.bool_]:
    try:
        if isinstance(segmentation, dict):
            return _run_lengths(segmentation, shape)
        return _polygons(segmentation, shape)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        msg = (
            f"{where}: the segmentation cannot be drawn on an image of {shape[0]} x "
            f"{shape[1]} pixels ({error}). Allowed are lists of x, y and run lengths "
            "of the image's size."
        )
        raise LabelsError(msg) from error


def _run_lengths(
    segmentation: dict[str, Any], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    counts = segmentation["counts"]
    if isinstance(counts, str):
        counts = decompress_counts(counts)
    height, width = (int(n) for n in segmentation["size"])
    if (height, width) != shape:
        msg = f"run lengths of {height} x {width} pixels"
        raise ValueError(msg)
    return Rle((height, width), np.asarray(counts, np.int64)).decode()


def _polygons(segmentation: Any, shape: tuple[int, int]) -> NDArray[np.bool_]:
    from skimage.draw import polygon2mask

    mask = np.zeros(shape, bool)
    if not isinstance(segmentation, list) or not segmentation:
        msg = "neither polygons nor run lengths"
        raise ValueError(msg)
    for ring in segmentation:
        corners = np.asarray(ring, np.float64).reshape(-1, 2)
        if len(corners) < 3 or not np.isfinite(corners).all():
            msg = f"a polygon of {len(corners)} corners"
            raise ValueError(msg)
        # COCO counts from the corner of the first pixel, skimage from its centre.
        mask |= polygon2mask(shape, corners[:, ::-1] - 0.5)
    return mask
