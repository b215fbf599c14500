# SPDX-License-Identifier: Apache-2.0
"""Prompts on an image of any size, each answered at a resolution that suits it.

A model with a small frame loses the small objects of a large image. So an image larger
than 1.5 times the frame is looked at in overlapping regions of the frame's size, at
full resolution: the one in whose middle the prompts lie answers. Prompts that reach
further than a region, and answers that end at its border, go to the whole image
instead.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam.errors import Cancelled, PromptError
from napari_sam.prediction.answers import answer_in_full, answer_with_best
from napari_sam.prediction.batching import in_batches
from napari_sam.prediction.image_parts import ImageParts, completed, has_mask
from napari_sam.prediction.intensity import IntensityRule, to_rgb
from napari_sam.prediction.predictor import MULTI_OUTPUT, SINGLE_OUTPUT
from napari_sam.structures.candidates import Answer, Candidates
from napari_sam.structures.prompt_checks import FOREGROUND, check_one_object
from napari_sam.structures.prompts import BoxPrompt, PointPrompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event

    from napari_sam.prediction.predictor import SamPredictor
    from napari_sam.prediction.prompt_batch import PromptBatch
    from napari_sam.structures.arrays import HalfOpenBox, Plane
    from napari_sam.structures.embedding import ImageEmbedding
    from napari_sam.structures.mask_window import MaskWindow

    _Ask = Callable[[SamPredictor, ImageEmbedding, PromptBatch], list[Answer]]


class ImageView:
    """An image ready for prompts.

    Parameters
    ----------
    predictor : SamPredictor
        Holds the model.
    image : (H, W), (H, W, 3), (H, W, 4) array, or 3-D with `channel_axis`
        Any real dtype; see `to_rgb`.
    channel_axis : int or None
        Axis of the channels of a microscope image.
    intensity : IntensityRule or None
        How values become brightness, for the image as a whole.
    cancel : threading.Event or None
        When set, encoding stops with `Cancelled`.

    Attributes
    ----------
    shape : (H, W)
    """

    def __init__(
        self,
        predictor: SamPredictor,
        image: Plane,
        channel_axis: int | None = None,
        *,
        intensity: IntensityRule | None = None,
        cancel: Event | None = None,
    ) -> None:
        self._predictor = predictor
        rgb = to_rgb(image, channel_axis, intensity)
        self.shape = (rgb.shape[0], rgb.shape[1])
        self._parts = ImageParts(predictor, rgb, cancel)

    @property
    def whole(self) -> ImageEmbedding:
        """Embedding of the image seen at once."""
        return self._parts.whole_embedding

    def answer(self, prompts: PromptSet, *, cancel: Event | None = None) -> Answer:
        """Answer the prompts of one object with all four outputs of the decoder.

        Parameters
        ----------
        prompts : PromptSet
            In pixels of the image. Logits given back may be of any part of this image;
            unknown ones are taken to be of the whole. A mask that comes alone is asked
            for together with its box.
        cancel : threading.Event or None
            When set, encoding of a region stops with `Cancelled`.

        Returns
        -------
        Answer
            Masks in the image; logits of the part that answered.

        Raises
        ------
        PromptError
            If there is no prompt, or one makes no sense on this image.
        """
        started = time.perf_counter()
        (found,) = self._decode([prompts], answer_in_full, cancel)
        return replace(found[0], seconds=time.perf_counter() - started)

    def preview(self, yx: tuple[float, float]) -> Answer:
        """Return the one mask that a click here would most likely give.

        Parameters
        ----------
        yx : (y, x)
            In pixels of the image.

        Raises
        ------
        PromptError
            If the position is not on the image.
        """
        started = time.perf_counter()
        (found,) = self._decode([PromptSet((PointPrompt(yx),))], answer_with_best)
        return replace(found[0], seconds=time.perf_counter() - started)

    def answer_many(
        self,
        prompts: Sequence[PromptSet],
        *,
        progress: Callable[[int, int], None] | None = None,
        cancel: Event | None = None,
    ) -> list[Answer]:
        """Answer the prompts of many objects with one mask each.

        It is output 0, or the best of the other three for a single point. Prompts are
        decoded region by region, those of one kind together.

        Parameters
        ----------
        prompts : sequence of PromptSet
            In pixels of the image.
        progress : callable or None
            Called with ``(objects done, objects in all)`` after each batch.
        cancel : threading.Event or None
            Looked at after each batch and between the blocks of the encoder.

        Returns
        -------
        list of Answer
            In the order of `prompts`; shorter when cancelled. Their logits are left
            out, ``low_res_logits`` is (0, a, b): those of a thousand objects would take
            250 MB.

        Raises
        ------
        PromptError
            As in `answer`.
        """
        made: dict[int, Answer] = {}
        try:
            for found in self._decode(prompts, answer_with_best, cancel):
                for i, answer in found.items():
                    made[i] = replace(answer, low_res_logits=answer.low_res_logits[:0])
                if progress is not None:
                    progress(len(made), len(prompts))
                if cancel is not None and cancel.is_set():
                    break
        except Cancelled:
            pass  # while a region was encoded
        return [made[i] for i in takewhile(made.__contains__, range(len(prompts)))]

    def predict(
        self,
        points_yx: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box_yx: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
    ) -> Candidates:
        """Return masks of one object; arguments as in `SamPredictor.predict`.

        The low-resolution logits are those of the part of the image that answered;
        given back, they are taken for what they are.
        """
        prompts = _one_object(points_yx, point_labels, box_yx, mask_input)
        is_one_click = len(prompts.points) == 1 and prompts.box is None
        outputs = MULTI_OUTPUT if is_one_click else SINGLE_OUTPUT
        return self._to_candidates(self.answer(prompts), outputs)

    def predict_batch(
        self,
        points_yx: npt.NDArray[np.floating] | None = None,
        boxes_yx: npt.NDArray[np.floating] | None = None,
        *,
        multimask_output: bool | None = None,
    ) -> list[Candidates]:
        """Return masks of B objects with one click or one box each.

        Parameters
        ----------
        points_yx : (B, 2) array or None
            Foreground points.
        boxes_yx : (B, 4) array or None
            ``y0, x0, y1, x1``.
        multimask_output : bool or None
            As in `SamPredictor.predict`.
        """
        given = points_yx if boxes_yx is None else boxes_yx
        prompts = [
            _one_object(
                None if points_yx is None else [points_yx[i]],
                None,
                None if boxes_yx is None else boxes_yx[i],
            )
            for i in range(0 if given is None else len(given))
        ]
        answers: dict[int, Answer] = {}
        for found in self._decode(prompts, answer_in_full):
            answers |= found
        if multimask_output is None:
            multimask_output = boxes_yx is None
        outputs = MULTI_OUTPUT if multimask_output else SINGLE_OUTPUT
        return [self._to_candidates(answers[i], outputs) for i in range(len(prompts))]

    def _decode(
        self, prompts: Sequence[PromptSet], ask: _Ask, cancel: Event | None = None
    ) -> Iterator[dict[int, Answer]]:
        """Answer prompts in batches; yields the answers of each, by their numbers."""
        prompts = [completed(one, self.shape) for one in prompts]
        groups: dict[Any, list[int]] = defaultdict(list)
        for i, one in enumerate(prompts):
            kind = (len(one.points), one.box is not None, has_mask(one))
            groups[(self._parts.best_for(one), kind)].append(i)
        for (part, _), members in groups.items():
            self._parts.embedding(part, cancel)

            def answer(
                start: int,
                stop: int,
                part: HalfOpenBox = part,
                members: list[int] = members,
            ) -> dict[int, Answer]:
                chosen = members[start:stop]
                found = self._ask([prompts[i] for i in chosen], part, ask)
                return dict(zip(chosen, found, strict=True))

            size = self._predictor.batch_size
            for _, found in in_batches(answer, len(members), size):
                yield found

    def _ask(
        self, prompts: Sequence[PromptSet], part: HalfOpenBox, ask: _Ask
    ) -> list[Answer]:
        """Ask a part of the image, and the whole image where that was too small."""
        batch = self._parts.place(prompts, part)
        answers = [
            self._parts.bring_back(answer, part)
            for answer in ask(self._predictor, self._parts.embedding(part), batch)
        ]
        cut = [
            i
            for i, one in enumerate(prompts)
            if self._parts.is_cut(_likely_mask(answers[i], one).box, part)
        ]
        if cut:
            whole = self._ask([prompts[i] for i in cut], self._parts.whole, ask)
            for i, answer in zip(cut, whole, strict=True):
                answers[i] = answer
        return answers

    def _to_candidates(self, answer: Answer, outputs: slice) -> Candidates:
        """Return some outputs of an answer as masks of the whole image."""
        masks = np.stack([mask.on_plane(self.shape) for mask in answer.masks[outputs]])
        logits = answer.low_res_logits[outputs]
        return Candidates(masks, answer.predicted_iou[outputs], logits)


def _likely_mask(answer: Answer, prompts: PromptSet) -> MaskWindow:
    """Return the mask that is shown first."""
    if len(answer) == 1 or not prompts.is_ambiguous:
        return answer.masks[0]
    return answer.masks[
        MULTI_OUTPUT.start + int(np.argmax(answer.predicted_iou[MULTI_OUTPUT]))
    ]


def _one_object(
    points_yx: npt.ArrayLike | None,
    point_labels: npt.ArrayLike | None,
    box_yx: npt.ArrayLike | None,
    mask_input: npt.ArrayLike | None = None,
) -> PromptSet:
    """Return arrays as a set of prompts."""
    check_one_object(points_yx, point_labels, box_yx)
    if points_yx is None and point_labels is not None:
        msg = "Point labels came without points."
        raise PromptError(msg)
    points: tuple[PointPrompt, ...] = ()
    if points_yx is not None:
        places = np.asarray(points_yx, dtype=np.float64)
        labels = [FOREGROUND] * len(places)
        if point_labels is not None:
            labels = np.asarray(point_labels).tolist()
        points = tuple(map(PointPrompt, map(tuple, places.tolist()), labels))
    return PromptSet(
        points,
        None if box_yx is None else BoxPrompt(*np.asarray(box_yx, float).tolist()),
        None if mask_input is None else np.asarray(mask_input),
    )
