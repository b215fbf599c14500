# SPDX-License-Identifier: Apache-2.0
"""Label images past memory: zarr folders with OME-Zarr 0.5 metadata, filled by boxes.

The layout is that of an OME-Zarr label image: a zarr format 3 group with the arrays
``0`` (full resolution), ``1``, ``2`` and so on, each with half the rows and columns of
the one before. Chunks without an object are not stored.
"""

from __future__ import annotations

import math
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import LabelsError, OutputError
from napari_sam.io.labels_tiff import MAX_PLANE_AXES, ome_axes
from napari_sam.io.stored_array import DAMAGE, damage_text
from napari_sam.io.zarr_images import is_zarr
from napari_sam.structures.array_blocks import block_slices
from napari_sam.structures.label_levels import sampled_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from napari_sam.structures.arrays import HalfOpenBox, LabelImage

CHUNK_SIDE = 1024
"""Rows and columns that are compressed together. Boxes on its multiples, written by
one writer each, may be written at the same time."""

_VERSION = "0.5"
_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}


class LabelsZarr:
    """A label image in a zarr folder.

    Made by `create_labels` and `open_labels`.

    Attributes
    ----------
    path : Path
    array : zarr.Array
        Full resolution, (..., H, W) uint32; it can be read and written by slices, so
        that `ArrayLabels` takes it.
    """

    def __init__(self, path: Path, group: Any) -> None:
        self.path = path
        self._group = group
        self.array = group["0"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape at full resolution, ending in rows and columns."""
        return tuple(int(side) for side in self.array.shape)

    @property
    def levels(self) -> tuple[Any, ...]:
        """Arrays at falling resolutions; only the first before `finish`."""
        datasets = self._group.attrs["ome"]["multiscales"][0]["datasets"]
        return tuple(self._group[dataset["path"]] for dataset in datasets)

    def read(self, box: HalfOpenBox, index: tuple[int, ...] = ()) -> LabelImage:
        """Read a box of the plane at an index, (h, w) uint32."""
        y0, x0, y1, x1 = box
        return np.asarray(self.array[(*index, slice(y0, y1), slice(x0, x1))])

    def write(
        self,
        box: HalfOpenBox,
        labels: npt.NDArray[np.integer],
        index: tuple[int, ...] = (),
    ) -> None:
        """Write a box of a plane.

        Parameters
        ----------
        box : (y0, x0, y1, x1)
            Fastest on multiples of `CHUNK_SIDE`.
        labels : (h, w) integer array
            From 0 to 4294967295.
        index : tuple of int
            Position along the axes before rows and columns.

        Raises
        ------
        LabelsError
            If the labels do not fill the box, the box leaves the plane or a number does
            not fit.
        OutputError
            If nothing can be written.
        """
        y0, x0, y1, x1 = box
        height, width = self.shape[-2:]
        is_inside = 0 <= y0 <= y1 <= height and 0 <= x0 <= x1 <= width
        if labels.shape != (y1 - y0, x1 - x0) or not is_inside:
            msg = (
                f"Labels of shape {labels.shape} do not fill the box {box} of a plane "
                f"of {height} x {width} pixels."
            )
            raise LabelsError(msg)
        if labels.min(initial=0) < 0 or labels.max(initial=0) >= 2**32:
            msg = f"Labels are whole numbers from 0 to {2**32 - 1}."
            raise LabelsError(msg)
        place = (*index, slice(y0, y1), slice(x0, x1))
        with _told_as_output(self.path):
            self.array[place] = labels.astype(np.uint32, copy=False)

    def finish(self) -> None:
        """Make the coarser levels, for viewers; may be repeated after changes.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        self._add_levels(_halved)

    def add_empty_levels(self) -> None:
        """Make coarser levels without labels, for a writer who fills all levels.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        self._add_levels(_empty_half)

    def _add_levels(self, make: Callable[[Any, str, Any], Any]) -> None:
        with _told_as_output(self.path):
            about = dict(self._group.attrs["ome"])
            image = dict(about["multiscales"][0])
            finest = image["datasets"][0]["coordinateTransformations"][0]["scale"]
            datasets = [image["datasets"][0]]
            level = self.array
            while max(level.shape[-2:]) > CHUNK_SIDE:
                name = str(len(datasets))
                level = make(self._group, name, level)
                side = 2 ** len(datasets)
                scale = [*finest[:-2], finest[-2] * side, finest[-1] * side]
                datasets.append(_dataset(name, scale))
            image["datasets"] = datasets
            self._group.attrs["ome"] = about | {"multiscales": [image]}


def create_labels(
    path: str | Path,
    shape: tuple[int, ...],
    *,
    axes: str = "YX",
    pixel_size_um: tuple[float, float] | None = None,
    z_step_um: float | None = None,
    replaces: bool = False,
) -> LabelsZarr:
    """Make an empty label image in a new folder.

    Parameters
    ----------
    path : str or Path
        Where; the name should end in ``.zarr``. Missing folders are made.
    shape : tuple of int
        Ending in rows and columns; at most three axes before.
    axes : str
        One letter per axis, ending in ``YX``.
    pixel_size_um : (float, float), optional
        Height and width of a pixel in micrometres.
    z_step_um : float, optional
        Distance of z-slices in micrometres.
    replaces : bool
        Whether an older zarr folder of this name is deleted.

    Returns
    -------
    LabelsZarr

    Raises
    ------
    LabelsError
        If the axes do not fit the shape.
    OutputError
        If something is there already, or nothing can be written.
    """
    path = Path(path)
    n_axes = len(shape)
    is_fitting = len(axes) == n_axes and axes.endswith("YX")
    if not is_fitting or n_axes > MAX_PLANE_AXES + 2 or min(shape, default=0) < 1:
        msg = (
            f"Axes {axes!r} do not fit labels of shape {shape}. Give one letter per "
            f"axis, at most {MAX_PLANE_AXES + 2}, ending in YX, and sides of 1 or more."
        )
        raise LabelsError(msg)
    with _told_as_output(path):
        _make_room(path, replaces=replaces)
        import zarr

        group = zarr.open_group(path, mode="w", zarr_format=3)
        letters = ome_axes(axes)
        _new_array(group, "0", shape, [letter.lower() for letter in letters])
        y, x = pixel_size_um or (None, None)
        group.attrs["ome"] = _metadata(path, letters, {"Z": z_step_um, "Y": y, "X": x})
    return LabelsZarr(path, group)


def open_labels(path: str | Path) -> LabelsZarr:
    """Open a label image that `create_labels` made, to go on writing.

    Raises
    ------
    LabelsError
        If there is none, or it is damaged.
    """
    path = Path(path)
    if not is_zarr(path):
        msg = f"There is no label image {path}. Make it first."
        raise LabelsError(msg)
    import zarr

    try:
        group = zarr.open_group(path, mode="r+")
        labels = LabelsZarr(path, group)
        about: Any = group.attrs["ome"]
        is_ours = "image-label" in about and bool(labels.levels)
    except DAMAGE as error:
        raise LabelsError(damage_text(path, error)) from error
    if not is_ours or labels.array.dtype != np.uint32:
        msg = f"{path} is a zarr folder, but no label image. Choose another name."
        raise LabelsError(msg)
    return labels


def _make_room(path: Path, *, replaces: bool) -> None:
    """Make sure that nothing is at a path; delete only what is a zarr folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        return
    if replaces and is_zarr(path):
        shutil.rmtree(path)
        return
    if path.is_dir() and not any(path.iterdir()):
        return
    kind = "is there already" if is_zarr(path) else "is there and is no zarr folder"
    msg = f"{path} {kind}. Choose another name, or delete it."
    raise OutputError(msg)


def _new_array(
    group: Any, name: str, shape: tuple[int, ...], dimension_names: list[str]
) -> Any:
    from zarr.codecs import BloscCodec

    sides = [min(side, CHUNK_SIDE) for side in shape[-2:]]
    return group.create_array(
        name,
        shape=shape,
        dtype=np.uint32,
        chunks=(*[1] * (len(shape) - 2), *sides),
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=4),
        fill_value=0,
        dimension_names=dimension_names,
        overwrite=True,
    )


def _empty_half(group: Any, name: str, finer: Any) -> Any:
    """Make an empty level of half the rows and columns."""
    height, width = (math.ceil(side / 2) for side in finer.shape[-2:])
    names = list(finer.metadata.dimension_names)
    return _new_array(group, name, (*finer.shape[:-2], height, width), names)


def _halved(group: Any, name: str, finer: Any) -> Any:
    """Write a level as the next one."""
    level = _empty_half(group, name, finer)
    for place in block_slices(level):
        rows, columns = (
            sampled_pixels(finer.shape[axis], level.shape[axis], part.start, part.stop)
            for axis, part in zip((-2, -1), place[-2:], strict=True)
        )
        around = (
            slice(int(rows[0]), int(rows[-1]) + 1),
            slice(int(columns[0]), int(columns[-1]) + 1),
        )
        labels = np.asarray(finer[(*place[:-2], *around)])
        if labels.any():
            level[place] = labels[..., rows - rows[0], :][..., columns - columns[0]]
    return level


def _metadata(
    path: Path, letters: str, lengths: dict[str, float | None]
) -> dict[str, Any]:
    """Return the attributes of an OME-Zarr 0.5 label image with one level."""
    axes = [
        {"name": letter.lower(), "type": _TYPES[letter]}
        | ({"unit": "micrometer"} if lengths.get(letter) else {})
        for letter in letters
    ]
    scale = [float(lengths.get(letter) or 1) for letter in letters]
    image = {
        "name": path.stem,
        "axes": axes,
        "datasets": [_dataset("0", scale)],
        "type": "nearest",
        "metadata": {"description": "The label in the middle of two rows and columns."},
    }
    return {"version": _VERSION, "multiscales": [image], "image-label": {}}


def _dataset(name: str, scale: list[float]) -> dict[str, Any]:
    return {
        "path": name,
        "coordinateTransformations": [{"type": "scale", "scale": scale}],
    }


@contextmanager
def _told_as_output(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into OutputError."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        msg = (
            f"Cannot write {path}: {error.strerror or error}. Choose a folder that "
            "exists or can be made, is writable and has space left."
        )
        raise OutputError(msg) from error
