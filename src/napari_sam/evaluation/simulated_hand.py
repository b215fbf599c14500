# SPDX-License-Identifier: Apache-2.0
"""A person at the annotator, object by object: where to click, and when to stop."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.evaluation.annotation_effort import Action
from napari_sam.evaluation.prompts import centre_point, correction_point
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompt_checks import FOREGROUND
from napari_sam.structures.prompts import PointPrompt

if TYPE_CHECKING:
    from napari_sam.annotation.annotator import Annotator
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.evaluation.annotation_effort import Habits

WORTH_A_KEY = 0.05
"""Another reading of the prompt is walked to if its IoU is higher by more than this."""

NOTHING = MaskWindow(0, 0, np.zeros((0, 0), dtype=np.bool_))


class Hand:
    """A hand at an annotator with a model, on one plane.

    Parameters
    ----------
    annotator : Annotator
        Answers at once: its runner works in the caller's thread.
    plane : PlaneKey
        Where.
    habits : Habits
        Rules.
    rng : numpy.random.Generator
        Where clicks land.

    Attributes
    ----------
    actions : Counter of Action
        What was done so far.
    """

    def __init__(
        self,
        annotator: Annotator,
        plane: PlaneKey,
        habits: Habits,
        rng: np.random.Generator,
    ) -> None:
        self.actions: Counter[Action] = Counter()
        self._annotator = annotator
        self._plane = plane
        self._habits = habits
        self._rng = rng
        self._failures: list[Exception] = []
        annotator.failed.connect(self._failures.append)

    def did(self, action: Action) -> None:
        """Note an action; raises what went wrong in the model meanwhile."""
        self.actions[action] += 1
        if self._failures:
            raise self._failures[0]

    def draw(self, target: MaskWindow) -> None:
        """Prompt a new object from nothing; keeps it if it becomes usable."""
        self.did(Action.LOOK)
        wanted = self._within_reach(target)
        if not wanted.area:  # all of it lies under other objects, which are kept
            return
        y, x = centre_point(wanted.crop)
        middle = PointPrompt((wanted.y0 + y, wanted.x0 + x))
        iou = self._correct(target, self._aimed(middle, wanted))
        self._end(is_kept=iou >= self._habits.usable_iou)

    def mend(self, target: MaskWindow, object_id: int, iou: float) -> None:
        """Open an object again and correct it; it stays as it was unless it gains."""
        self._annotator.reopen(self._plane, object_id)
        self.did(Action.REOPEN)
        self.did(Action.LOOK)
        self._end(is_kept=self._correct(target) > iou)

    def _end(self, *, is_kept: bool) -> None:
        """Accept or discard what is on offer."""
        if is_kept:
            self._annotator.commit()
        else:
            self._annotator.discard()
        self.did(Action.ACCEPT if is_kept else Action.DISCARD)

    def _correct(self, target: MaskWindow, first: PointPrompt | None = None) -> float:
        """Click until the mask on offer is good; returns its IoU."""
        clicks: list[PointPrompt] = []
        click = first
        while True:
            if click is not None:
                clicks.append(click)
                self._annotator.add_point(self._plane, click.yx, click.label)
                self.did(Action.POINT)
                self.did(Action.LOOK)
            iou = self._best_reading(target)
            if iou >= self._habits.target_iou or len(clicks) == self._habits.max_clicks:
                return iou
            click = self._next_click(target)
            if click is None or click in clicks:  # nothing new is to be said
                return iou

    def _best_reading(self, target: MaskWindow) -> float:
        """Walk to a better mask of the answer if there is one; returns its IoU."""
        shown = self._annotator.shown
        if shown is None:
            return 0.0
        iou = shown.mask.iou(target)
        if iou >= self._habits.target_iou:
            return iou
        ious = {i: shown.answer.masks[i].iou(target) for i in shown.order}
        best = max(ious, key=lambda i: ious[i])
        if ious[best] <= iou + WORTH_A_KEY:
            return iou
        while shown is not None and shown.index != best:
            self._annotator.next_candidate()
            self.did(Action.NEXT_MASK)
            shown = self._annotator.shown
        return 0.0 if shown is None else shown.mask.iou(target)

    def _next_click(self, target: MaskWindow) -> PointPrompt | None:
        """Return a click in the middle of the largest error; None if there is none."""
        shown = self._annotator.shown
        now = NOTHING if shown is None else shown.mask
        wanted = self._within_reach(target)
        middle = correction_point(wanted, now)
        if middle is None:
            return None
        is_missing = middle.label == FOREGROUND
        region, hole = (wanted, now) if is_missing else (now, wanted)
        return self._aimed(middle, region, hole)

    def _aimed(
        self, middle: PointPrompt, region: MaskWindow, hole: MaskWindow = NOTHING
    ) -> PointPrompt:
        """Return a click as it lands: near the middle, in the region but its hole."""
        dy, dx = np.rint(self._rng.normal(0, self._habits.aim_px, 2))
        y, x = round(middle.yx[0] + dy), round(middle.yx[1] + dx)
        is_hit = _covers(region, y, x) and not _covers(hole, y, x)
        return PointPrompt((y, x), middle.label) if is_hit else middle

    def _within_reach(self, target: MaskWindow) -> MaskWindow:
        """Leave out what other objects hold: no click can win it."""
        labels = self._annotator.labels.read(self._plane, target.box)
        draft = self._annotator.draft
        own = 0 if draft is None or draft.object_id is None else draft.object_id
        is_free = (labels == 0) | (labels == own)
        return MaskWindow(target.y0, target.x0, target.crop & is_free)


def _covers(mask: MaskWindow, y: int, x: int) -> bool:
    return bool(mask.inside((y, x, y + 1, x + 1))[0, 0])
