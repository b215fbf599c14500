# SPDX-License-Identifier: Apache-2.0
"""Physical pixel sizes from the metadata of TIFF files, in micrometres."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

_UM_PER_UNIT = {
    "å": 1e-4,
    "a": 1e-4,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,  # the Greek letter, not the micro sign of the line above
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "m": 1e6,
    "inch": 25400.0,
}

# Coarser "resolutions" in plain TIFF tags are those of printers and screens: 72 dpi is
# 353 µm, 600 dpi 42 µm, and 2540 dpi 10 µm.
_COARSEST_PLAIN_UM = 10.0


class PixelSize(NamedTuple):
    """Extent of a pixel, ``yx_um`` = (height, width), and distance of z-slices."""

    yx_um: tuple[float, float] | None = None
    z_um: float | None = None


def from_ome(xml: str) -> PixelSize:
    """Size of the first image in an OME-XML text; unknown where it is not stated."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return PixelSize()
    pixels = root.find(".//{*}Pixels")
    if pixels is None:
        return PixelSize()
    sizes = [
        _in_um(
            pixels.get(f"PhysicalSize{axis}"),
            pixels.get(f"PhysicalSize{axis}Unit", "µm"),
        )
        for axis in "ZYX"
    ]
    return _pixel_size(*sizes)


def from_imagej(
    metadata: Mapping[str, object],
    resolution_yx: tuple[float | None, float | None],
) -> PixelSize:
    """Size from ImageJ's description and the pixels per unit of the resolution tags."""
    unit = str(metadata.get("unit", ""))
    y, x = (_in_um(1 / r if r else None, unit) for r in resolution_yx)
    return _pixel_size(_in_um(metadata.get("spacing"), unit), y, x)


def from_resolution_tags(
    resolution_yx: tuple[float | None, float | None], unit: str
) -> PixelSize:
    """Size from bare TIFF tags, unless they speak of paper."""
    y, x = (_in_um(1 / r if r else None, unit) for r in resolution_yx)
    if y is None or x is None or max(y, x) > _COARSEST_PLAIN_UM:
        return PixelSize()
    return _pixel_size(None, y, x)


def from_axes(
    axes: str, lengths: Sequence[object], units: Sequence[object]
) -> PixelSize:
    """Size from one length and one unit for each axis; others than Z, Y, X are left."""
    found = {
        axis: _in_um(length, str(unit))
        for axis, length, unit in zip(axes, lengths, units, strict=True)
    }
    return _pixel_size(found.get("Z"), found.get("Y"), found.get("X"))


def _pixel_size(z: float | None, y: float | None, x: float | None) -> PixelSize:
    yx = None if y is None or x is None else (y, x)
    return PixelSize(yx, z)


def _in_um(value: object, unit: str) -> float | None:
    """Convert a length to micrometres; None if value or unit says nothing."""
    # ImageJ writes the micro sign as an escape sequence.
    unit = re.sub(r"\\u00b5", "µ", unit.strip(), flags=re.IGNORECASE)
    factor = _UM_PER_UNIT.get(unit.lower())
    try:
        length = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    is_length = factor is not None and 0 < length < float("inf")
    return length * factor if is_length and factor is not None else None
