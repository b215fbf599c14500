# SPDX-License-Identifier: Apache-2.0
"""Checks of prompts: shapes, labels, finite numbers, inside the plane or not.

Arrays of any batch shape are accepted, so that one prompt and a thousand are checked by
the same lines. Positions are row, column in pixels of the plane, whole numbers being
pixel centres.
"""

import numpy as np
import numpy.typing as npt

from napari_sam.errors import PromptError
from napari_sam.structures.arrays import Coordinates, FloatArray
from napari_sam.structures.geometry import clip_box, sort_box

BACKGROUND = 0
FOREGROUND = 1
PADDING = -1

_IN_BATCHES = " Several objects at once are for predict_batch."


def check_points(
    points_yx: npt.ArrayLike,
    point_labels: npt.ArrayLike | None,
    shape: tuple[int, int],
    *,
    allow_padding: bool = False,
) -> tuple[Coordinates, npt.NDArray[np.int64]]:
    """Check points against a plane.

    Parameters
    ----------
    points_yx : (..., N, 2) array-like
        Row, column. A plane of H rows reaches from -0.5 to below H.
    point_labels : (..., N) array-like or None
        1 object, 0 background; None means all 1.
    shape : (H, W)
        Size of the plane.
    allow_padding : bool
        Whether label -1 may fill up the rows of a batch.

    Returns
    -------
    points : (..., N, 2) float64 array
        Padding points are moved to 0, 0.
    labels : (..., N) int64 array

    Raises
    ------
    PromptError
        If shapes do not fit, a label is unknown, or a point is not finite or outside.
    """
    points = _as_numbers(points_yx, "points_yx")
    if points.ndim < 2 or points.shape[-1] != 2 or points.shape[-2] == 0:
        msg = f"Points are (N, 2) rows of y, x, not an array of shape {points.shape}."
        raise PromptError(msg)
    labels = _check_labels(point_labels, points.shape[:-1], allow_padding=allow_padding)
    used = labels != PADDING
    points = np.where(used[..., None], points, 0.0)
    if not bool(np.isfinite(points).all()):
        msg = "A point has a coordinate that is NaN or infinite."
        raise PromptError(msg)
    outside = (points < -0.5) | (points >= np.array(shape, dtype=np.float64))
    if bool(outside.any()):
        y, x = points[outside.any(axis=-1)][0]
        msg = (
            f"The point (y, x) = ({y:g}, {x:g}) lies outside the image of "
            f"{shape[0]} rows and {shape[1]} columns."
        )
        raise PromptError(msg)
    return points, labels


def check_one_object(
    points_yx: npt.ArrayLike | None,
    point_labels: npt.ArrayLike | None,
    box_yx: npt.ArrayLike | None,
) -> None:
    """Check that prompts have the shapes of a single object's, as they were given.

    Parameters
    ----------
    points_yx : (N, 2) array-like or None
        Row, column.
    point_labels : (N,) array-like or None
        One label for each point.
    box_yx : (4,) array-like or None
        ``y0, x0, y1, x1``.

    Raises
    ------
    PromptError
        If a shape differs.
    """
    if points_yx is not None:
        shape = _as_numbers(points_yx, "points_yx").shape
        if len(shape) != 2 or shape[1] != 2 or shape[0] == 0:
            msg = (
                f"points_yx has shape {shape}, but the points of one object are "
                f"(N, 2) rows of y, x, N at least 1.{_IN_BATCHES}"
            )
            raise PromptError(msg)
        if point_labels is not None:
            found = _as_numbers(point_labels, "point_labels").shape
            if found != shape[:1]:
                msg = (
                    f"point_labels has shape {found}, but {shape[0]} points need "
                    f"{shape[0]} labels."
                )
                raise PromptError(msg)
    if box_yx is not None:
        shape = _as_numbers(box_yx, "box_yx").shape
        if shape != (4,):
            msg = f"box_yx has shape {shape}, but one box is y0, x0, y1, x1."
            raise PromptError(msg + _IN_BATCHES)


def check_boxes(boxes_yx: npt.ArrayLike, shape: tuple[int, int]) -> Coordinates:
    """Check boxes against a plane; sort their corners and cut them at its borders.

    Parameters
    ----------
    boxes_yx : (..., 4) array-like
        ``y0, x0, y1, x1`` with the corners in any order.
    shape : (H, W)
        Size of the plane.

    Returns
    -------
    (..., 4) float64 array

    Raises
    ------
    PromptError
        If a box is not finite, has no area or lies outside the plane.
    """
    boxes = sorted_finite_boxes(boxes_yx)
    refuse_empty_boxes(boxes)
    clipped = clip_box(boxes, shape)
    empty = _has_no_area(clipped)
    if bool(empty.any()):
        box = boxes.reshape(-1, 4)[empty.reshape(-1)][0]
        msg = (
            f"The box (y0, x0, y1, x1) = {_format_box(box)} lies outside the image of "
            f"{shape[0]} rows and {shape[1]} columns."
        )
        raise PromptError(msg)
    return clipped


def check_mask_input(mask_input: npt.ArrayLike, shape: tuple[int, int]) -> FloatArray:
    """Check low-resolution logits.

    Parameters
    ----------
    mask_input : (h, w) or (1, h, w) array-like
        Logits of an earlier answer.
    shape : (h, w)
        What the model expects: four times its feature grid.

    Returns
    -------
    (h, w) float32 array

    Raises
    ------
    PromptError
        If the shape differs or a value is not finite.
    """
    logits = np.asarray(mask_input)
    if logits.dtype.kind not in "buif":
        msg = f"mask_input must hold real numbers, not {logits.dtype}."
        raise PromptError(msg)
    if logits.shape not in (shape, (1, *shape)):
        msg = (
            f"mask_input has shape {logits.shape}, but this model takes {shape}: "
            "give low_res_logits of an earlier answer of the same model."
        )
        raise PromptError(msg)
    if not bool(np.isfinite(logits).all()):
        msg = "mask_input holds values that are NaN or infinite."
        raise PromptError(msg)
    return logits.reshape(shape).astype(np.float32, copy=False)


def _check_labels(
    point_labels: npt.ArrayLike | None, shape: tuple[int, ...], *, allow_padding: bool
) -> npt.NDArray[np.int64]:
    """Return labels of the given shape, all of them known."""
    if point_labels is None:
        return np.full(shape, FOREGROUND, dtype=np.int64)
    labels = _as_numbers(point_labels, "point_labels")
    if labels.shape != shape:
        msg = f"{shape} points need as many labels, not labels of {labels.shape}."
        raise PromptError(msg)
    known = (PADDING, BACKGROUND, FOREGROUND) if allow_padding else (0, 1)
    wrong = ~np.isin(labels, known)
    if bool(wrong.any()):
        msg = (
            f"Unknown point label {labels[wrong][0]:g}: use 1 on the object and 0 on "
            "what is not the object."
        )
        raise PromptError(msg)
    return labels.astype(np.int64)


def _as_numbers(values: npt.ArrayLike, name: str) -> Coordinates:
    """Turn input into float64 or say what is wrong with it."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{name} cannot be read as an array of numbers: {error}"
        raise PromptError(msg) from error


def sorted_finite_boxes(boxes_yx: npt.ArrayLike) -> Coordinates:
    """Return boxes with sorted corners; refuse odd shapes, NaN and infinity."""
    boxes = _as_numbers(boxes_yx, "box_yx")
    if boxes.ndim == 0 or boxes.shape[-1] != 4:
        msg = f"A box is y0, x0, y1, x1, not an array of shape {boxes.shape}."
        raise PromptError(msg)
    if not bool(np.isfinite(boxes).all()):
        msg = "A box has a side that is NaN or infinite."
        raise PromptError(msg)
    return sort_box(boxes)


def refuse_empty_boxes(boxes: Coordinates) -> None:
    """Raise for boxes without area."""
    empty = _has_no_area(boxes)
    if bool(empty.any()):
        box = boxes.reshape(-1, 4)[empty.reshape(-1)][0]
        msg = (
            f"The box (y0, x0, y1, x1) = {_format_box(box)} has no area. "
            "Give two opposite corners that differ in row and column."
        )
        raise PromptError(msg)


def _has_no_area(boxes: Coordinates) -> npt.NDArray[np.bool_]:
    """Tell for each sorted box whether a side has no length."""
    return np.asarray((boxes[..., 2:] <= boxes[..., :2]).any(axis=-1))


def _format_box(box: Coordinates) -> str:
    """Write a box without trailing zeros."""
    return f"({', '.join(f'{side:g}' for side in box)})"
