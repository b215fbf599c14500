# SPDX-License-Identifier: Apache-2.0
"""Outputs of the decoder as masks of the whole plane, as the reference gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam.structures.candidates import Candidates

if TYPE_CHECKING:
    from napari_sam.prediction.predictor import Decoded, SamPredictor
    from napari_sam.structures.embedding import ImageEmbedding


def whole_masks(
    predictor: SamPredictor,
    embedding: ImageEmbedding,
    decoded: Decoded,
    outputs: slice,
) -> list[Candidates]:
    """Enlarge the wanted outputs of every prompt.

    Parameters
    ----------
    predictor : SamPredictor
        Holds the model.
    embedding : ImageEmbedding
        Of the plane.
    decoded : Decoded
        Of B prompts.
    outputs : slice
        Which n of the four outputs.

    Returns
    -------
    list of B Candidates
        Each with n masks.
    """
    logits = decoded.logits[:, outputs]  # (B, n, a, b)
    n_prompts, n_masks = logits.shape[:2]
    size = embedding.original_size
    masks = np.zeros((n_prompts, n_masks, *size), dtype=np.bool_)
    windows = predictor.mask_windows(embedding, logits.flatten(0, 1))
    for mask, found in zip(masks.reshape(-1, *size), windows, strict=True):
        y0, x0, y1, x1 = found.box
        mask[y0:y1, x0:x1] = found.crop
    # Copies: views would keep the other outputs of a whole batch alive.
    low_res = np.array(logits.cpu().numpy())
    iou = np.array(decoded.predicted_iou[:, outputs].cpu().numpy())
    return [Candidates(masks[i], iou[i], low_res[i]) for i in range(n_prompts)]
