# SPDX-License-Identifier: Apache-2.0
"""What a user drew for one object, before it becomes prompts of a model.

A `PromptSet` is what the model is asked; `DrawnPrompts` is what the user sees, moves
and deletes: points, shapes, an existing mask. It comes back unchanged when an object is
opened again. Positions are row, column in pixels of the plane; whole numbers are pixel
centres.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from napari_sam.errors import PromptError
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompt_checks import BACKGROUND, FOREGROUND
from napari_sam.structures.prompts import PointPrompt


class ShapeKind(StrEnum):
    """Shapes that can be drawn, by the names that napari gives them."""

    RECTANGLE = "rectangle"
    ELLIPSE = "ellipse"
    POLYGON = "polygon"
    """Also what a lasso leaves."""
    PATH = "path"
    """An open scribble."""
    LINE = "line"

    @property
    def is_scribble(self) -> bool:
        """Whether the shape is a stroke along which points are taken."""
        return self in (ShapeKind.PATH, ShapeKind.LINE)


@dataclass(frozen=True, slots=True)
class DrawnShape:
    """One shape.

    Attributes
    ----------
    kind : ShapeKind
    vertices_yx : tuple of (y, x)
        Corners of a rectangle or of an ellipse's box (four), corners of a polygon (at
        least three), points of a stroke (at least two).
    label : int
        1 on the object, 0 on what is not the object; only strokes may have 0.
    """

    kind: ShapeKind
    vertices_yx: tuple[tuple[float, float], ...]
    label: int = FOREGROUND

    def __post_init__(self) -> None:
        """Check the number of vertices, that they are finite, and the label."""
        kind = ShapeKind(self.kind)
        vertices = tuple((float(y), float(x)) for y, x in self.vertices_yx)
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "vertices_yx", vertices)
        needed = 2 if kind.is_scribble else 3 if kind is ShapeKind.POLYGON else 4
        if len(vertices) < needed:
            msg = f"A {kind} needs {needed} vertices, not {len(vertices)}."
            raise PromptError(msg)
        if not all(math.isfinite(v) for vertex in vertices for v in vertex):
            msg = f"A {kind} needs finite vertices."
            raise PromptError(msg)
        allowed = (FOREGROUND, BACKGROUND) if kind.is_scribble else (FOREGROUND,)
        if self.label not in allowed:
            msg = f"The label of a {kind} is one of {allowed}, not {self.label!r}."
            raise PromptError(msg)


@dataclass(frozen=True, slots=True)
class DrawnPrompts:
    """Everything drawn for one object on one plane.

    Attributes
    ----------
    points : tuple of PointPrompt
    shapes : tuple of DrawnShape
        In the order in which they were touched: of several closed ones the last counts.
    mask : MaskWindow or None
        An existing label or a brush stroke that the object starts from.
    """

    points: tuple[PointPrompt, ...] = ()
    shapes: tuple[DrawnShape, ...] = ()
    mask: MaskWindow | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was drawn."""
        return not self.points and not self.shapes and self.mask is None

    @property
    def has_object(self) -> bool:
        """Whether something says where the object is, not only where it is not."""
        return (
            self.mask is not None
            or any(point.label == FOREGROUND for point in self.points)
            or any(shape.label == FOREGROUND for shape in self.shapes)
        )

    @property
    def outline(self) -> DrawnShape | None:
        """The closed shape that counts: the one touched last."""
        closed = [shape for shape in self.shapes if not shape.kind.is_scribble]
        return closed[-1] if closed else None

    def extends(self, other: "DrawnPrompts") -> bool:
        """Tell whether these are the other prompts and further ones."""
        return (
            other.mask in (None, self.mask)
            and set(other.points) <= set(self.points)
            and set(other.shapes) <= set(self.shapes)
            and (other.outline is None or other.outline == self.outline)
        )
