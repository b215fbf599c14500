# SPDX-License-Identifier: Apache-2.0
"""First prompts and corrections for objects whose outline is known, and their IoUs.

Kirillov et al. 2023, section 7.1 and appendix D.1: a first prompt, then clicks in the
middle of the larger error. The first answer is the mask of highest predicted IoU of
three for a click, output 0 for a box; after that it is output 0 for all prompts so far,
with or without the logits of the last answer given back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from napari_sam.evaluation.prompts import (
    correction_point,
    jittered_box,
    random_generator,
    random_point,
)
from napari_sam.prediction.predictor import MULTI_OUTPUT
from napari_sam.structures.prompts import BoxPrompt, PointPrompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_sam.evaluation.prompts import TrueObject
    from napari_sam.evaluation.settings import EvaluationSettings
    from napari_sam.structures.arrays import FloatArray
    from napari_sam.structures.candidates import Answer
    from napari_sam.structures.mask_window import MaskWindow

    Ious = NDArray[np.float64]

Start = Literal["point", "random-point", "box", "jittered-box"]


class Asked(Protocol):
    """What answers prompts: an `AskedImage`, or a scripted one in tests."""

    shape: tuple[int, int]

    def ask(
        self, prompts: Sequence[PromptSet], *, in_full: bool = False
    ) -> list[Answer]:
        """Answer the prompts of many objects."""


@dataclass(frozen=True, slots=True, eq=False)
class First:
    """What became of the first prompt of one object.

    ``mask``, ``logits`` (a, b) and ``iou`` are those of the answer that a user would
    see; ``oracle`` is the best IoU of the three masks of a click. ``sure_logits`` are
    those of the output with the highest predicted IoU of all four.
    """

    prompts: PromptSet
    mask: MaskWindow
    logits: FloatArray
    iou: float
    oracle: float
    sure_logits: FloatArray


def first_prompts(
    start: Start,
    image: str,
    objects: Sequence[TrueObject],
    shape: tuple[int, int],
    settings: EvaluationSettings,
) -> list[PromptSet]:
    """Return the first prompt of each object."""
    made = []
    for found in objects:
        if start == "point":
            made.append(_click(found.centre_yx))
        elif start == "box":
            made.append(PromptSet(box=BoxPrompt(*found.box_yx)))
        else:
            rng = random_generator(settings.seed, image, found.label)
            if start == "random-point":
                made.append(_click(random_point(found, rng)))
            else:
                box = jittered_box(found, rng, settings.jitter, shape)
                made.append(PromptSet(box=BoxPrompt(*box)))
    return made


def ask_first(
    view: Asked,
    objects: Sequence[TrueObject],
    prompts: Sequence[PromptSet],
    *,
    all_outputs: bool = False,
) -> list[First]:
    """Ask for the first time.

    Parameters
    ----------
    view : Asked
        The image.
    objects : sequence of TrueObject
        Objects of the image.
    prompts : sequence of PromptSet
        Of the same length, all of one kind.
    all_outputs : bool
        Whether ``sure_logits`` of boxes shall be chosen among all outputs.
    """
    is_click = bool(prompts) and prompts[0].box is None
    answers = view.ask(prompts, in_full=is_click or all_outputs)
    return [
        _first(found, one, answer, is_click=is_click)
        for found, one, answer in zip(objects, prompts, answers, strict=True)
    ]


def refined(view: Asked, objects: Sequence[TrueObject], first: Sequence[First]) -> Ious:
    """Return IoUs after the first prompt and its surest logits were asked together.

    Kirillov et al. 2023, section 7.4: boxes to instances, one refinement.

    Returns
    -------
    (n,) float array
    """
    again = [replace(one.prompts, mask_input=one.sure_logits) for one in first]
    answers = view.ask(again)
    return np.array(
        [
            found.window.iou(answer.masks[0])
            for found, answer in zip(objects, answers, strict=True)
        ]
    )


def correct(
    view: Asked,
    objects: Sequence[TrueObject],
    first: Sequence[First],
    n_corrections: int,
    *,
    with_logits: bool,
) -> Ious:
    """Click into the larger error again and again.

    An object without any error left is not asked about any more; its IoU stays 1.

    Parameters
    ----------
    view : Asked
        The image.
    objects : sequence of TrueObject
        Objects of the image.
    first : sequence of First
        What the first prompts gave.
    n_corrections : int
        Clicks after the first prompt.
    with_logits : bool
        Whether the logits of the last answer are given back.

    Returns
    -------
    (n, n_corrections + 1) float array
        IoU after 0, 1, ... corrections.
    """
    ious = np.empty((len(objects), n_corrections + 1))
    ious[:, 0] = [one.iou for one in first]
    prompts = [one.prompts for one in first]
    masks = [one.mask for one in first]
    logits = [one.logits for one in first]
    for step in range(1, n_corrections + 1):
        ious[:, step] = ious[:, step - 1]
        active = []
        for i, found in enumerate(objects):
            click = correction_point(found.window, masks[i])
            if click is None:
                continue
            active.append(i)
            prompts[i] = replace(
                prompts[i],
                points=(*prompts[i].points, click),
                mask_input=logits[i] if with_logits else None,
            )
        answers = view.ask([prompts[i] for i in active])
        for i, answer in zip(active, answers, strict=True):
            masks[i], logits[i] = answer.masks[0], answer.low_res_logits[0]
            ious[i, step] = objects[i].window.iou(masks[i])
    return ious


def _first(
    found: TrueObject, prompts: PromptSet, answer: Answer, *, is_click: bool
) -> First:
    """Choose among the outputs of a first answer."""
    chosen, oracle = 0, 0.0
    if is_click:
        three = range(MULTI_OUTPUT.start, MULTI_OUTPUT.stop)
        chosen = three[int(np.argmax(answer.predicted_iou[MULTI_OUTPUT]))]
        oracle = max(found.window.iou(answer.masks[i]) for i in three)
    mask = answer.masks[chosen]
    return First(
        prompts=prompts,
        mask=mask,
        logits=answer.low_res_logits[chosen],
        iou=found.window.iou(mask),
        oracle=oracle,
        sure_logits=answer.low_res_logits[int(np.argmax(answer.predicted_iou))],
    )


def _click(yx: tuple[int, int]) -> PromptSet:
    return PromptSet((PointPrompt((float(yx[0]), float(yx[1]))),))
