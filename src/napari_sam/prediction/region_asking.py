# SPDX-License-Identifier: Apache-2.0
"""Asking one region of an image after the other, until one shows all of the object.

Masks of coarse regions are first drawn in the pixels that the model was shown. That
tells which of them end at a border and how large they are; only what is worth it is
drawn in pixels of the image.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_sam.errors import PromptError
from napari_sam.prediction.answers import answer_in_full, answer_with_best
from napari_sam.prediction.batching import in_batches
from napari_sam.prediction.image_parts import completed, corners_of, has_mask
from napari_sam.prediction.predictor import MULTI_OUTPUT
from napari_sam.structures.mask_sketch import MaskSketch
from napari_sam.structures.mask_window import MaskWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event

    from napari_sam.prediction.image_parts import ImageParts
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
    ) -> Iterator[dict[int, Answer]]:
        """Answer prompts region by region, those of one kind together.

        Parameters
        ----------
        prompts : sequence of PromptSet
            In pixels of the image.
        ask : callable
            `answer_in_full` or `answer_with_best`.
        scale : int or None
            The finest scale to look at; None is the usual one.
        cancel : threading.Event or None
            When set, encoding of a region stops with `Cancelled`.

        Yields
        ------
        dict of int to Answer
            Those of a batch, by the numbers of their prompts; with masks in the image.

        Raises
        ------
        PromptError
            If prompts make no sense, or an answer in full has too many pixels.
        """
        shape = self._parts.regions.shape
        prompts = [completed(one, shape) for one in prompts]
        groups: dict[Any, list[int]] = defaultdict(list)
        for i, one in enumerate(prompts):
            kind = (len(one.points), one.box is not None, has_mask(one))
            groups[(self._parts.best_for(one, scale), kind)].append(i)
        for (region, _), members in groups.items():
            self._parts.embedding(region, cancel)

            def answer(
                start: int,
                stop: int,
                region: Region = region,
                members: list[int] = members,
            ) -> dict[int, Answer]:
                chosen = members[start:stop]
                asked = [prompts[i] for i in chosen]
                seen = [corners_of(one) for one in asked]
                found = self._ask(asked, seen, region, ask, cancel)
                return dict(zip(chosen, found, strict=True))

            size = self._predictor.batch_size
            for _, found in in_batches(answer, len(members), size):
                yield found

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
                y, x = region.box[:2]
                corner, step = (float(y), float(x)), parts.step_of(region)
                return MaskSketch(answer.masks[0], corner, step)
            corners = np.concatenate([corners, np.reshape(box, (2, 2))])
            region = parts.ready_for(corners, scale)
        return None

    def _ask(
        self,
        prompts: Sequence[PromptSet],
        seen: Sequence[Coordinates],
        region: Region,
        ask: Ask,
        cancel: Event | None,
    ) -> list[Answer]:
        """Ask a region, and one that shows more where the answer ends at its border.

        ``seen`` are the corners of the prompts and of the answers so far.
        """
        answers = self._ask_once(prompts, region, ask, cancel)
        wider: dict[Region, list[int]] = defaultdict(list)
        corners = list(seen)
        for i, one in enumerate(prompts):
            likely = _likely_mask(answers[i], one)
            box = self._parts.box_of(answers[i].masks[likely], region)
            if self._parts.regions.is_cut(box, region):
                corners[i] = np.concatenate([seen[i], np.reshape(box, (2, 2))])
                wider[self._parts.regions.grown(region, corners[i])].append(i)
                continue
            drawn = self._bring_back(answers[i], region, likely)
            is_lost = answers[i].masks[likely].area and not drawn.masks[likely].area
            if is_lost and ask is answer_in_full:
                raise PromptError(_TOO_LARGE)
            answers[i] = drawn
        for other, members in wider.items():
            asked, known = [prompts[i] for i in members], [corners[i] for i in members]
            found = self._ask(asked, known, other, ask, cancel)
            for i, answer in zip(members, found, strict=True):
                answers[i] = answer
        return answers

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


def _likely_mask(answer: Answer, prompts: PromptSet) -> int:
    """Return the index of the mask that is shown first."""
    if len(answer) == 1 or not prompts.is_ambiguous:
        return 0
    return MULTI_OUTPUT.start + int(np.argmax(answer.predicted_iou[MULTI_OUTPUT]))
