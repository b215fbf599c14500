# SPDX-License-Identifier: Apache-2.0
"""Prompts read from layers, and which of them are those that were put there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from napari_sam.structures.drawn import DrawnPrompts, DrawnShape
from napari_sam.structures.prompts import PointPrompt

if TYPE_CHECKING:
    from collections.abc import Sequence

SAME_PX = 0.01
"""Shapes layers keep 32-bit coordinates: positions this close are the same."""


@dataclass(frozen=True, slots=True)
class CollectedPrompts:
    """What lies on one plane.

    Attributes
    ----------
    drawn : DrawnPrompts
        Everything usable, as values that do not change while nobody touches it.
    n_outside : int
        Prompts beside the image or too small: left out.
    n_boxes : int
        Boxes, ellipses and polygons; only the one touched last counts.
    """

    drawn: DrawnPrompts
    n_outside: int = 0
    n_boxes: int = 0

    @property
    def is_only_negative(self) -> bool:
        """Whether all that is said is what the object is not."""
        return not self.drawn.is_empty and not self.drawn.has_object


Item = TypeVar("Item", PointPrompt, DrawnShape)


def snapped(found: DrawnPrompts, known: DrawnPrompts) -> DrawnPrompts:
    """Replace what was read by what is known, wherever both are the same.

    A value that went into a layer comes back as the very same value, so that a prompt
    nobody touched does not look moved.
    """
    return replace(
        found,
        points=tuple(_match(point, known.points) for point in found.points),
        shapes=tuple(_match(shape, known.shapes) for shape in found.shapes),
    )


def n_in_common(found: Sequence[Item], wanted: Sequence[Item]) -> int:
    """Count the items at the beginning of both that are the same."""
    for number, (one, other) in enumerate(zip(found, wanted, strict=False)):
        if not _is_same(one, other):
            return number
    return min(len(found), len(wanted))


def _match(item: Item, known: tuple[Item, ...]) -> Item:
    return next((other for other in known if _is_same(item, other)), item)


def _is_same(item: PointPrompt | DrawnShape, other: PointPrompt | DrawnShape) -> bool:
    (what, here), (other_what, there) = _outline(item), _outline(other)
    return what == other_what and all(
        abs(y - y_there) <= SAME_PX and abs(x - x_there) <= SAME_PX
        for (y, x), (y_there, x_there) in zip(here, there, strict=True)
    )


def _outline(
    item: PointPrompt | DrawnShape,
) -> tuple[tuple[str, int, int], tuple[tuple[float, float], ...]]:
    """Return what must be equal, and positions that must be close."""
    if isinstance(item, PointPrompt):
        return ("point", item.label, 1), (item.yx,)
    vertices = item.vertices_yx
    return (item.kind.value, item.label, len(vertices)), vertices
