# SPDX-License-Identifier: Apache-2.0
"""A table that names images, their labels, and what belongs together."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.errors import ImageError
from napari_sam.io.open_image import split_path
from napari_sam.training.sources import Part, TrainingImage, from_files

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARTS: Mapping[str, Part | None] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "validation": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": None,
}


def from_csv(index: str | Path, *, axes: str | None = None) -> list[TrainingImage]:
    """Take the images that a table names.

    Parameters
    ----------
    index : str or Path
        A CSV file with the columns ``image`` and ``labels`` (paths, relative to the
        table), and if wanted ``split`` (train, val or test; rows of test are left out)
        and ``group``. Other columns are ignored.
    axes : str, optional
        Meaning of the images' axes where the files are silent.

    Raises
    ------
    ImageError
        If the table, a column or a cell is missing, or a value makes no sense.
    """
    index = Path(index)
    rows = _read_table(index)
    found = []
    for number, row in enumerate(rows, start=2):
        where = f"{index}, line {number}"
        part = _part_of(row, where)
        if part is None and (row.get("split") or "").strip():
            continue
        image, labels = (
            _resolved(index.parent, row[key], where) for key in ("image", "labels")
        )
        source = from_files(image, labels, axes=axes, name=str(row["image"]))
        group = (row.get("group") or "").strip()
        found.append(replace(source, group=group, part=part))
    if not found:
        msg = f"{index} names no image for training. Add rows of image and labels."
        raise ImageError(msg)
    return found


def _read_table(index: Path) -> list[dict[str, str]]:
    try:
        with index.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [dict(row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"Cannot read the table {index}: {error}."
        raise ImageError(msg) from error
    missing = [name for name in ("image", "labels") if name not in columns]
    if missing:
        msg = (
            f"{index} lacks the column {' and '.join(missing)}; it has "
            f"{', '.join(columns) or 'none'}. The first line names the columns: image, "
            "labels, and if wanted split and group."
        )
        raise ImageError(msg)
    return rows


def _part_of(row: Mapping[str, str], where: str) -> Part | None:
    """Part of a row; None without a column and for rows of the test part."""
    if "split" not in row:
        return None
    text = (row["split"] or "").strip().lower()
    if text not in _PARTS:
        came = f"is {text!r}" if text else "is empty"
        msg = (
            f"{where}: split {came}. Allowed: train, val, test. Fill the column in "
            "every line, or leave it out and the images are divided by chance."
        )
        raise ImageError(msg)
    return _PARTS[text]


def _resolved(folder: Path, cell: str | None, where: str) -> Path:
    text = (cell or "").strip()
    if not text:
        msg = f"{where}: image or labels is empty. Every line needs both."
        raise ImageError(msg)
    path = folder / text
    file, _ = split_path(path)
    if not file.exists():
        msg = f"{where}: there is no {file}. Paths are relative to the table."
        raise ImageError(msg)
    return path
