# SPDX-License-Identifier: Apache-2.0
"""What an annotator has done in the model thread: embeddings and answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.annotation.commit_policy import clean_mask

if TYPE_CHECKING:
    from collections import OrderedDict

    from napari_sam.annotation.job import JobContext
    from napari_sam.annotation.ports import Encoded, ImageSource, PlaneKey, Segmenter
    from napari_sam.structures.candidates import Candidates
    from napari_sam.structures.prompts import PromptSet

MAX_EMBEDDINGS = 8
"""Planes whose embedding is kept: 4 MB each for SAM, up to 70 MB for `embedded`."""


def answer(segmenter: Segmenter, embedding: Encoded, prompts: PromptSet) -> Candidates:
    """Ask for the masks of one object, each cleaned by itself."""
    candidates = segmenter.predict(embedding, prompts)
    masks = [clean_mask(mask, prompts.points) for mask in candidates.masks]
    return replace(candidates, masks=np.stack(masks))


def embed_once(
    segmenter: Segmenter,
    source: ImageSource,
    plane: PlaneKey,
    cache: OrderedDict[PlaneKey, Encoded],
    context: JobContext,
) -> Encoded:
    """Embed a plane unless `cache` has it; only the model thread writes `cache`.

    The plane that was not asked for longest makes room for a new one.
    """
    embedding = cache.get(plane)
    if embedding is not None:
        cache.move_to_end(plane)
        return embedding
    context.check()
    pixels = source.read_plane(plane)
    embedding = segmenter.embed(pixels, cancel=context.cancel)
    cache[plane] = embedding
    if len(cache) > MAX_EMBEDDINGS:
        cache.popitem(last=False)
    return embedding
