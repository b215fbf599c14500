# SPDX-License-Identifier: Apache-2.0
"""Somebody who annotates one image in one of three ways; see `simulated_annotator`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.array_ports import ArrayImage, ArrayLabels
from napari_sam.annotation.desk import model_name
from napari_sam.annotation.grid_run import GridRun
from napari_sam.annotation.jobs import InlineRunner
from napari_sam.annotation.semi_automatic import (
    ProposalBook,
    loosened,
    proposals_of,
    sure_thresholds,
)
from napari_sam.errors import LabelsError, SettingsError
from napari_sam.evaluation.annotation_effort import Action, Habits, ImageEffort
from napari_sam.evaluation.prompts import centre_point
from napari_sam.evaluation.simulated_hand import Hand
from napari_sam.structures.geometry import intersect_boxes
from napari_sam.structures.mask_window import MaskWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_sam.annotation.grid_run import GridResult
    from napari_sam.annotation.job import Job, JobContext
    from napari_sam.annotation.ports import PlaneKey, Segmenter
    from napari_sam.annotation.proposals import Proposals
    from napari_sam.annotation.scope import PlaneContext, PlanesResult
    from napari_sam.evaluation.annotation_truth import Truth

Way = Literal["hand", "semi", "proposals"]
WAYS: tuple[Way, ...] = get_args(Way)


def checked_ways(ways: Iterable[str]) -> tuple[Way, ...]:
    """Return the ways in their usual order, each once.

    Raises
    ------
    SettingsError
        If one is unknown or there is none.
    """
    names = tuple(ways)
    unknown = sorted(set(names) - set(WAYS))
    if unknown or not names:
        came, allowed = ", ".join(unknown) or "(none)", ", ".join(WAYS)
        msg = f"Unknown way {came}. Allowed: {allowed}."
        raise SettingsError(msg)
    return tuple(way for way in WAYS if way in names)


class TimedRunner(InlineRunner):
    """Runs the model in the caller's thread, and adds its time up.

    Attributes
    ----------
    seconds : float
        Wall time of all work so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def submit(self, work: Callable[[JobContext], Any], **options: Any) -> Job:
        """Run and time `work`; see `ModelThread.submit`."""

        def timed(context: JobContext) -> Any:
            began = time.perf_counter()
            try:
                return work(context)
            finally:
                self.seconds += time.perf_counter() - began

        return super().submit(timed, **options)


class Person:
    """Somebody with one image and empty labels.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) array
        The pixels.
    truth : Truth
        What the labels should become.
    segmenter : Segmenter
        The model.
    habits : Habits
        Rules.
    rng : numpy.random.Generator
        Where clicks land.
    """

    def __init__(
        self,
        image: np.ndarray[Any, Any],
        truth: Truth,
        segmenter: Segmenter,
        habits: Habits,
        rng: np.random.Generator,
    ) -> None:
        self._runner = TimedRunner()
        self._source = ArrayImage(image, is_rgb=image.ndim == 3)
        self._labels = ArrayLabels.like(self._source)
        self._plane: PlaneKey = self._source.plane()
        self._annotator = Annotator(self._source, self._labels, self._runner)
        self._annotator.attach(segmenter)
        self._hand = Hand(self._annotator, self._plane, habits, rng)
        self._book = ProposalBook(self._annotator)
        self._truth, self._segmenter, self._habits = truth, segmenter, habits

    @property
    def labels(self) -> np.ndarray[Any, Any]:
        """What was annotated so far, (H, W) uint32."""
        return np.asarray(self._labels.array)

    def annotate(self, name: str, way: Way) -> ImageEffort:
        """Annotate the image and tell what it took."""
        self._annotator.look_at(self._plane)
        if way != "hand":
            self._propose(way)
        ahead = self._runner.seconds
        if way == "semi":
            sure = sure_thresholds(self._segmenter.auto_defaults)
            self._book.split_confident(self._plane, *sure)
        elif way == "proposals":
            self._take_all()
        self._complete()
        match = self._truth.match(self.labels, self._habits.usable_iou)
        return ImageEffort(
            name=name,
            way=way,
            ious=match.ious,
            n_surplus=len(match.surplus),
            actions=self._hand.actions,
            seconds_ahead=ahead,
            seconds_answers=self._runner.seconds - ahead,
        )

    def _propose(self, way: Way) -> None:
        """Run the automatic mode; its masks become proposals."""
        self._hand.did(Action.START)
        defaults = self._segmenter.auto_defaults
        settings = loosened({}, defaults) if way == "semi" else {}

        def measure(result: GridResult, _: PlaneContext) -> Proposals:
            pixels = self._source.read_plane(self._plane)
            return proposals_of(result, pixels, self._book.next_id)

        found: list[PlanesResult[Proposals]] = []
        errors: list[Exception] = []
        run = GridRun(self._runner)
        run.planes_finished.connect(found.append)
        run.failed.connect(errors.append)
        run.start_planes(
            self._segmenter, self._source, [self._plane], settings, finish=measure
        )
        if errors:
            raise errors[0]
        self._book.model = model_name(self._segmenter)
        for proposals in found[0].planes:
            self._book.put(proposals)

    def _take_all(self) -> None:
        proposals = self._book.on_plane(self._plane)
        ids = [] if proposals is None else proposals.visible_ids()
        self._hand.did(Action.LOOK)
        if ids:
            self._book.take(self._plane, ids)
            self._hand.did(Action.TAKE_ALL)

    def _complete(self) -> None:
        """Review what is there, then add what is missing."""
        self._review()
        match = self._truth.match(self.labels, self._habits.usable_iou)
        good = self._habits.target_iou
        for target, object_id, iou in zip(
            self._truth.targets, match.ids.tolist(), match.ious.tolist(), strict=True
        ):
            if object_id and iou < good:
                self._hand.mend(target, object_id, iou)
            elif not object_id and not self._take_proposal(target):
                self._hand.draw(target)

    def _review(self) -> None:
        """Look at every object; delete false ones, unlock what is to be changed."""
        match = self._truth.match(self.labels, self._habits.usable_iou)
        for _ in match.all_ids:
            self._hand.did(Action.LOOK)
        is_mediocre = (match.ids > 0) & (match.ious < self._habits.target_iou)
        wrong = {*match.surplus, *match.ids[is_mediocre].tolist()}
        objects = self._annotator.objects.on_plane(self._plane)
        locked = [known.key for known in objects if known.is_locked]
        if any(object_id in wrong for _, object_id in locked):
            self._annotator.change(locked, is_locked=False)
            self._hand.did(Action.UNLOCK)
        for object_id in match.surplus:
            self._annotator.delete([(self._plane, object_id)])
            self._hand.did(Action.DELETE)

    def _take_proposal(self, target: MaskWindow) -> bool:
        """Click a usable proposal of a missing object; tells whether there was one."""
        proposals = self._book.on_plane(self._plane)
        found = None if proposals is None else _click_on(proposals, target)
        if proposals is None or found is None:
            return False
        yx, iou = found
        proposal_id = proposals.at(yx)
        if iou < self._habits.usable_iou or proposal_id is None:
            return False
        self._hand.did(Action.LOOK)
        self._hand.did(Action.TAKE)
        try:
            self._book.take(self._plane, [proposal_id])
        except LabelsError:  # what is left of it is too little to be an object
            return False
        *_, made = self._annotator.objects.on_plane(self._plane)
        box = made.box
        is_made = self._labels.read(self._plane, box) == made.object_id
        iou = MaskWindow(box[0], box[1], is_made).iou(target)
        if iou < self._habits.target_iou:
            self._hand.did(Action.LOOK)
            self._hand.mend(target, made.object_id, iou)
        return True


def _click_on(
    proposals: Proposals, target: MaskWindow
) -> tuple[tuple[int, int], float] | None:
    """Return a pixel at which a click means the best proposal of an object.

    Returns
    -------
    ((y, x), float) or None
        The pixel and the IoU of the proposal; None if none overlaps the object, or it
        lies wholly under smaller ones.
    """
    ious = {
        i: proposals.mask(i).iou(target)
        for i in proposals.visible_ids()
        if intersect_boxes(proposals.records[proposals.number(i)].bbox, target.box)
    }
    if not ious:
        return None
    best = max(ious, key=lambda i: ious[i])
    canvas = np.zeros(proposals.shape, dtype=np.int32, order="F")
    proposals.paint(canvas, np.asarray(proposals.ids))
    y0, x0, y1, x1 = proposals.mask(best).box
    clickable = canvas[y0:y1, x0:x1] == best
    if not clickable.any():
        return None
    y, x = centre_point(clickable)
    return (y0 + y, x0 + x), ious[best]
