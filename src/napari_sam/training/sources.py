# SPDX-License-Identifier: Apache-2.0
"""Where training data come from: arrays, files, folders; tables are in `index_table`.

Nothing is read before it is asked for. What comes out is the same for all of them: a
`TrainingImage`, whose planes are read piece by piece and shown to the model as the
plugin shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam.errors import ImageError, LabelsError
from napari_sam.io.hdf5_images import is_hdf5
from napari_sam.io.images import read_image
from napari_sam.io.open_image import open_image, split_path
from napari_sam.io.pairs import find_pairs
from napari_sam.io.zarr_images import is_zarr
from napari_sam.prediction.shown_pixels import ShownPixels
from napari_sam.structures.plane_pixels import ArrayPixels
from napari_sam.training.tiff_stacks import open_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from napari_sam.io.image_file import ImageFile
    from napari_sam.prediction.intensity import IntensityRule
    from napari_sam.structures.plane_pixels import PlanePixels

Part = Literal["train", "validation"]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPlane:
    """One plane of an image and of its labels, both read box by box.

    Attributes
    ----------
    where : str
        Place in the stack, such as ``z=3``; empty for a flat image.
    pixels : PlanePixels
        Hands out (h, w, 3) uint8, as the plugin shows it to the model: `ShownPixels` or
        one of its kin.
    labels : PlanePixels
        Whole numbers without channels; 0 is background, each other number an object.
    """

    where: str
    pixels: PlanePixels
    labels: PlanePixels


@dataclass(frozen=True, slots=True, eq=False)
class TrainingImage:
    """One image with its labels: what is never divided between training and validation.

    Attributes
    ----------
    name : str
        For messages and the card.
    open : callable
        Returns the planes, ``list[LabelledPlane]``; files are opened here. What is read
        box by box stays open, so that its brightness is found once.
    group : str
        Images of one group stay together, such as tiles of one field; empty for an
        image on its own.
    part : "train", "validation" or None
        Where the image belongs, if somebody decided; None leaves it to the split.
    """

    name: str
    open: Callable[[], list[LabelledPlane]]
    group: str = ""
    part: Part | None = None


def from_arrays(
    image: Any,
    labels: Any,
    *,
    name: str = "image",
    channel_axis: int | None = None,
    rgb: bool | None = None,
    intensity: IntensityRule | None = None,
    group: str = "",
) -> TrainingImage:
    """Take an image and its labels, as two layers of napari hold them.

    Parameters
    ----------
    image : array-like
        numpy, dask or zarr: (..., H, W), with colours (..., H, W, 3 or 4), or with
        channels of a microscope along `channel_axis`. Only what is needed is read.
    labels : array-like of integers
        (..., H, W): the same planes, rows and columns. Leading axes of `image` that the
        labels lack are not allowed.
    name : str
        For messages.
    channel_axis : int or None
        Axis of `image` that holds channels.
    rgb : bool or None
        Whether the last axis of `image` is colours; None: if it has 3 or 4 entries and
        the labels lack it.
    intensity : IntensityRule or None
        How values become brightness; None as the plugin does by default.
    group : str
        See `TrainingImage`.

    Raises
    ------
    ImageError, LabelsError
        If the two do not fit together or are no image and no labels.
    """
    shape = _shape(image, name, "the image", ImageError)
    n_axes = len(_shape(labels, name, "the labels", LabelsError))
    _check_integers(labels.dtype, name)
    is_colour = channel_axis is None and (
        rgb
        if rgb is not None
        else len(shape) == n_axes + 1 and len(shape) > 2 and shape[-1] in (3, 4)
    )
    if is_colour:
        extra: int | None = len(shape) - 1
    else:
        extra = None if channel_axis is None else channel_axis % len(shape)
    spatial = tuple(n for axis, n in enumerate(shape) if axis != extra)
    if spatial != tuple(labels.shape):
        raise LabelsError(_misfit(name, tuple(labels.shape), name, shape))

    @cache
    def planes() -> list[LabelledPlane]:
        axes = [axis for axis in range(len(shape)) if axis != extra]
        found = []
        for index in np.ndindex(spatial[:-2]):
            pixels = ArrayPixels(
                (image,), axes=(axes[-2], axes[-1]), channel_axis=extra, index=index
            )
            truth = ArrayPixels((labels,), axes=(n_axes - 2, n_axes - 1), index=index)
            shown = ShownPixels(pixels, None if is_colour else extra, intensity)
            where = ",".join(str(i) for i in index)
            found.append(LabelledPlane(where, shown, truth))
        return found

    return TrainingImage(name, planes, group)


def from_files(
    image: str | Path, labels: str | Path, *, axes: str | None = None, name: str = ""
) -> TrainingImage:
    """Take an image file and its label file, of any size; see `io.open_image`.

    Both are opened, and compared, when the image is.

    Parameters
    ----------
    image, labels : str or Path
        Files, zarr folders, or ``FILE::PLACE``.
    axes : str, optional
        Meaning of the image's axes where the file is silent.
    name : str
        For messages; the image's file name if empty.
    """
    kept: list[list[LabelledPlane]] = []

    def planes() -> list[LabelledPlane]:
        if kept:
            return kept[0]
        opened, stays_open = open_pair(image, labels, axes)
        if stays_open:
            kept.append(opened)
        return opened

    return TrainingImage(name or split_path(image)[0].name, planes)


def from_folders(
    images: str | Path,
    labels: str | Path,
    *,
    names: Sequence[str] | None = None,
    axes: str | None = None,
) -> list[TrainingImage]:
    """Take all images of a folder that have labels of their name in another.

    Names are matched as ``napari-sam evaluate`` matches them. Two files, or two zarr
    folders, are one image.

    Raises
    ------
    ImageError
        If a folder is missing or nothing matches.
    """
    if _is_one_image(images) or _is_one_image(labels):
        _check_both_there(images, labels)
        return [from_files(images, labels, axes=axes)]
    return [
        from_files(pair.image, pair.labels, axes=axes, name=pair.name)
        for pair in find_pairs(images, labels, names)
    ]


def open_pair(
    image: str | Path, labels: str | Path, axes: str | None = None
) -> tuple[list[LabelledPlane], bool]:
    """Open an image and its labels and match their planes.

    Returns
    -------
    planes : list of LabelledPlane
    stays_open : bool
        Whether pixels and labels are read piece by piece from files that are large: to
        open them again would cost more than to keep them open. Of many small files that
        would take too many at a time.

    Raises
    ------
    ImageError, LabelsError
        If a file cannot be read or the two do not fit together; the text names them.
    """
    opened = open_stack(image, axes)
    is_large = opened is None
    if opened is None:
        opened = open_image(image, axes=axes)
    truth = open_labels(labels)
    same_planes = opened.stack_shape == truth.stack_shape
    if not same_planes or opened.plane_shape != truth.plane_shape:
        shapes = tuple(truth.data.shape), tuple(opened.data.shape)
        raise LabelsError(_misfit(str(labels), shapes[0], str(image), shapes[1]))
    planes = []
    for index in np.ndindex(opened.stack_shape):
        where = ",".join(
            f"{letter.lower()}={i}"
            for letter, i in zip(opened.plane_axes, index, strict=True)
        )
        shown = ShownPixels(opened.plane_pixels(index), opened.channel_axis)
        planes.append(LabelledPlane(where, shown, truth.plane_pixels(index)))
    return planes, is_large and opened.is_lazy and truth.is_lazy


def open_labels(path: str | Path) -> ImageFile:
    """Open a file of labels: whole numbers, one per pixel; a palette's numbers count.

    Raises
    ------
    ImageError, LabelsError
        If the file cannot be read, or holds something else.
    """
    opened = open_stack(path) or open_image(path)
    is_plain = opened.n_channels == 1 and np.dtype(opened.data.dtype).kind in "iu"
    if not is_plain and not opened.is_lazy:
        # Colours may be those of a palette, whose numbers are the labels.
        opened = read_image(split_path(path)[0], as_labels=True)
    if opened.n_channels != 1:
        msg = (
            f"{path} is no label image: it has {opened.n_channels} channels. It needs "
            "one whole number per pixel, 0 for background and another for each object."
        )
        raise LabelsError(msg)
    _check_integers(opened.data.dtype, str(path))
    return opened


def _check_integers(dtype: Any, name: str) -> None:
    if np.dtype(dtype).kind not in "iub":
        msg = (
            f"The labels of {name} hold numbers of type {dtype}. They need whole "
            "numbers, 0 for background and another for each object: save them as "
            "uint16 or int32."
        )
        raise LabelsError(msg)


def _shape(
    array: Any, name: str, what: str, error: type[ImageError | LabelsError]
) -> tuple[int, ...]:
    shape = getattr(array, "shape", None)
    if shape is None or not hasattr(array, "dtype") or len(shape) < 2 or 0 in shape:
        came = type(array).__name__ if shape is None else f"shape {tuple(shape)}"
        msg = (
            f"{name}: {what} has to be an array with rows, columns and pixels, not "
            f"{came}. Of a multiscale layer give the finest level."
        )
        raise error(msg)
    return tuple(int(n) for n in shape)


def _misfit(
    labels: str, label_shape: Iterable[int], image: str, image_shape: Iterable[int]
) -> str:
    sizes = [" x ".join(str(n) for n in s) for s in (label_shape, image_shape)]
    return (
        f"The labels {labels} ({sizes[0]}) do not fit the image {image} ({sizes[1]}). "
        "Both need the same planes, rows and columns: choose the labels that belong to "
        "the image, or name the image's axes if they were read wrongly."
    )


def _is_one_image(path: str | Path) -> bool:
    file, inside = split_path(path)
    return bool(inside) or file.is_file() or is_zarr(file)


def _check_both_there(*paths: str | Path) -> None:
    for path in paths:
        file, inside = split_path(path)
        if not file.exists():
            msg = f"There is no {file}. Give two files, or two folders."
            raise ImageError(msg)
        is_piecewise = is_zarr(file) or (file.is_file() and is_hdf5(file))
        if not file.is_file() and not is_piecewise:
            msg = f"{file} is a folder, its partner is one image. Give two of a kind."
            raise ImageError(msg)
        if inside and not is_piecewise:
            msg = f"{file} is neither zarr nor HDF5, so there is no {inside!r} in it."
            raise ImageError(msg)
