# SPDX-License-Identifier: Apache-2.0
"""One row of measurements per object, as CSV."""

import csv
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam.errors import LabelsError
from napari_sam.io.atomic import written_atomically
from napari_sam.structures.mask_window import MaskWindow

Row = dict[str, int | float | str | None]

_PLACES = ("centroid_y", "centroid_x", "y0", "x0", "y1", "x1")


def measure_objects(
    labels: NDArray[np.integer],
    image: NDArray[Any],
    *,
    pixel_size_um: tuple[float, float] | None = None,
) -> list[Row]:
    """Measure every object of a plane.

    Parameters
    ----------
    labels : (H, W) integer array
        0 is background.
    image : (H, W) or (H, W, channels) array
        The intensities as they were in the file. NaN pixels do not enter a mean.
    pixel_size_um : (float, float), optional
        Height and width of a pixel; without it the columns in micrometres are None.

    Returns
    -------
    list of dict
        In label order: ``label``, ``area_px``, ``centroid_y_px``, ``centroid_x_px``
        (integers are pixel centres), the half-open box ``y0_px`` to ``x1_px``,
        ``mean_intensity`` (``mean_intensity_0``, ... for several channels),
        and ``area_um2``, ``centroid_y_um``, ..., ``x1_um``.
    """
    if labels.ndim != 2 or labels.shape != image.shape[:2]:
        msg = (
            f"Labels of shape {labels.shape} do not fit an image of shape "
            f"{image.shape}. Measure one plane with its own labels."
        )
        raise LabelsError(msg)
    ids, inverse = np.unique(labels, return_inverse=True)
    compact = inverse.reshape(labels.shape) + 1
    table = ObjectTable(1 if image.ndim == 2 else image.shape[2])
    for index, box in enumerate(ndimage.find_objects(compact)):
        if ids[index] != 0:
            mask = MaskWindow(box[0].start, box[1].start, compact[box] == index + 1)
            table.add(int(ids[index]), mask, image[box])
    return list(table.rows(pixel_size_um))


class ObjectTable:
    """Measurements of objects, added one by one, in some hundred bytes each.

    Parameters
    ----------
    n_channels : int
        Of the image.
    """

    def __init__(self, n_channels: int = 1) -> None:
        self._n_channels = n_channels
        self._labels = array("q")
        self._values = array("d")

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self._labels)

    def add(self, label: int, mask: MaskWindow, pixels: NDArray[Any]) -> None:
        """Measure an object.

        Parameters
        ----------
        label : int
            Its number.
        mask : MaskWindow
            Where it is.
        pixels : (h, w) or (h, w, channels) array
            The image inside the window of the mask.

        Raises
        ------
        LabelsError
            If the pixels are of another window.
        """
        channels = pixels[..., None] if pixels.ndim == 2 else pixels
        expected = (*mask.crop.shape, self._n_channels)
        if channels.shape != expected:
            msg = f"Pixels of shape {channels.shape} are not those of {expected}."
            raise LabelsError(msg)
        y, x = np.nonzero(mask.crop)
        self._labels.append(label)
        self._values.append(len(y))
        self._values.append(round(float(y.mean()) + mask.y0, 3))
        self._values.append(round(float(x.mean()) + mask.x0, 3))
        self._values.extend(mask.box)
        inside = channels[mask.crop]  # (area, channels)
        self._values.extend(_finite_mean(values) for values in inside.T)

    def rows(self, pixel_size_um: tuple[float, float] | None = None) -> Iterator[Row]:
        """Yield a row per object, by rising label; columns as in `measure_objects`."""
        values = np.array(self._values).reshape(len(self), 7 + self._n_channels)
        labels = np.array(self._labels)
        for index in np.argsort(labels, kind="stable").tolist():
            yield self._row(int(labels[index]), values[index].tolist(), pixel_size_um)

    def _row(
        self, label: int, values: list[float], pixel_size_um: tuple[float, float] | None
    ) -> Row:
        area, y, x, *box = values[:7]
        places = dict(zip(_PLACES, (y, x, *map(int, box)), strict=True))
        row: Row = {"label": label, "area_px": int(area)}
        row |= {f"{name}_px": value for name, value in places.items()}
        means = (None if np.isnan(mean) else mean for mean in values[7:])
        row |= zip(_mean_columns(self._n_channels), means, strict=True)
        row["area_um2"] = None
        row |= dict.fromkeys(f"{name}_um" for name in places)
        if pixel_size_um is not None:
            height, width = pixel_size_um
            row["area_um2"] = _rounded(area * height * width)
            for name, value in places.items():
                row[f"{name}_um"] = _rounded(value * (height if "y" in name else width))
        return row


def write_table(
    path: str | Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[str]
) -> Path:
    """Write rows as CSV with a header line, in place of any older file.

    Parameters
    ----------
    path : str or Path
        Where the file shall lie; missing folders are made.
    rows : iterable of mapping
        Values by column; missing ones and None stay empty.
    columns : iterable of str
        Header, written even if there is no row.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    path = Path(path)
    with (
        written_atomically(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, fieldnames=list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def object_columns(n_channels: int = 1) -> list[str]:
    """Columns of ``measure_objects`` in their order."""
    return [
        "label",
        "area_px",
        *(f"{name}_px" for name in _PLACES),
        *_mean_columns(n_channels),
        "area_um2",
        *(f"{name}_um" for name in _PLACES),
    ]


def _mean_columns(n_channels: int) -> list[str]:
    if n_channels == 1:
        return ["mean_intensity"]
    return [f"mean_intensity_{c}" for c in range(n_channels)]


def _finite_mean(values: NDArray[Any]) -> float:
    """Return the mean of finite values, NaN if there is none."""
    finite = values[np.isfinite(values)]
    return _rounded(float(finite.mean(dtype=np.float64))) if finite.size else np.nan


def _rounded(value: float) -> float:
    """Seven significant digits: more is noise and makes the table hard to read."""
    return float(f"{value:.7g}")
