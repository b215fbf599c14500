# SPDX-License-Identifier: Apache-2.0
"""Asking one region of an image after the other, until one shows all of the object.

Masks of coarse regions are first drawn in the pixels that the model was shown. That
tells which of them end at a border and how large they are; only what is worth it is
drawn in pixels of the image. What is tiny there is asked for once more in a region that
shows it enlarged.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_sam.errors import Cancelled, PromptError
from napari_sam.prediction.answers import answer_in_full, answer_with_best
from napari_sam.prediction.batching import in_batches
from napari_sam.prediction.image_parts import completed, corners_of, has_mask
from napari_sam.prediction.magnification import is_same_object, size_of
from napari_sam.prediction.predictor import MULTI_OUTPUT
from napari_sam.structures.mask_sketch import MaskSketch
from napari_sam.structures.mask_window import MaskWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event

    from napari_sam.prediction.image_parts import Choice, ImageParts
    from napari_sam.prediction.predictor import SamPredictor
    from napari_sam.prediction.prompt_batch import PromptBatch
    from napari_sam.structures.arrays import Coordinates
    from napari_sam.structures.candidates import Answer
    from napari_sam.structures.embedding import ImageEmbedding
    from napari_sam.structures.plane_view import Region
    from napari_sam.structures.prompts import PromptSet

    Ask = Callable[[SamPredictor, ImageEmbedding, PromptBatch], list[Answer]]

MAX_LIKELY_PX = 1 << 27
MAX_OTHER_PX = 1 << 25
"""Largest masks of a coarse region that are drawn: the one shown first, and others.
A byte for each pixel is held, and several while a mask is cleaned and written."""

_TOO_LARGE = (
    f"The model answers with an object of more than {MAX_LIKELY_PX:,} pixels, perhaps "
    "the background. Zoom in and click on the object itself. An object that is so "
    "large is segmented on a coarser level of the image, opened as an image of its own."
)


@dataclass(frozen=True, slots=True)
class _Question:
    """The prompts of one object, and which region is to answer them.

    Attributes
    ----------
    number : int
        Of the prompts.
    prompts : PromptSet
        In pixels of the image.
    region : Region
        What is asked next.
    seen : (n, 2) array
        Corners of the prompts and of the answers so far.
    may_enlarge : bool
        Whether a finer region is asked if the object is tiny here.
    choice : Choice
        Of the regions that show a tiny object enlarged.
    size_px : float
        Size of an object that is seen enlarged as it was known before, else 0.
    origin : Region or None
        Where that was.
    readings : tuple of MaskWindow
        All masks of a click that were answered there, in the image.
    """

    number: int
    prompts: PromptSet
    region: Region
    seen: Coordinates
    may_enlarge: bool = True
    choice: Choice = "best"
    size_px: float = 0.0
    origin: Region | None = None
    readings: tuple[MaskWindow, ...] = ()

    @property
    def kind(self) -> tuple[int, bool, bool]:
        """Prompts for which this is equal can be asked together."""
        one = self.prompts
        return len(one.points), one.box is not None, has_mask(one)


class RegionAsking:
    """Answers prompts on the regions of one image.

    Parameters
    ----------
    predictor : SamPredictor
        Holds the model.
    parts : ImageParts
        The regions.
    """

    def __init__(self, predictor: SamPredictor, parts: ImageParts) -> None:
        self._predictor = predictor
        self._parts = parts

    def decode(
        self,
        prompts: Sequence[PromptSet],
        ask: Ask,
        scale: int | None = None,
        cancel: Event | None = None,
        *,
        only_ready: bool = False,
    ) -> Iterator[dict[int, Answer]]:
        """Answer prompts region by region, those of one kind together.

        Parameters
        ----------
        prompts : sequence of PromptSet
            In pixels of the image.
        ask : callable
            `answer_in_full` or `answer_with_best`.
        scale : int or None
            The finest scale to look at, except for tiny objects; None is the usual one.
        cancel : threading.Event or None
            When set, encoding of a region stops with `Cancelled`.
        only_ready : bool
            Whether tiny objects are seen enlarged only in regions that are encoded.

        Yields
        ------
        dict of int to Answer
            Those of a batch, by the numbers of their prompts; with masks in the image.

        Raises
        ------
        PromptError
            If prompts make no sense, or an answer in full has too many pixels.
        """
        choice: Choice = "best" if scale is None else "ready first"
        if only_ready:
            choice = "only ready"
        waiting = [
            self._first_question(i, one, scale, choice) for i, one in enumerate(prompts)
        ]
        while waiting:
            following: list[_Question] = []
            for group in _grouped(waiting):
                for found in self._in_batches(group, ask, cancel):
                    answered = {}
                    for question, answer in found:
                        other = self._following(question, answer)
                        if other is None:
                            drawn = self._drawn(question, answer, ask)
                            answered[question.number] = drawn
                            continue
                        if other.origin is not None and len(answer) > 1:
                            drawn = self._drawn(question, answer, ask)
                            other = replace(other, readings=drawn.masks)
                        following.append(other)
                    if answered:
                        yield answered
            waiting = following

    def sketch(self, prompts: PromptSet, scale: int) -> MaskSketch | None:
        """Return the likely mask as regions see it that are ready; encodes nothing.

        Returns
        -------
        MaskSketch or None
            None if none of them shows all of the object.
        """
        parts, corners = self._parts, corners_of(prompts)
        region = parts.ready_for(corners, scale)
        while region is not None:
            (answer,) = self._ask_once([prompts], region, answer_with_best, None)
            box = parts.box_of(answer.masks[0], region)
            if not parts.regions.is_cut(box, region):
                question = _Question(0, prompts, region, corners, choice="only ready")
                finer = self._following(question, answer)
                if finer is not None:
                    region, answer = self._finer(finer, region, answer)
                y, x = region.box[:2]
                corner, step = (float(y), float(x)), parts.step_of(region)
                return MaskSketch(answer.masks[0], corner, step)
            corners = np.concatenate([corners, np.reshape(box, (2, 2))])
            region = parts.ready_for(corners, scale)
        return None

    def _finer(
        self, question: _Question, region: Region, answer: Answer
    ) -> tuple[Region, Answer]:
        """Return the enlarged answer if it is one, else what was answered before."""
        asked = [question.prompts]
        (finer,) = self._ask_once(asked, question.region, answer_with_best, None)
        if self._following(question, finer) is None:
            return question.region, finer
        return region, answer

    def _first_question(
        self, number: int, given: PromptSet, scale: int | None, choice: Choice
    ) -> _Question:
        """Choose the region that is asked first.

        Corrections stay where the mask is from that they correct. Of what has a box,
        the size is known before anything is asked.
        """
        prompts = completed(given, self._parts.regions.shape)
        question = _Question(
            number,
            prompts,
            self._parts.best_for(prompts, scale),
            corners_of(prompts),
            may_enlarge=prompts.mask_input is None,
            choice=choice,
        )
        if not question.may_enlarge or prompts.box_yx is None:
            return question
        finer = self._enlarged(question, prompts.box_yx)
        return question if finer is None else finer

    def _in_batches(
        self, questions: Sequence[_Question], ask: Ask, cancel: Event | None
    ) -> Iterator[list[tuple[_Question, Answer]]]:
        """Ask questions of one kind; masks are in pixels of `ImageParts.seen_as`."""
        region = questions[0].region
        self._parts.embedding(region, cancel)

        def answer(start: int, stop: int) -> list[tuple[_Question, Answer]]:
            if cancel is not None and cancel.is_set():
                msg = "Asking for objects was cancelled."
                raise Cancelled(msg)
            chosen = questions[start:stop]
            asked = [question.prompts for question in chosen]
            answers = self._ask_once(asked, region, ask, cancel)
            return list(zip(chosen, answers, strict=True))

        for _, found in in_batches(answer, len(questions), self._predictor.batch_size):
            yield found

    def _following(self, question: _Question, answer: Answer) -> _Question | None:
        """Return what is to be asked instead; None if an answer is good as it is."""
        parts, region = self._parts, question.region
        likely = answer.masks[_likely_mask(answer, question.prompts)]
        box = parts.box_of(likely, region)
        is_cut = parts.regions.is_cut(box, region)
        if question.origin is not None:
            if not is_cut and is_same_object(question.size_px, size_of(box)):
                return None
            # Enlarged, it is no small object: what was seen at first is the answer.
            return replace(question, region=question.origin, origin=None)
        if is_cut:
            seen = np.concatenate([question.seen, np.reshape(box, (2, 2))])
            wider = parts.regions.grown(region, seen)
            return replace(question, region=wider, seen=seen)
        if not question.may_enlarge or not likely.area:
            return None
        return self._enlarged(question, box)

    def _enlarged(self, question: _Question, box: Sequence[float]) -> _Question | None:
        """Return the question to a region that shows a tiny object larger, if any."""
        seen = np.concatenate([question.seen, np.reshape(np.array(box), (2, 2))])
        size = size_of(box)
        region = self._parts.enlarging(seen, size, question.region, question.choice)
        if region is None:
            return None
        return replace(
            question,
            region=region,
            may_enlarge=False,
            size_px=size,
            origin=question.region,
        )

    def _drawn(self, question: _Question, answer: Answer, ask: Ask) -> Answer:
        """Return the last answer to a question with masks in the image.

        Of a tiny object, readings of a click that do not fit in the region that shows
        it enlarged are those from before.
        """
        likely = _likely_mask(answer, question.prompts)
        drawn = self._bring_back(answer, question.region, likely)
        if question.origin is not None and question.readings:
            regions, region = self._parts.regions, question.region
            masks = (
                before if regions.is_cut(mask.box, region) else mask
                for before, mask in zip(question.readings, drawn.masks, strict=True)
            )
            drawn = replace(drawn, masks=tuple(masks))
        is_lost = answer.masks[likely].area and not drawn.masks[likely].area
        if is_lost and ask is answer_in_full:
            raise PromptError(_TOO_LARGE)
        return drawn

    def _ask_once(
        self,
        prompts: Sequence[PromptSet],
        region: Region,
        ask: Ask,
        cancel: Event | None,
    ) -> list[Answer]:
        """Return answers with masks in pixels of `ImageParts.seen_as`."""
        self._parts.embedding(region, cancel)
        seen = self._parts.seen_as(region)
        return ask(self._predictor, seen, self._parts.place(prompts, region))

    def _bring_back(self, answer: Answer, region: Region, likely: int) -> Answer:
        """Draw the masks of a region in the image.

        Beside the likely one, those that end at a border of a coarse region, and very
        large ones, come back empty.
        """
        self._parts.note(answer, region)
        masks = answer.masks
        embedding = self._parts.embedding(region)
        if self._parts.seen_as(region) is not embedding:
            masks = tuple(
                self._in_full(answer, i, region, embedding, is_likely=i == likely)
                for i in range(len(answer))
            )
        y, x = region.box[:2]
        if (y, x) == (0, 0) and masks is answer.masks:
            return answer
        moved = (replace(m, y0=m.y0 + y, x0=m.x0 + x) for m in masks)
        return replace(answer, masks=tuple(moved))

    def _in_full(
        self,
        answer: Answer,
        index: int,
        region: Region,
        embedding: ImageEmbedding,
        *,
        is_likely: bool,
    ) -> MaskWindow:
        """Draw one mask in pixels of the image, relative to its region."""
        y0, x0, y1, x1 = box = self._parts.box_of(answer.masks[index], region)
        most = MAX_LIKELY_PX if is_likely else MAX_OTHER_PX
        is_cut = not is_likely and self._parts.regions.is_cut(box, region)
        if is_cut or (y1 - y0) * (x1 - x0) > most:
            return MaskWindow.of_mask(np.zeros((0, 0), dtype=np.bool_))
        logits = torch.from_numpy(answer.low_res_logits[index : index + 1])
        logits = logits.to(self._predictor.model.device)
        return self._predictor.mask_windows(embedding, logits)[0]


def _grouped(questions: Sequence[_Question]) -> list[list[_Question]]:
    """Group questions that can be asked together, region by region.

    So a region is encoded once, however many objects it shows. Those of a region that
    comes first among the questions come first.
    """
    regions: dict[Region, dict[Any, list[_Question]]] = {}
    for question in questions:
        kinds = regions.setdefault(question.region, defaultdict(list))
        kinds[question.kind].append(question)
    return [group for kinds in regions.values() for group in kinds.values()]


def _likely_mask(answer: Answer, prompts: PromptSet) -> int:
    """Return the index of the mask that is shown first."""
    if len(answer) == 1 or not prompts.is_ambiguous:
        return 0
    return MULTI_OUTPUT.start + int(np.argmax(answer.predicted_iou[MULTI_OUTPUT]))
