# SPDX-License-Identifier: Apache-2.0
"""Labels and table of an image that was segmented in tiles, written block by block."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_sam._cli.segment_file import table_columns
from napari_sam.errors import OutputError
from napari_sam.io.labels_tiff import write_labels
from napari_sam.io.labels_zarr import CHUNK_SIDE, create_labels
from napari_sam.io.object_table import ObjectTable, write_table
from napari_sam.io.open_image import split_path
from napari_sam.io.zarr_images import is_zarr
from napari_sam.structures.array_blocks import blocks_in
from napari_sam.structures.geometry import union_box

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_sam._cli.inputs import Work
    from napari_sam.io.image_file import ImageFile
    from napari_sam.prediction.tile_painting import TilePainting
    from napari_sam.structures.arrays import HalfOpenBox, Plane
    from napari_sam.structures.plane_pixels import PlanePixels

LARGE_PX = 1 << 28
"""Labels of images with more pixels than this (16384 x 16384) become a zarr folder."""

# Objects up to this long are measured on pixels that are read for all of them at once.
_ONE_READ_PX = CHUNK_SIDE


class ResultWriter:
    """Writes what was found on the planes of a file.

    Objects are numbered through the whole file: equal numbers in different planes would
    pass for one object in three dimensions.

    Parameters
    ----------
    work : Work
        Where.
    image : ImageFile
        What was segmented.
    scratch : Path
        Folder for what is not complete yet, on the disk of the results.

    Attributes
    ----------
    labels_path : Path
        A TIFF file, or for large images and those in zarr folders a zarr folder.
    n_objects : int
        On the planes so far.
    """

    def __init__(self, work: Work, image: ImageFile, scratch: Path) -> None:
        self._work = work
        self._image = image
        self._tables: list[tuple[dict[str, int], ObjectTable, list[float]]] = []
        self.n_objects = 0
        shape = (*image.stack_shape, *image.plane_shape)
        is_large = math.prod(shape) > LARGE_PX
        if is_large or is_zarr(split_path(work.source)[0]):
            self.labels_path = work.large_labels
            self._target: _Target = _ZarrTarget(work.large_labels, image, scratch)
        else:
            self.labels_path = work.labels
            self._target = _TiffTarget(work.labels, image)

    def add(self, index: tuple[int, ...], painting: TilePainting) -> None:
        """Write the labels of a plane and measure its objects.

        Parameters
        ----------
        index : tuple of int
            Which plane.
        painting : TilePainting
            Its objects.
        """
        pixels = self._image.plane_pixels(index)
        table = ObjectTable(self._image.n_channels)
        for block in blocks_in((0, 0, *pixels.shape), CHUNK_SIDE):
            labels = painting.labels_in(block)
            if labels.any():
                moved = np.where(labels, labels + np.uint32(self.n_objects), 0)
                self._target.write(index, block, moved)
            _measure(painting, block, pixels, table)
        where = dict(zip(self._image.plane_axes.lower(), index, strict=True))
        scores = [painting.scores(k)[0] for k in range(1, len(painting) + 1)]
        self._tables.append((where, table, scores))
        self.n_objects += len(painting)

    def finish(self) -> None:
        """Make both results appear under their names, in place of older ones.

        Labels come last: as long as they are missing, a run is not done.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        self._target.complete()
        write_table(self._work.table, self._rows(), table_columns(self._image))
        self._target.finish()

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row per object, as they are numbered."""
        offset = 0
        for where, table, scores in self._tables:
            for row in table.rows(self._image.pixel_size_um):
                label = int(row["label"] or 0)
                numbers = {
                    "label": label + offset,
                    "predicted_iou": round(scores[label - 1], 4),
                }
                yield {**where, **row, **numbers}
            offset += len(scores)


class _Target(Protocol):
    """Where labels go."""

    def write(
        self, index: tuple[int, ...], box: HalfOpenBox, labels: NDArray[np.uint32]
    ) -> None:
        """Write a block of a plane that was 0 so far."""
        ...

    def complete(self) -> None:
        """Do what takes long once all is written."""
        ...

    def finish(self) -> None:
        """Make the result appear."""
        ...


class _TiffTarget:
    """Labels in memory that become a TIFF file."""

    def __init__(self, path: Path, image: ImageFile) -> None:
        self._path = path
        self._image = image
        self._labels = np.zeros((*image.stack_shape, *image.plane_shape), np.uint32)

    def write(
        self, index: tuple[int, ...], box: HalfOpenBox, labels: NDArray[np.uint32]
    ) -> None:
        y0, x0, y1, x1 = box
        place: tuple[int | slice, ...] = (*index, slice(y0, y1), slice(x0, x1))
        self._labels[place] = labels

    def complete(self) -> None:
        """Nothing is missing."""

    def finish(self) -> None:
        write_labels(
            self._path,
            self._labels,
            axes=f"{self._image.plane_axes}YX",
            pixel_size_um=self._image.pixel_size_um,
            z_step_um=self._image.z_step_um,
        )


class _ZarrTarget:
    """Labels on disk, under another name until they are complete."""

    def __init__(self, path: Path, image: ImageFile, scratch: Path) -> None:
        self._path = path
        self._labels = create_labels(
            scratch / path.name,
            (*image.stack_shape, *image.plane_shape),
            axes=f"{image.plane_axes}YX",
            pixel_size_um=image.pixel_size_um,
            z_step_um=image.z_step_um,
            replaces=True,
        )

    def write(
        self, index: tuple[int, ...], box: HalfOpenBox, labels: NDArray[np.uint32]
    ) -> None:
        self._labels.write(box, labels, index)

    def complete(self) -> None:
        self._labels.finish()

    def finish(self) -> None:
        try:
            # That it may be replaced was asked before the work.
            if is_zarr(self._path):
                shutil.rmtree(self._path)
            self._labels.path.rename(self._path)
        except OSError as error:
            msg = f"Cannot write {self._path}: {error.strerror or error}."
            raise OutputError(msg) from error


def _measure(
    painting: TilePainting, block: HalfOpenBox, pixels: PlanePixels, table: ObjectTable
) -> None:
    """Measure the objects that begin in a block."""
    boxes = {label: painting.box(label) for label in painting.labels_at(block)}
    around: HalfOpenBox | None = None
    for box in boxes.values():
        if _longest(box) <= _ONE_READ_PX:
            around = box if around is None else union_box(around, box)
    read = None if around is None else pixels.read(around)
    for label, box in boxes.items():
        if read is None or around is None or _longest(box) > _ONE_READ_PX:
            crop = pixels.read(box)
        else:
            crop = _crop(read, around, box)
        table.add(label, painting.mask(label), crop)


def _crop(read: Plane, around: HalfOpenBox, box: HalfOpenBox) -> Plane:
    """Return the pixels of a box out of those of a larger one."""
    y, x = around[:2]
    return read[box[0] - y : box[2] - y, box[1] - x : box[3] - x]


def _longest(box: HalfOpenBox) -> int:
    return max(box[2] - box[0], box[3] - box[1])
