# SPDX-License-Identifier: Apache-2.0
"""Images in HDF5 files; h5py is an optional dependency."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_sam.errors import ImageError
from napari_sam.io.array_choice import choose_array, guess_axes
from napari_sam.io.pixel_size import PixelSize, from_axes
from napari_sam.io.stored_array import StoredContent

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = b"\x89HDF\r\n\x1a\n"


def is_hdf5(path: Path) -> bool:
    """Whether the file begins like HDF5, whatever its name."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def open_hdf5(path: Path, inside: str = "") -> StoredContent:
    """Open a dataset of an HDF5 file without reading pixels.

    Parameters
    ----------
    path : Path
        The file; it stays open as long as the dataset is used.
    inside : str
        Path of a dataset or group in it. Of a group the only dataset is taken, or the
        largest.

    Raises
    ------
    ImageError
        If h5py is not installed, or there is no image at this place.
    ValueError, OSError, ...
        Whatever h5py meets in a damaged file; see ``open_image``.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        msg = (
            f"{path} is an HDF5 file, which needs one more package: "
            'pip install "napari-sam-live[hdf5]".'
        )
        raise ImageError(msg) from error
    file = h5py.File(path, "r")
    node = file.get(inside or "/")
    if node is None:
        datasets = _datasets(file)
        found = ", ".join(f"{path.name}::{name}" for name in list(datasets)[:5])
        msg = f"{path} has no dataset {inside!r}. It has {found or 'none at all'}."
        file.close()
        raise ImageError(msg)
    notices: tuple[str, ...] = ()
    if not isinstance(node, h5py.Dataset):
        node, notices = choose_array(path, _datasets(node))
    axes = _axes_of(node)
    return StoredContent((node,), axes, _pixel_size(node, axes), notices)


def _datasets(group: Any) -> dict[str, Any]:
    """Return all datasets below a group by their path in the file."""
    import h5py

    found: dict[str, Any] = {}

    def note(_name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            found[str(node.name)] = node

    group.visititems(note)
    return found


def _axes_of(dataset: Any) -> str:
    """Return the axes: as ilastik notes them, as labelled scales, or guessed."""
    names: list[str] = []
    if "axistags" in dataset.attrs:
        tags = json.loads(dataset.attrs["axistags"])
        names = [str(tag["key"]) for tag in tags["axes"]]
    else:
        names = [str(scale.label) for scale in dataset.dims]
    letters = "".join(name[:1].upper() for name in names)
    is_clear = len(set(letters)) == len(letters) == len(dataset.shape)
    if is_clear and letters.isalpha() and {"Y", "X"} <= set(letters):
        return letters
    return guess_axes(dataset.shape, dataset.dtype)


def _pixel_size(dataset: Any, axes: str) -> PixelSize:
    """Return what ImageJ's HDF5 plugin notes: lengths of Z, Y and X."""
    sides = dataset.attrs.get("element_size_um")
    if sides is None or len(sides) != 3:
        return PixelSize()
    known = dict(zip("ZYX", (float(side) for side in sides), strict=True))
    return from_axes(axes, [known.get(axis) for axis in axes], ["um"] * len(axes))
