# SPDX-License-Identifier: Apache-2.0
"""Prompts to masks as windows: what an answer costs does not depend on the plane.

The decoder tells how good its masks will be before it draws them. So where one mask is
wanted, only that one is drawn.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from napari_sam.prediction.predictor import MULTI_OUTPUT, SINGLE_OUTPUT, Decoded
from napari_sam.structures.candidates import Answer

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sam.prediction.predictor import SamPredictor
    from napari_sam.prediction.prompt_batch import PromptBatch
    from napari_sam.structures.embedding import ImageEmbedding


def answer_in_full(
    predictor: SamPredictor, embedding: ImageEmbedding, prompts: PromptBatch
) -> list[Answer]:
    """Answer the prompts of B objects with all four outputs of the decoder.

    Parameters
    ----------
    predictor : SamPredictor
        Holds the model.
    embedding : ImageEmbedding
        Of the plane, made by the same model.
    prompts : PromptBatch
        Of B objects, in frame coordinates.

    Returns
    -------
    list of B Answer
        ``seconds`` is each object's share.
    """
    started = time.perf_counter()

    def work() -> list[Answer]:
        decoded = predictor.decode(embedding, prompts)
        return _to_answers(predictor, embedding, decoded, started)

    return predictor.answering(embedding, prompts.n_prompts, work)


def answer_with_best(
    predictor: SamPredictor, embedding: ImageEmbedding, prompts: PromptBatch
) -> list[Answer]:
    """Answer the prompts of B objects with one mask each.

    It is output 0 for clear prompts; for single points, which are ambiguous, the one
    of the other three with the highest predicted IoU.

    Parameters
    ----------
    predictor, embedding, prompts
        As in `answer_in_full`.

    Returns
    -------
    list of B Answer
    """
    started = time.perf_counter()

    def work() -> list[Answer]:
        attended = predictor.attend(embedding, prompts)
        is_ambiguous = prompts.is_ambiguous and prompts.masks is None
        chosen = best_outputs(attended.predicted_iou, is_ambiguous=is_ambiguous)
        with torch.inference_mode():
            attended = attended.of_outputs(chosen)
        logits = predictor.obeying(predictor.draw(attended), prompts)  # (B, 1, a, b)
        decoded = Decoded(logits, attended.predicted_iou.float())
        return _to_answers(predictor, embedding, decoded, started)

    return predictor.answering(embedding, prompts.n_prompts, work)


def best_outputs(predicted_iou: Tensor, *, is_ambiguous: bool) -> Tensor:
    """Choose one of the decoder's outputs for each prompt.

    Parameters
    ----------
    predicted_iou : (B, 4) tensor
        The model's own estimates.
    is_ambiguous : bool
        Whether the prompts may mean a part or the whole.

    Returns
    -------
    (B,) int64 tensor
        Output 0, or the best of outputs 1 to 3.
    """
    outputs = MULTI_OUTPUT if is_ambiguous else SINGLE_OUTPUT
    return outputs.start + predicted_iou[:, outputs].argmax(dim=1)


def _to_answers(
    predictor: SamPredictor,
    embedding: ImageEmbedding,
    decoded: Decoded,
    started: float,
) -> list[Answer]:
    """Enlarge n outputs of each of B prompts."""
    n_prompts, n_outputs = decoded.predicted_iou.shape
    masks = predictor.mask_windows(embedding, decoded.logits.flatten(0, 1))
    iou = decoded.predicted_iou.cpu().numpy()
    logits = decoded.logits.cpu().numpy()
    seconds = (time.perf_counter() - started) / n_prompts
    return [
        Answer(
            tuple(masks[i * n_outputs : (i + 1) * n_outputs]),
            # Copies: views would keep the whole batch alive.
            iou[i].copy(),
            logits[i].copy(),
            seconds,
        )
        for i in range(n_prompts)
    ]
