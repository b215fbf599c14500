# SPDX-License-Identifier: Apache-2.0
"""A click on the object is inside of the mask, a click beside it is outside.

A small decoder answers with the most likely mask, in which a click near an outline may
not show. Who clicks there knows better: logits that contradict a click are changed
around it, as far as the click is from the outline. A click in the middle of an error is
as far from the outline that is drawn as from the right one, so a disc of that radius
belongs to the error.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

from napari_sam.structures.prompt_checks import FOREGROUND

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_sam.prediction.prompt_batch import PromptBatch

    Logits = NDArray[np.float32]

MARGIN = 1.0
"""Logits by which a click is inside or outside of the mask, at least."""

REACH = 8
"""Samples from the outline, at most, to which a click changes a mask: what lies farther
away from everything that was found changes what lies next to it."""


def obey_clicks(logits: Tensor, prompts: PromptBatch, frame: int) -> Tensor:
    """Make masks agree with the clicks of clear prompts.

    Of several clicks on the same place the last one counts. A single click without
    anything else is left alone: its masks may be of a part.

    Parameters
    ----------
    logits : (B, n, a, b) float32 tensor
        Low-resolution answers, where they are positive is the object.
    prompts : PromptBatch
        What was answered, in frame coordinates.
    frame : int
        Side of the frame in pixels.

    Returns
    -------
    (B, n, a, b) tensor
        The same one, if nothing had to change.
    """
    is_open = prompts.is_ambiguous and prompts.masks is None
    if prompts.points is None or is_open:
        return logits
    clicks = _clicks(prompts.points, logits.shape[-1], frame)
    masks = logits.cpu().numpy()
    wrong = [
        (number, output)
        for number, output in np.ndindex(masks.shape[:2])
        if any(
            _agreement(masks[number, output], *click) <= 0 for click in clicks[number]
        )
    ]
    if not wrong:
        return logits
    masks = masks.copy()
    for number, output in wrong:
        # What a disc did to a click nearby is taken back next to that click only.
        for reach in (REACH, 1):
            for click in clicks[number]:
                _obey(masks[number, output], *click, reach)
    return torch.from_numpy(masks).to(logits.device)


def _clicks(
    points: tuple[NDArray[np.float64], NDArray[np.int64]], side: int, frame: int
) -> list[list[tuple[float, float, int]]]:
    """List the clicks of each prompt: row and column among samples, and sign.

    The sign is 1 for a click on the object, -1 for one beside it. Clicks beside the
    frame, which no mask can agree with, and padding are left out.
    """
    positions, labels = points
    # From pixel indices of the frame to indices of samples.
    samples = (positions + 0.5) * (side / frame) - 0.5
    return [
        [
            (float(y), float(x), 1 if label == FOREGROUND else -1)
            for (x, y), label in zip(places, given, strict=True)
            if label >= 0 and min(x, y) >= -0.5 and max(x, y) < side - 0.5
        ]
        for places, given in zip(samples, labels, strict=True)
    ]


def _agreement(mask: Logits, y: float, x: float, sign: int) -> float:
    """Return the logit at a place, negative if it contradicts."""
    found = ndimage.map_coordinates(mask, [[y], [x]], order=1, mode="nearest")
    return sign * float(found[0])


def _obey(mask: Logits, y: float, x: float, sign: int, reach: int) -> None:
    """Change (a, b) logits around a click that they contradict, as far as reach."""
    value = _agreement(mask, y, x, sign)
    if value > 0:
        return
    rows, columns = (
        slice(max(math.floor(at) - reach - 1, 0), math.ceil(at) + reach + 2)
        for at in (y, x)
    )
    part = mask[rows, columns]
    i, j = np.mgrid[rows, columns][:, : part.shape[0], : part.shape[1]]
    distance = np.hypot(i - y, j - x)
    agrees = sign * part > 0
    outline = float(distance[agrees].min()) if agrees.any() else math.inf
    # Flat around the click, also where it lies between samples, and then falling.
    radius = max(outline, 1.0) if outline <= reach else 1.0
    disc = np.clip(2 * (1 - np.square(distance / radius)), 0, 1)
    part += (sign * (MARGIN - value) * disc).astype(np.float32)
