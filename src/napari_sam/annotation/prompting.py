# SPDX-License-Identifier: Apache-2.0
"""From what the user drew to what the model is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.draw import line, polygon2mask

from napari_sam.structures.drawn import DrawnPrompts, DrawnShape, ShapeKind
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import BoxPrompt, PointPrompt, PromptSet

if TYPE_CHECKING:
    from napari_sam.structures.arrays import FloatArray

MAX_STROKE_POINTS = 8
"""Points taken along a scribble: SAM was trained with no more than about ten."""
MIN_STROKE_SPACING_PX = 8.0
MASK_BOX_MARGIN_PX = 1.0
"""A mask prompt's own box; SAM's boxes in training were this loose or looser."""


def to_prompt_set(
    drawn: DrawnPrompts,
    plane_shape: tuple[int, int],
    mask_input: FloatArray | None = None,
) -> PromptSet:
    """Turn drawn prompts into those of the model.

    Parameters
    ----------
    drawn : DrawnPrompts
        What the user drew.
    plane_shape : (H, W)
        Size of the plane; what reaches beyond is clipped.
    mask_input : (h, w) float32 array, optional
        Logits of the mask that the prompts are to correct.

    Returns
    -------
    PromptSet
        Scribbles are points along them, the closed shape touched last is a box, and a
        polygon or lasso a mask as well. A mask that the object starts from is given
        with its box until there are logits of an answer.
    """
    points = list(drawn.points)
    for shape in drawn.shapes:
        if shape.kind.is_scribble:
            points += stroke_points(shape, plane_shape)
    outline = drawn.outline
    mask = drawn.mask if mask_input is None else None
    box = None
    if outline is not None:
        box = _clipped_box(outline, plane_shape)
        if outline.kind is ShapeKind.POLYGON and mask_input is None and box is not None:
            mask = _filled(outline, box)
    elif mask is not None and mask.area:
        y0, x0, y1, x1 = mask.box
        margin = MASK_BOX_MARGIN_PX
        box = BoxPrompt(y0 - margin, x0 - margin, y1 + margin, x1 + margin)
    return PromptSet(points=tuple(points), box=box, mask_input=mask_input, mask=mask)


def stroke_points(shape: DrawnShape, plane_shape: tuple[int, int]) -> list[PointPrompt]:
    """Take evenly spaced points along a scribble.

    Returns
    -------
    list of PointPrompt
        From one, in the middle of a short stroke, up to `MAX_STROKE_POINTS`; those
        beside the plane are left out.
    """
    vertices = np.asarray(shape.vertices_yx, dtype=float)
    lengths = np.hypot(*np.diff(vertices, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    n_points = int(
        np.clip(along[-1] // MIN_STROKE_SPACING_PX + 1, 1, MAX_STROKE_POINTS)
    )
    # In the middle of equal pieces: the ends of a stroke tend to leave the object.
    at = (np.arange(n_points) + 0.5) / n_points * along[-1]
    yx = np.stack([np.interp(at, along, vertices[:, axis]) for axis in (0, 1)], axis=1)
    limit = np.asarray(plane_shape) - 0.5
    is_inside = ((yx >= -0.5) & (yx < limit)).all(axis=1)
    return [PointPrompt((float(y), float(x)), shape.label) for y, x in yx[is_inside]]


def _clipped_box(shape: DrawnShape, plane_shape: tuple[int, int]) -> BoxPrompt | None:
    """Bounding box in pixel edges, inside the plane; None if nothing is left.

    A rectangle drawn tightly around pixels 10..20 reaches from 9.5 to 20.5 in pixel
    centres; as a prompt it is 10 to 21.
    """
    vertices = np.asarray(shape.vertices_yx, dtype=float) + 0.5
    low = np.clip(vertices.min(axis=0), 0, plane_shape)
    high = np.clip(vertices.max(axis=0), 0, plane_shape)
    if (high <= low).any():
        return None
    return BoxPrompt(float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def _filled(shape: DrawnShape, box: BoxPrompt) -> MaskWindow | None:
    """Pixels inside a polygon; None if it encloses none."""
    y0, x0 = int(np.floor(box.y0)), int(np.floor(box.x0))
    size = (int(np.ceil(box.y1)) - y0, int(np.ceil(box.x1)) - x0)
    vertices = np.asarray(shape.vertices_yx, dtype=float) - (y0, x0)
    inside = polygon2mask(size, vertices)
    # Where a lasso crosses itself, or its end overlaps its beginning, is a hole which
    # nobody meant; it touches the outside where the line crosses. What the line as
    # drawn encloses is closed, and one pixel wider than what it means.
    drawn = inside.copy()
    corners = np.rint(vertices).astype(int)
    for start, stop in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        rows, columns = line(*start, *stop)
        is_on = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
        drawn[rows[is_on], columns[is_on]] = True
    closed = ndimage.binary_fill_holes(drawn)
    window = MaskWindow.of_mask(inside | ndimage.binary_erosion(closed), y0, x0)
    return window if window.area else None
