# SPDX-License-Identifier: Apache-2.0
"""The worst answers of an evaluation, with their pixels, to look at."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.evaluation.matching import drop_small

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_sam.evaluation.prompts import TrueObject
    from napari_sam.structures.arrays import HalfOpenBox, RgbPlane
    from napari_sam.structures.mask_window import MaskWindow
    from napari_sam.structures.prompts import PromptSet

MAX_SIDE_PX = 512
CONTEXT = 0.75
"""Part of the object's longer side that is shown around it."""

MIN_CONTEXT_PX = 16


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One answer beside the truth.

    Attributes
    ----------
    kind : str
        ``point``, ``box`` or a method of the automatic mode.
    image : str
        Name of the image.
    label : int or None
        Number of the true object; None for a whole image.
    score : float
        IoU; AP for a whole image.
    pixels : (h, w, 3) uint8 array
        Part of the image, at most 512 pixels on a side.
    truth, prediction : (h, w) int32 arrays
        Labels; 1 is the object in question unless it is a whole image.
    points : tuple of (y, x, label)
        In pixels of `pixels`.
    box : (y0, x0, y1, x1) or None
        In pixels of `pixels`.
    corner_yx : (int, int)
    step : int
        ``pixels[i, j]`` is pixel ``corner_yx + step * (i, j)`` of the image.
    """

    kind: str
    image: str
    label: int | None
    score: float
    pixels: RgbPlane
    truth: NDArray[np.int32]
    prediction: NDArray[np.int32]
    points: tuple[tuple[float, float, int], ...] = ()
    box: tuple[float, float, float, float] | None = None
    corner_yx: tuple[int, int] = (0, 0)
    step: int = 1


class WorstCases:
    """Keeps the cases with the lowest scores of every kind, and no others.

    Parameters
    ----------
    n : int
        Cases of each kind.
    """

    def __init__(self, n: int = 8) -> None:
        self._n = n
        self._kept: dict[str, list[tuple[float, int, Case]]] = {}
        self._order = count()

    def wants(self, kind: str, score: float) -> bool:
        """Tell whether a case of this score would be kept."""
        kept = self._kept.get(kind, [])
        return self._n > 0 and (len(kept) < self._n or -score > kept[0][0])

    def add(self, case: Case) -> None:
        """Keep a case if it is among the worst of its kind."""
        if not self.wants(case.kind, case.score):
            return
        kept = self._kept.setdefault(case.kind, [])
        # Of equal scores the earlier one stays.
        heapq.heappush(kept, (-case.score, -next(self._order), case))
        if len(kept) > self._n:
            heapq.heappop(kept)

    def all(self) -> list[Case]:
        """Return the cases, kind by kind, the worst first."""
        return [
            case
            for kept in self._kept.values()
            for *_, case in sorted(kept, key=lambda item: item[:2], reverse=True)
        ]


def object_case(
    kind: str,
    image: str,
    rgb: RgbPlane,
    found: TrueObject,
    prediction: MaskWindow,
    prompts: PromptSet,
    score: float,
) -> Case:
    """Cut out an object with what is around it, its mask and its prompts."""
    y0, x0, y1, x1 = found.box_yx
    margin = max(MIN_CONTEXT_PX, int(CONTEXT * max(y1 - y0, x1 - x0)))
    height, width = rgb.shape[:2]
    part = (
        max(0, y0 - margin),
        max(0, x0 - margin),
        min(height, y1 + margin),
        min(width, x1 + margin),
    )
    step = _step((part[2] - part[0], part[3] - part[1]))
    top, left = part[:2]
    box = None
    if prompts.box is not None:
        sides = np.array(prompts.box.yx) - (top, left, top, left)
        box = tuple((sides / step).tolist())
    return Case(
        kind=kind,
        image=image,
        label=found.label,
        score=score,
        pixels=_cut(rgb, part, step),
        truth=found.window.inside(part)[::step, ::step].astype(np.int32),
        prediction=prediction.inside(part)[::step, ::step].astype(np.int32),
        points=tuple(
            ((p.yx[0] - top) / step, (p.yx[1] - left) / step, p.label)
            for p in prompts.points
        ),
        box=box,
        corner_yx=(top, left),
        step=step,
    )


def image_case(
    kind: str,
    image: str,
    rgb: RgbPlane,
    truth: NDArray[np.integer],
    prediction: NDArray[np.integer],
    score: float,
    min_area: int,
) -> Case:
    """Take a whole image with true and predicted labels, shrunk if it is large."""
    height, width = truth.shape
    step = _step((height, width))
    whole = (0, 0, height, width)
    shown, found = (
        drop_small(labels, min_area)[::step, ::step].astype(np.int32)
        for labels in (truth, prediction)
    )
    pixels = _cut(rgb, whole, step)
    return Case(kind, image, None, score, pixels, shown, found, step=step)


def _step(size: tuple[int, int]) -> int:
    """Return the step at which an area of this size fits into a picture."""
    return -(-max(size) // MAX_SIDE_PX)


def _cut(rgb: RgbPlane, part: HalfOpenBox, step: int) -> RgbPlane:
    y0, x0, y1, x1 = part
    return np.ascontiguousarray(rgb[y0:y1:step, x0:x1:step])
