# SPDX-License-Identifier: Apache-2.0
"""Prompts of one or many objects, checked and placed in the model's frame."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_sam.errors import PromptError
from napari_sam.prediction.transforms import FrameTransform
from napari_sam.structures.prompt_checks import (
    PADDING,
    check_boxes,
    check_mask_input,
    check_points,
)

_Points = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]


class PromptBatch(NamedTuple):
    """B prompts in frame coordinates; what was not given is None.

    ``points`` is ((B, N, 2) x, y, (B, N) labels), ``boxes`` (B, 4) ``x0, y0, x1, y1``,
    ``masks`` (B, h, w) low-resolution logits.
    """

    points: _Points | None = None
    boxes: npt.NDArray[np.float64] | None = None
    masks: npt.NDArray[np.float32] | None = None

    @property
    def n_prompts(self) -> int:
        """Number of prompts B."""
        positions = None if self.points is None else self.points[0]
        given = (positions, self.boxes, self.masks)
        return next(len(part) for part in given if part is not None)

    @property
    def is_ambiguous(self) -> bool:
        """Whether each prompt is one point, which may mean a part or a whole."""
        if self.points is None or self.boxes is not None:
            return False
        return bool(self.points[0].shape[1] == 1)

    def part(self, start: int, stop: int) -> "PromptBatch":
        """Return the prompts of a range."""
        rows = slice(start, stop)
        return PromptBatch(
            None
            if self.points is None
            else (self.points[0][rows], self.points[1][rows]),
            None if self.boxes is None else self.boxes[rows],
            None if self.masks is None else self.masks[rows],
        )

    def to_tensors(
        self, device: torch.device
    ) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None, Tensor | None]:
        """Return points, boxes and (B, 1, h, w) masks as the prompt encoder takes them.

        Coordinates were scaled in float64; they become float32 before they reach the
        device, because Apple's MPS knows nothing wider.
        """
        points = None
        if self.points is not None:
            positions, labels = self.points
            points = (_to_float32(positions, device), torch.tensor(labels).to(device))
        boxes = None if self.boxes is None else _to_float32(self.boxes, device)
        masks = None if self.masks is None else _to_float32(self.masks, device)[:, None]
        return points, boxes, masks


def place_prompts(
    points_yx: npt.ArrayLike | None = None,
    point_labels: npt.ArrayLike | None = None,
    boxes_yx: npt.ArrayLike | None = None,
    mask_inputs: Sequence[npt.ArrayLike] | None = None,
    *,
    transform: FrameTransform,
    mask_shape: tuple[int, int],
    allow_padding: bool = False,
) -> PromptBatch:
    """Check prompts against a plane and place them in the frame.

    Parameters
    ----------
    points_yx : (B, N, 2) array-like or None
        Row, column in pixels of the plane.
    point_labels : (B, N) array-like or None
        1 object, 0 background; -1 for padding where it is allowed.
    boxes_yx : (B, 4) array-like or None
        ``y0, x0, y1, x1``.
    mask_inputs : sequence of B (h, w) or (1, h, w) array-likes, or None
        Low-resolution logits.
    transform : FrameTransform
        Where the plane lies in the frame.
    mask_shape : (h, w)
        Shape of mask inputs that the model takes.
    allow_padding : bool
        Whether label -1 may fill up rows.

    Returns
    -------
    PromptBatch

    Raises
    ------
    PromptError
        If nothing was given, or something makes no sense on this plane.
    """
    if points_yx is None and point_labels is not None:
        msg = "Point labels came without points."
        raise PromptError(msg)
    if points_yx is None and boxes_yx is None and mask_inputs is None:
        msg = "There is no prompt: give points, a box or a mask input."
        raise PromptError(msg)
    size = transform.original_size
    points = boxes = masks = None
    if points_yx is not None:
        checked, labels = check_points(
            points_yx, point_labels, size, allow_padding=allow_padding
        )
        _check_axes("points_yx", checked, "(B, N, 2)")
        points = (transform.points_to_frame(checked), labels)
        if boxes_yx is None and mask_inputs is None:
            _check_some_point(labels)
    if boxes_yx is not None:
        clipped = check_boxes(boxes_yx, size)
        _check_axes("boxes_yx", clipped, "(B, 4)")
        boxes = transform.boxes_to_frame(clipped)
    if mask_inputs is not None:
        masks = np.empty((_count(mask_inputs), *mask_shape), dtype=np.float32)
        for target, mask in zip(masks, mask_inputs, strict=True):
            target[...] = check_mask_input(mask, mask_shape)
    batch = PromptBatch(points, boxes, masks)
    _check_equal_numbers(batch)
    return batch


def _to_float32(values: npt.NDArray[np.floating], device: torch.device) -> Tensor:
    """Move numbers to a device as float32."""
    return torch.tensor(values.astype(np.float32)).to(device)


def _check_axes(name: str, array: npt.NDArray[np.float64], wanted: str) -> None:
    """Refuse arrays without, or with more than, a leading axis for the objects."""
    if array.ndim != wanted.count(",") + 1:
        msg = f"{name} has shape {array.shape}, but for B objects it is {wanted}."
        raise PromptError(msg)


def _count(mask_inputs: Sequence[npt.ArrayLike]) -> int:
    """Return the number of mask inputs, or refuse what holds none."""
    try:
        return len(mask_inputs)
    except TypeError:
        msg = (
            f"mask_inputs is {mask_inputs!r}, but for B objects it holds B arrays of "
            "low-resolution logits."
        )
        raise PromptError(msg) from None


def _check_some_point(labels: npt.NDArray[np.int64]) -> None:
    """Refuse rows of nothing but padding."""
    empty = (labels == PADDING).all(axis=1)
    if bool(empty.any()):
        msg = f"Prompt {int(np.flatnonzero(empty)[0])} of the batch has no point."
        raise PromptError(msg)


def _check_equal_numbers(batch: PromptBatch) -> None:
    """Refuse points, boxes and masks of different numbers of objects."""
    positions = None if batch.points is None else batch.points[0]
    given = (positions, batch.boxes, batch.masks)
    numbers = [len(part) for part in given if part is not None]
    if len(set(numbers)) > 1:
        msg = f"Points, boxes and masks are of {numbers} objects: give equal numbers."
        raise PromptError(msg)
