# SPDX-License-Identifier: Apache-2.0
"""Pixels, axes and pixel size of TIFF files."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from napari_sam.io import pixel_size
from napari_sam.io.pixel_size import PixelSize

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # classic and BigTIFF, both orders
_COLOUR = {"RGB", "YCBCR", "PALETTE", "CIELAB", "SEPARATED"}


def is_tiff(path: Path) -> bool:
    """Whether the file begins like a TIFF, whatever its name."""
    with path.open("rb") as file:
        return file.read(4) in _MAGIC


class TiffContent(NamedTuple):
    """What was read of a TIFF file.

    Attributes
    ----------
    data : array
        Pixels as stored, or the colours that they stand for.
    axes : str
        One letter per axis; ``S`` only for colours, ``C`` for other samples.
    size : PixelSize
        What the metadata say.
    notices : tuple of str
        What was left out.
    """

    data: NDArray[Any]
    axes: str
    size: PixelSize
    notices: tuple[str, ...] = ()


def read_tiff(path: Path, *, as_labels: bool = False) -> TiffContent:
    """Read the first image series of a TIFF file.

    Parameters
    ----------
    path : Path
        A TIFF file.
    as_labels : bool
        Whether the numbers of a palette image are wanted and not its colours. ImageJ's
        are taken as numbers in any case: its palettes only say how to show them.

    Returns
    -------
    TiffContent

    Raises
    ------
    ValueError, OSError, ...
        Whatever tifffile meets in a damaged file; see ``images.read_image``.
    """
    with heard_complaints() as complaints, tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        about = about_series(path, tif)
        axes = about.axes
        data = _pixels(path, series)
        if about.is_palette and not (as_labels or tif.is_imagej):
            data, axes = _colours(data, series.keyframe.colormap), axes + "S"
    check_complaints(complaints)
    return TiffContent(data, axes, about.size, about.notices)


class AboutSeries(NamedTuple):
    """What a TIFF file says of its first image series.

    Attributes
    ----------
    axes : str
        One letter per axis; ``S`` only for colours, ``C`` for other samples.
    is_palette : bool
        Whether the numbers stand for colours.
    size : PixelSize
    notices : tuple of str
        Which other series there are.
    """

    axes: str
    is_palette: bool
    size: PixelSize
    notices: tuple[str, ...]


def about_series(path: Path, tif: tifffile.TiffFile) -> AboutSeries:
    """Read what an open TIFF file says of its first series."""
    series = tif.series[0]
    axes = series.axes
    photometric = tifffile.PHOTOMETRIC(series.keyframe.photometric)
    if "S" in axes and photometric.name not in _COLOUR:
        axes = axes.replace("S", "C")
    is_palette = photometric.name == "PALETTE"
    return AboutSeries(axes, is_palette, _pixel_size(tif), _left_out(path, tif.series))


def check_complaints(complaints: Sequence[str]) -> None:
    """Raise ValueError if tifffile met a broken chain of pages.

    It only logs that, and goes on with the pages before.
    """
    broken = [text for text in complaints if "offset" in text or "corrupted" in text]
    if broken:
        raise ValueError(broken[0])


def _colours(
    indices: NDArray[Any], palette: NDArray[np.uint16] | None
) -> NDArray[np.uint8]:
    """Look up a palette, (3, n) of 16 bits or of 8 that a careless program wrote."""
    if palette is None:
        msg = "a palette image without its palette"
        raise ValueError(msg)
    is_8_bit = int(palette.max(initial=0)) <= 0xFF
    table = np.ascontiguousarray(palette.T if is_8_bit else palette.T >> 8)
    return np.asarray(table.astype(np.uint8)[indices])


def _left_out(path: Path, found: Sequence[tifffile.TiffPageSeries]) -> tuple[str, ...]:
    """Tell of the images beside the first one."""
    if len(found) == 1:
        return ()
    sizes = ("x".join(str(side) for side in series.shape) for series in found)
    text = (
        f"{path.name} holds {len(found)} images ({', '.join(sizes)}); only the first "
        "is read. Save the others as files of their own to have them segmented."
    )
    return (text,)


def _pixels(path: Path, series: tifffile.TiffPageSeries) -> NDArray[Any]:
    """Decode; compressions that need tifffile's optional codecs go to Pillow."""
    try:
        return np.asarray(series.asarray())
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        data = _pixels_by_pillow(path, tuple(series.shape))
        if data is None:
            raise
        return data


def _pixels_by_pillow(path: Path, shape: tuple[int, ...]) -> NDArray[Any] | None:
    """All pages in file order, or None if they do not add up to the series."""
    with Image.open(path) as image:
        pages = [np.array(page) for page in ImageSequence.Iterator(image)]
    if any(page.shape != pages[0].shape for page in pages):
        return None
    stack = np.stack(pages)
    return stack.reshape(shape) if stack.size == math.prod(shape) else None


def _pixel_size(tif: tifffile.TiffFile) -> PixelSize:
    tags = tif.pages.first.tags
    resolution = (_ratio(tags, "YResolution"), _ratio(tags, "XResolution"))
    if tif.is_ome and tif.ome_metadata:
        return pixel_size.from_ome(tif.ome_metadata)
    if tif.is_imagej and tif.imagej_metadata:
        return pixel_size.from_imagej(tif.imagej_metadata, resolution)
    unit = tags.valueof("ResolutionUnit")
    name = {2: "inch", 3: "cm"}.get(0 if unit is None else int(unit), "")
    return pixel_size.from_resolution_tags(resolution, name)


def _ratio(tags: tifffile.TiffTags, name: str) -> float | None:
    value = tags.valueof(name)
    try:
        numerator, denominator = value
        return float(numerator / denominator)
    except (TypeError, ValueError, ZeroDivisionError):
        return None


@contextmanager
def heard_complaints() -> Iterator[list[str]]:
    """Collect what tifffile logs, instead of printing it."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger = logging.getLogger("tifffile")
    handler, propagate = Collector(), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
