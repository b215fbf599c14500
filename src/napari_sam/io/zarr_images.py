# SPDX-License-Identifier: Apache-2.0
"""Images in zarr folders: arrays, groups and OME-Zarr, of zarr formats 2 and 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_sam.errors import ImageError
from napari_sam.io.array_choice import choose_array, guess_axes
from napari_sam.io.pixel_size import PixelSize, from_axes
from napari_sam.io.stored_array import StoredContent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_ROOT_FILES = ("zarr.json", ".zarray", ".zgroup")
_RGB = ("FF0000", "00FF00", "0000FF")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr array or group."""
    return any((path / name).is_file() for name in _ROOT_FILES)


def open_zarr(path: Path, inside: str = "") -> StoredContent:
    """Open a zarr array or group without reading pixels.

    Of OME-Zarr (metadata 0.1 to 0.5) the first multiscale image is taken with all its
    levels; of another group the only array, or the largest.

    Parameters
    ----------
    path : Path
        A folder for which `is_zarr` holds.
    inside : str
        Path of an array or group in it.

    Raises
    ------
    ImageError
        If there is no image at this place.
    ValueError, KeyError, ...
        Whatever zarr meets in damaged metadata; see ``open_image``.
    """
    import zarr

    try:
        node = zarr.open(path, mode="r", path=inside or None)
    except FileNotFoundError as error:
        msg = f"{path} has neither an array nor a group {inside!r}."
        raise ImageError(msg) from error
    if isinstance(node, zarr.Array):
        return StoredContent((node,), _axes_of(node))
    about: Any = node.attrs.get("ome", node.attrs)
    if "plate" in about or "well" in about:
        raise ImageError(_plate_text(path, inside, node))
    if "multiscales" in about:
        return _multiscale(path, node, about)
    if "bioformats2raw.layout" in about and "0" in node:
        found = open_zarr(path, f"{inside}/0".lstrip("/"))
        if "1" not in node:
            return found
        text = (
            f"{path.name} holds several images; only the first is read. The others are "
            f"opened as {path.name}::1 and so on."
        )
        return found._replace(notices=(*found.notices, text))
    arrays = {
        name: member
        for name, member in node.members(max_depth=None)
        if isinstance(member, zarr.Array)
    }
    array, notices = choose_array(path, arrays)
    return StoredContent((array,), _axes_of(array), PixelSize(), notices)


def _multiscale(path: Path, group: Any, about: Mapping[str, Any]) -> StoredContent:
    """Open the levels of the first multiscale image of a group."""
    multiscales = about["multiscales"]
    image = multiscales[0]
    notices = []
    if len(multiscales) > 1:
        notices.append(
            f"{path.name} holds {len(multiscales)} images; only the first is read."
        )
    datasets = image["datasets"]
    levels, scales = [], []
    for number, dataset in enumerate(datasets):
        if dataset["path"] not in group:
            if number == 0:
                msg = (
                    f"{path} should hold its pixels in {dataset['path']!r}, but there "
                    "is no such array. Copy it again from its source."
                )
                raise ImageError(msg)
            notices.append(f"{path.name} has no level {dataset['path']!r}.")
            continue
        levels.append(group[dataset["path"]])
        scales.append(_scale(dataset, image, levels[-1].ndim))
    letters, units = _ome_axes(image, levels[0].ndim)
    if _is_colour(about, letters, levels[0]):
        letters = letters.replace("C", "S")
        notices.append(
            f"{path.name} has three 8-bit channels shown in red, green and blue: they "
            "are taken for colours. If they are not, name that axis C (command line: "
            "--axes)."
        )
    # Finest first, whatever the order they were noted down in.
    order = sorted(range(len(levels)), key=lambda i: -levels[i].size)
    size = from_axes(letters, scales[order[0]], units)
    chosen = tuple(levels[i] for i in order)
    return StoredContent(chosen, letters, size, tuple(notices))


def _ome_axes(image: Mapping[str, Any], ndim: int) -> tuple[str, list[object]]:
    """Return a letter and a unit for each axis; before 0.3 they are always TCZYX."""
    axes: Sequence[Any] = image.get("axes") or "tczyx"[-ndim:]
    names = [axis["name"] if isinstance(axis, dict) else axis for axis in axes]
    units = [axis.get("unit") if isinstance(axis, dict) else None for axis in axes]
    return _letters([str(name) for name in names]), list(units)


def _letters(names: Sequence[str]) -> str:
    """Return one letter for each name of an axis, each another one if possible."""
    known = {"channel": "C", "time": "T", "rgb": "S"}
    letters = [known.get(name.lower(), name[:1].upper() or "Q") for name in names]
    return "".join(letter if letter.isalpha() else "Q" for letter in letters)


def _scale(
    dataset: Mapping[str, Any], image: Mapping[str, Any], ndim: int
) -> list[float]:
    """Multiply the scales of a level and of the whole image."""
    total = [1.0] * ndim
    for holder in (dataset, image):
        for step in holder.get("coordinateTransformations") or ():
            if step.get("type") == "scale":
                given = zip(total, step["scale"], strict=True)
                total = [a * float(b) for a, b in given]
    return total


def _is_colour(about: Mapping[str, Any], letters: str, array: Any) -> bool:
    """Whether three 8-bit channels are said to be red, green and blue."""
    if "C" not in letters or array.dtype != "uint8":
        return False
    channels = (about.get("omero") or {}).get("channels") or ()
    colours = tuple(str(channel.get("color")).upper() for channel in channels)
    return colours == _RGB and array.shape[letters.index("C")] == len(_RGB)


def _axes_of(array: Any) -> str:
    """Return the axes of an array that stands alone: named in it, or guessed."""
    names = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS")  # as xarray writes format 2
    if names and all(names) and len(names) == array.ndim:
        letters = _letters([str(name) for name in names])
        if len(set(letters)) == len(letters) and {"Y", "X"} <= set(letters):
            return letters
    return guess_axes(array.shape, array.dtype)


def _plate_text(path: Path, inside: str, node: Any) -> str:
    """Name an image of a plate or well."""
    images = [
        name
        for name, member in node.members(max_depth=3)
        if "multiscales" in member.attrs.get("ome", member.attrs)
    ]
    place = path / inside
    example = f", for instance {place / min(images)}" if images else ""
    return f"{place} is a plate or well of many images. Give one of them{example}."
