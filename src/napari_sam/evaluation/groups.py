# SPDX-License-Identifier: Apache-2.0
"""What is known of images beside their pixels: the columns of an index file."""

from __future__ import annotations

import csv
import itertools
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Groups = dict[str, dict[str, str]]
"""Name of an image to column to value."""

NAME_COLUMNS = ("name", "image", "file", "filename")
MAX_VALUES = 12
"""A column of numbers with more different ones is cut into quarters of the images."""

UNKNOWN = "(unknown)"


def read_groups(path: Path, columns: Sequence[str], names: Sequence[str]) -> Groups:
    """Read columns of an index file for some images.

    Parameters
    ----------
    path : Path
        CSV with a header. The column ``name`` (or ``image``, ``file``, ``filename``)
        holds the name of each image, with or without its extension.
    columns : sequence of str
        To group by.
    names : sequence of str
        Images without extension. Of those that the file does not name, values are
        "(unknown)".

    Returns
    -------
    dict
        Columns and values of each image. Numbers with more than 12 different values
        among these images become four ranges with about as many images each.

    Raises
    ------
    SettingsError
        If the file cannot be read, has no such column, or names none of the images.
    """
    rows = _read(path, columns)
    known = [rows[name] for name in names if name in rows]
    if not known:
        msg = (
            f"{path} names none of the {len(names)} images. Its names must be those "
            f"of the image files, such as {names[0] if names else 'NAME'}."
        )
        raise SettingsError(msg)
    groups: Groups = {name: {} for name in names}
    for column in columns:
        ranges = _ranges([row[column] for row in known])
        for name in names:
            value = rows[name][column] if name in rows else UNKNOWN
            groups[name][column] = ranges.get(value, value) or UNKNOWN
    return groups


def group_of(name: str, groups: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the columns of an image; planes of a stack, ``NAME[z=3]``, share them."""
    return dict(groups.get(name) or groups.get(name.partition("[")[0]) or {})


def _read(path: Path, columns: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the rows by name of image."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            header = list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"Cannot read the index {path}: {error}."
        raise SettingsError(msg) from error
    names = [column for column in NAME_COLUMNS if column in header]
    missing = [column for column in columns if column not in header]
    if missing or not names:
        wanted = missing[0] if missing else " or ".join(NAME_COLUMNS)
        msg = f"{path} has no column {wanted!r}. Its columns: {', '.join(header)}."
        raise SettingsError(msg)
    found = {}
    for row in rows:
        values = {column: (row[column] or "").strip() for column in columns}
        name = (row[names[0]] or "").strip()
        found[name] = found[_without_extension(name)] = values
    return found


def _without_extension(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    is_extension = bool(dot) and ending.isalnum() and not ending.isdigit()
    return stem.removesuffix(".ome") if is_extension else name


def _ranges(values: Sequence[str]) -> dict[str, str]:
    """Return the range that each value lies in; nothing unless all are numbers."""
    try:
        numbers = {value: float(value) for value in values if value}
    except ValueError:
        return {}
    if len(numbers) <= MAX_VALUES or not np.isfinite(list(numbers.values())).all():
        return {}
    every = [numbers[value] for value in values if value]
    inner = np.quantile(every, (0.25, 0.5, 0.75)).tolist()
    bounds = [min(every), *inner, max(every)]
    names = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(bounds)]
    places = np.searchsorted(inner, list(numbers.values()))  # a bound is in the lower
    return {value: names[i] for value, i in zip(numbers, places.tolist(), strict=True)}
