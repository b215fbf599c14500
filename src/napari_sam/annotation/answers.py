# SPDX-License-Identifier: Apache-2.0
"""What an annotator has done in the model thread: embeddings and answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_sam.annotation.choices import default_choice, walking_order
from napari_sam.annotation.commit_policy import clean_window
from napari_sam.annotation.prompting import to_prompt_set
from napari_sam.errors import PromptError
from napari_sam.structures.lru_cache import LruCache

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from threading import Event

    from napari_sam.annotation.choices import Size
    from napari_sam.annotation.commit_policy import CommitSettings
    from napari_sam.annotation.job import JobContext
    from napari_sam.annotation.objects import Turn
    from napari_sam.annotation.ports import Encoded, ImageSource, PlaneKey, Segmenter
    from napari_sam.structures.arrays import FloatArray
    from napari_sam.structures.candidates import Answer
    from napari_sam.structures.mask_window import MaskWindow
    from napari_sam.structures.plane_pixels import PlanePixels
    from napari_sam.structures.plane_view import PlaneView, Region
    from napari_sam.structures.prompts import PointPrompt

MAX_EMBEDDINGS = 8
"""Planes whose embedding is kept: 4 to 8 MB each."""
MAX_ANSWERS = 64
MAX_ANSWER_BYTES = 128 * 2**20
"""Answers kept, so that going back and forth through prompts asks no model."""


@dataclass(frozen=True, eq=False)
class Answered:
    """The answer to the last of some turns, and the mask it was to correct.

    Attributes
    ----------
    answer : Answer
        All masks.
    is_ambiguous : bool
        Whether the prompts were one point.
    index : int
        The mask shown: the user's choice, or the rule's.
    before : MaskWindow or None
        The mask of the turn before.
    before_iou : float
        Its predicted IoU.
    scale : int or None
        No region of a large plane that is finer than this was looked at.
    """

    answer: Answer
    is_ambiguous: bool
    index: int
    before: MaskWindow | None = None
    before_iou: float = 0.0
    scale: int | None = None

    @property
    def order(self) -> tuple[int, ...]:
        """Indices in the order in which a key walks them."""
        return walking_order(self.answer, is_ambiguous=self.is_ambiguous)

    @property
    def mask(self) -> MaskWindow:
        """The mask shown, before other objects are respected."""
        return self.answer.masks[self.index]

    @property
    def predicted_iou(self) -> float:
        """The model's own estimate of the mask shown."""
        return float(self.answer.predicted_iou[self.index])

    @property
    def logits(self) -> FloatArray:
        """Low-resolution logits of the mask shown, (h, w)."""
        logits: FloatArray = self.answer.low_res_logits[self.index]
        return logits


class Memory:
    """Embeddings and raw answers of one model on one image; of the model thread.

    Work under way keeps its memory: replacing the annotator's makes it forgotten.
    """

    def __init__(self) -> None:
        self.embeddings: LruCache[Encoded] = LruCache(MAX_EMBEDDINGS)
        # By these, what was encoded before is found again without its pixels.
        self._digests: dict[PlaneKey, dict[Region, str]] = {}
        self._answers: LruCache[Answer] = LruCache(
            MAX_ANSWERS, MAX_ANSWER_BYTES, keeps_last=True
        )

    def embed(
        self,
        segmenter: Segmenter,
        source: ImageSource,
        plane: PlaneKey,
        context: JobContext,
        view: PlaneView | None = None,
        pixels: PlanePixels | None = None,
    ) -> Encoded:
        """Embed a plane unless it was; the one not asked for longest makes room.

        Of a large plane, with a view, only what is on screen is read and encoded. What
        the model has kept of a plane is neither read nor encoded again.

        Parameters
        ----------
        segmenter : Segmenter
            The model.
        source : ImageSource
            The pixels.
        plane : PlaneKey
            Which.
        context : JobContext
            Of the job that this is part of.
        view : PlaneView, optional
            What is on screen of the plane.
        pixels : PlanePixels, optional
            Those of the plane, as `Segmenter.see` returned them.
        """
        embedding = self.embeddings.get(plane)
        if embedding is not None:
            return embedding
        context.check()
        embedding = segmenter.embed(
            source.plane_pixels(plane) if pixels is None else pixels,
            view=view,
            cancel=context.cancel,
            digests=self._digests.setdefault(plane, {}),
        )
        self.keep(plane, embedding)
        return embedding

    def keep(self, plane: PlaneKey, embedding: Encoded) -> None:
        """Keep an embedding."""
        self.embeddings.put(plane, embedding)

    def answer(self, key: Hashable) -> Answer | None:
        """Return what was answered before, or None."""
        return self._answers.get(key)

    def keep_answer(self, key: Hashable, answer: Answer) -> None:
        """Keep an answer."""
        self._answers.put(key, answer, _bytes_of(answer))


def _bytes_of(answer: Answer) -> int:
    masks = sum(mask.crop.nbytes for mask in answer.masks)
    return masks + int(answer.low_res_logits.nbytes)


def answer_turns(
    segmenter: Segmenter,
    embedding: Encoded,
    plane: PlaneKey,
    plane_shape: tuple[int, int],
    turns: tuple[Turn, ...],
    settings: CommitSettings,
    *,
    preference: Size | None = None,
    memory: Memory | None = None,
    scale: int | None = None,
    cancel: Event | None = None,
) -> Answered:
    """Ask the model turn by turn, giving back the logits of each chosen mask.

    Turns that were asked before cost nothing, so a further prompt is one question.

    Parameters
    ----------
    segmenter : Segmenter
        The model.
    embedding : Encoded
        Of the plane.
    plane, plane_shape : PlaneKey, (H, W)
        Where.
    turns : tuple of Turn
        At least one. Those before the last are answered as they were chosen.
    settings : CommitSettings
        How masks are cleaned.
    preference : Size, optional
        What to show first where there is a choice.
    memory : Memory, optional
        Answers given before.
    scale : int, optional
        The finest scale to look at, of `Segmenter.scale_for`.
    cancel : threading.Event, optional
        Stops the encoding of a region when set.

    Returns
    -------
    Answered
    """
    memory = Memory() if memory is None else memory
    answered: Answered | None = None
    earlier: tuple[Turn, ...] = ()
    for turn in turns:
        mask_input = None if answered is None else answered.logits
        prompts = to_prompt_set(turn.drawn, plane_shape, mask_input)
        key = (plane, scale, earlier, turn.drawn)
        answer = memory.answer(key)
        if answer is None:
            answer = segmenter.predict(embedding, prompts, scale=scale, cancel=cancel)
            memory.keep_answer(key, answer)
        if len(turns) - len(earlier) <= 2:
            # The mask shown and the one that it corrects; sizes are those seen.
            answer = _cleaned(answer, prompts.points, settings)
        index = turn.choice
        if index is None or index >= len(answer):
            index = default_choice(
                answer, is_ambiguous=prompts.is_ambiguous, preference=preference
            )
        answered = Answered(
            answer,
            prompts.is_ambiguous,
            index,
            before=None if answered is None else answered.mask,
            before_iou=0.0 if answered is None else answered.predicted_iou,
            scale=scale,
        )
        # With the choice: it decides whose logits the next turn is answered with.
        earlier = (*earlier, replace(turn, choice=index))
    if answered is None:
        msg = "There are no prompts to answer."
        raise PromptError(msg)
    return answered


def _cleaned(
    answer: Answer, points: Sequence[PointPrompt], settings: CommitSettings
) -> Answer:
    """Clean masks by the commit rule."""
    masks = (clean_window(mask, points, settings) for mask in answer.masks)
    return replace(answer, masks=tuple(masks))
