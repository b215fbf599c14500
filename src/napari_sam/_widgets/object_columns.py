# SPDX-License-Identifier: Apache-2.0
"""What the table of objects shows of an object, column by column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam.annotation.objects import AnnotatedObject


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, what is shown, and what it is sorted by."""

    title: str
    text: Callable[[AnnotatedObject], str]
    value: Callable[[AnnotatedObject], Any]
    tooltip: str = ""


def status_text(one: AnnotatedObject) -> str:
    return f"{one.status.value}, locked" if one.is_locked else one.status.value


def _iou(one: AnnotatedObject) -> str:
    return "" if one.predicted_iou is None else f"{one.predicted_iou:.2f}"


COLUMNS = (
    Column("Id", lambda o: str(o.object_id), lambda o: o.object_id),
    Column(
        "Class",
        lambda o: o.class_name,
        lambda o: o.class_name.casefold(),
        "Double-click to change it, for all selected objects.",
    ),
    Column("Area", lambda o: f"{o.area:,}", lambda o: o.area, "Pixels."),
    Column(
        "IoU",
        _iou,
        lambda o: -1.0 if o.predicted_iou is None else o.predicted_iou,
        "How good the model thinks the mask is; empty for an object painted by hand.",
    ),
    Column("Status", status_text, status_text),
    Column(
        "Origin",
        lambda o: o.origin.value,
        lambda o: o.origin.value,
        "What the object was made from.",
    ),
    Column(
        "Plane",
        lambda o: ", ".join(str(i) for i in o.plane.index),
        # Padded, since Qt compares no tuples.
        lambda o: " ".join(f"{i:08d}" for i in o.plane.index),
        "Position along the sliders' axes.",
    ),
    Column(
        "Time",
        lambda o: f"{o.seconds:.1f} s" if o.seconds else "",
        lambda o: o.seconds,
        "Time spent on the object.",
    ),
)
ID, CLASS, PLANE = 0, 1, 6
NUMBERS = (0, 2, 3, 7)
"""Columns aligned to the right."""
