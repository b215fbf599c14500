# SPDX-License-Identifier: Apache-2.0
"""Label images as small lossless TIFF files."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_sam.errors import LabelsError
from napari_sam.io.atomic import written_atomically

MAX_PLANE_AXES = 3
"""Axes before rows and columns that OME-TIFF has names for."""


def write_labels(
    path: str | Path,
    labels: NDArray[np.integer],
    *,
    axes: str = "YX",
    pixel_size_um: tuple[float, float] | None = None,
    z_step_um: float | None = None,
) -> Path:
    """Write a label image as zlib-compressed OME-TIFF, in place of any older file.

    The numbers are stored as uint16 where they fit, else as uint32. The pixel size goes
    into the OME metadata and into the plain resolution tags.

    Parameters
    ----------
    path : str or Path
        Where the file shall lie; missing folders are made.
    labels : (..., H, W) integer array
        0 is background; at most three axes before rows and columns.
    axes : str
        One letter per axis, ending in ``YX``.
    pixel_size_um : (float, float), optional
        Height and width of a pixel in micrometres.
    z_step_um : float, optional
        Distance of z-slices in micrometres.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    LabelsError
        If the array is no label image or the axes do not fit it.
    OutputError
        If the file cannot be written.
    """
    path = Path(path)
    _check(labels, axes)
    dtype = np.uint16 if labels.max(initial=0) <= 0xFFFF else np.uint32
    metadata: dict[str, Any] = {"axes": ome_axes(axes)}
    resolution = None
    if pixel_size_um is not None:
        y, x = pixel_size_um
        metadata |= {"PhysicalSizeY": y, "PhysicalSizeX": x}
        metadata |= {"PhysicalSizeYUnit": "µm", "PhysicalSizeXUnit": "µm"}
        resolution = (1e4 / x, 1e4 / y)  # pixels per centimetre
    if z_step_um is not None:
        metadata |= {"PhysicalSizeZ": z_step_um, "PhysicalSizeZUnit": "µm"}
    with written_atomically(path) as temporary:
        tifffile.imwrite(
            temporary,
            np.ascontiguousarray(labels, dtype=dtype),
            ome=True,
            compression="zlib",
            photometric="minisblack",
            resolution=resolution,
            resolutionunit=None if resolution is None else "CENTIMETER",
            metadata=metadata,
        )
    return path


def _check(labels: NDArray[np.integer], axes: str) -> None:
    is_integer = np.issubdtype(labels.dtype, np.integer)
    if not is_integer or labels.min(initial=0) < 0 or labels.max(initial=0) >= 2**32:
        msg = (
            f"Labels must be whole numbers from 0 to {2**32 - 1}, not {labels.dtype} "
            "values outside of that."
        )
        raise LabelsError(msg)
    if (
        len(axes) != labels.ndim
        or not axes.endswith("YX")
        or len(axes) > MAX_PLANE_AXES + 2
    ):
        msg = (
            f"Axes {axes!r} do not fit labels of shape {labels.shape}. Give one letter "
            f"per axis, at most {MAX_PLANE_AXES + 2}, ending in YX."
        )
        raise LabelsError(msg)


def ome_axes(axes: str) -> str:
    """OME knows T, Z and C before YX: other letters take those that are free."""
    planes = axes[:-2]
    free = [letter for letter in "TZC" if letter not in planes]
    return "".join(a if a in "TZC" else free.pop(0) for a in planes) + "YX"
