# SPDX-License-Identifier: Apache-2.0
"""Many prompts at once, each of which becomes one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from psygnal import Signal
from scipy import ndimage

from napari_sam.annotation.commit_policy import CommitSettings, clean_window
from napari_sam.annotation.job import Job, JobContext, Priority
from napari_sam.annotation.objects import AnnotatedObject, Origin, Status, Turn
from napari_sam.annotation.prompting import to_prompt_set
from napari_sam.annotation.run_table import boxes_touch
from napari_sam.annotation.scope import PlaneContext, PlanesResult, over_planes
from napari_sam.errors import PhaseError, PromptError
from napari_sam.structures.mask_window import MaskWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_sam.annotation.ports import (
        Encoded,
        ImageSource,
        JobRunner,
        PlaneKey,
        Segmenter,
    )
    from napari_sam.structures.arrays import BoolMask
    from napari_sam.structures.drawn import DrawnPrompts

AT_ONCE = 64
"""Prompts asked together; logits of more are not kept at the same time."""
REPEATS_FROM = 0.8
"""Of two masks with a higher IoU than this, the worse one repeats the better."""
MOST_TAKEN = 0.5
"""A mask that loses more than this part to better ones is dropped: it is a sliver."""
_WITH_CORNERS = np.ones((3, 3), dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class BatchObject:
    """One prompt's mask, as it will be written."""

    drawn: DrawnPrompts
    mask: MaskWindow
    predicted_iou: float


@dataclass(frozen=True, slots=True)
class PlaneBatch:
    """What became of the prompts of one plane.

    Attributes
    ----------
    plane : PlaneKey
    objects : tuple of BatchObject
        They do not overlap; in the order of their prompts.
    n_asked, n_answered : int
        Prompts of the plane, and those that the model got to see before a cancel.
    n_empty : int
        Prompts without a mask, or with one smaller than the commit rule asks for.
    n_repeats : int
        Masks dropped because a better one of the batch is nearly the same.
    n_covered : int
        Masks dropped because better ones took most of their pixels.
    """

    plane: PlaneKey
    objects: tuple[BatchObject, ...]
    n_asked: int
    n_answered: int
    n_empty: int = 0
    n_repeats: int = 0
    n_covered: int = 0


BatchResult = PlanesResult[PlaneBatch]


class BatchRun:
    """One batch at a time; results arrive as signals.

    Parameters
    ----------
    runner : JobRunner
        Where the model runs.

    Attributes
    ----------
    progressed : Signal(int, int)
        Steps done and steps in all.
    finished : Signal(PlanesResult of PlaneBatch)
        Also after `cancel`, with what was answered by then.
    failed : Signal(Exception)
    """

    progressed: ClassVar[Signal] = Signal(int, int)
    finished: ClassVar[Signal] = Signal(object)
    failed: ClassVar[Signal] = Signal(Exception)

    def __init__(self, runner: JobRunner) -> None:
        self._runner = runner
        self._job: Job | None = None
        self._is_running = False

    @property
    def is_running(self) -> bool:
        """Whether a result is still to come."""
        return self._is_running

    def start(
        self,
        segmenter: Segmenter,
        source: ImageSource,
        prompts: Mapping[PlaneKey, Sequence[DrawnPrompts]],
        settings: CommitSettings | None = None,
        embed: Callable[[PlaneKey, PlaneContext], Encoded] | None = None,
    ) -> None:
        """Begin; exactly one of `finished` and `failed` follows.

        Parameters
        ----------
        segmenter : Segmenter
            The model.
        source : ImageSource
            The pixels.
        prompts : mapping of PlaneKey to sequence of DrawnPrompts
            One object for each.
        settings : CommitSettings, optional
            How masks are cleaned.
        embed : callable, optional
            Returns a plane's embedding in the model thread, for instance from a cache.

        Raises
        ------
        PhaseError
            If a batch is under way.
        PromptError
            If there is no prompt.
        """
        if self._is_running:
            msg = "A batch is under way. Wait for its end or cancel it first."
            raise PhaseError(msg)
        planes = [plane for plane, drawn in prompts.items() if drawn]
        if not planes:
            msg = (
                "There is nothing to segment: the layer has no point or shape on the "
                "planes asked for."
            )
            raise PromptError(msg)
        rule = CommitSettings() if settings is None else settings

        def encode(plane: PlaneKey, context: PlaneContext) -> Encoded:
            return segmenter.embed(source.plane_pixels(plane), cancel=context.cancel)

        def on_plane(plane: PlaneKey, context: PlaneContext) -> PlaneBatch:
            shape = source.plane_shape(plane)
            encoded = (encode if embed is None else embed)(plane, context)
            return answer_plane(
                segmenter, encoded, plane, shape, prompts[plane], rule, context
            )

        def work(context: JobContext) -> BatchResult:
            return over_planes(planes, on_plane, context)

        self._is_running = True
        self._job = self._runner.submit(
            work,
            priority=Priority.GRID,
            on_result=self._receive,
            on_error=self._receive_error,
            on_progress=self.progressed.emit,
        )

    def cancel(self) -> None:
        """Stop soon; what was answered by then is delivered by `finished`."""
        if self._is_running and self._job is not None:
            self._job.cancel()

    def _receive(self, result: BatchResult) -> None:
        self._is_running = False
        self.finished.emit(result)

    def _receive_error(self, error: Exception) -> None:
        self._is_running = False
        self.failed.emit(error)


def answer_plane(
    segmenter: Segmenter,
    encoded: Encoded,
    plane: PlaneKey,
    shape: tuple[int, int],
    drawn: Sequence[DrawnPrompts],
    settings: CommitSettings,
    context: JobContext | PlaneContext,
) -> PlaneBatch:
    """Ask the model for every prompt of a plane and sort the masks out."""
    found: list[tuple[DrawnPrompts, MaskWindow, float]] = []
    n_answered = n_asked = 0
    for start in range(0, len(drawn), AT_ONCE):
        part = drawn[start : start + AT_ONCE]
        asked = [to_prompt_set(one, shape) for one in part]

        def report(done: int, total: int, start: int = start) -> None:
            context.progress(start + done, len(drawn))

        answers = segmenter.predict_many(
            encoded, asked, progress=report, cancel=context.cancel
        )
        for one, prompts, answer in zip(part, asked, answers, strict=False):
            mask = clean_window(answer.masks[0], prompts.points, settings)
            found.append((one, mask, float(answer.predicted_iou[0])))
        n_answered += len(answers)
        n_asked += len(part)
        if n_answered < n_asked or context.cancel.is_set():
            break
    least = max(settings.min_area, 1)
    usable = [item for item in found if item[1].area >= least]
    masks, n_repeats = resolve_overlaps(
        [mask for _, mask, _ in usable], [score for *_, score in usable], shape, least
    )
    objects = tuple(
        BatchObject(usable[number][0], mask, usable[number][2])
        for number, mask in sorted(masks.items())
    )
    return PlaneBatch(
        plane=plane,
        objects=objects,
        n_asked=len(drawn),
        n_answered=n_answered,
        n_empty=len(found) - len(usable),
        n_repeats=n_repeats,
        n_covered=len(usable) - n_repeats - len(objects),
    )


def resolve_overlaps(
    masks: Sequence[MaskWindow],
    scores: Sequence[float],
    shape: tuple[int, int],
    min_area: int = 1,
) -> tuple[dict[int, MaskWindow], int]:
    """Give each pixel to the best mask that claims it.

    Parameters
    ----------
    masks : sequence of MaskWindow
        Masks of one plane.
    scores : sequence of float
        The higher one keeps the pixel; of equal ones the earlier.
    shape : (H, W)
        Size of the plane.
    min_area : int
        What is left of a mask has at least so many pixels, or is dropped.

    Returns
    -------
    kept : dict of int to MaskWindow
        By position: the largest piece of what better masks left. A mask that repeats a
        better one (IoU above 0.8), or of which less than half is left, is missing.
    n_repeats : int
        How many were dropped as repeats.
    """
    is_taken: BoolMask = np.zeros(shape, dtype=np.bool_)
    boxes = np.array([mask.box for mask in masks]).reshape(-1, 4)
    is_kept = np.zeros(len(masks), dtype=np.bool_)
    kept: dict[int, MaskWindow] = {}
    n_repeats = 0
    for number in np.argsort(-np.asarray(scores, dtype=float), kind="stable").tolist():
        mask = masks[number]
        near = np.flatnonzero(is_kept & boxes_touch(boxes, mask.box)).tolist()
        if any(mask.iou(masks[other]) > REPEATS_FROM for other in near):
            n_repeats += 1
            continue
        y0, x0, y1, x1 = mask.box
        window = is_taken[y0:y1, x0:x1]
        free = _largest_piece(mask.crop & ~window)
        n_free = int(np.count_nonzero(free))
        if n_free < max(min_area, (1 - MOST_TAKEN) * mask.area, 1):
            continue
        window |= free
        is_kept[number] = True
        kept[number] = MaskWindow.of_mask(free, y0, x0)
    return kept, n_repeats


def batch_items(
    result: BatchResult, model: str = ""
) -> list[tuple[MaskWindow, AnnotatedObject]]:
    """Return masks and templates for `Annotator.write_objects`: to be reviewed."""
    return [
        (
            found.mask,
            AnnotatedObject(
                object_id=0,
                plane=batch.plane,
                box=found.mask.box,
                area=found.mask.area,
                turns=(Turn(found.drawn),),
                predicted_iou=found.predicted_iou,
                status=Status.PROPOSED,
                origin=Origin.BATCH,
                model=model,
            ),
        )
        for batch in result.planes
        for found in batch.objects
    ]


def batch_text(result: BatchResult) -> str:
    """Say what became of the prompts, for the panel."""
    n_objects = sum(len(batch.objects) for batch in result.planes)
    n_answered = sum(batch.n_answered for batch in result.planes)
    parts = {
        "without a mask": sum(batch.n_empty for batch in result.planes),
        "the same as a better one": sum(batch.n_repeats for batch in result.planes),
        "mostly covered by better ones": sum(b.n_covered for b in result.planes),
    }
    text = f"{_counted(n_objects, 'object')} from {_counted(n_answered, 'prompt')}"
    dropped = [f"{n} {reason}" for reason, n in parts.items() if n]
    if dropped:
        text += f" ({', '.join(dropped)})"
    if result.error is not None:
        return f"{text}; then it failed: {result.error}"
    return f"{text}; the rest was cancelled." if result.is_partial else f"{text}."


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _largest_piece(mask: BoolMask) -> BoolMask:
    pieces: Any
    pieces, n_pieces = ndimage.label(mask, structure=_WITH_CORNERS)
    if n_pieces <= 1:
        return mask
    return np.asarray(pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:])))
