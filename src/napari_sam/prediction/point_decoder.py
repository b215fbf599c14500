# SPDX-License-Identifier: Apache-2.0
"""The seam between the automatic mode and whatever answers its points."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from napari_sam.acceleration.decoding import Attended, Selective
from napari_sam.prediction.logit_windows import EnlargedWindow, LogitWindow
from napari_sam.prediction.predictor import MULTI_OUTPUT, SamPredictor
from napari_sam.prediction.prompt_batch import PromptBatch
from napari_sam.prediction.transforms import FrameTransform
from napari_sam.structures.arrays import Coordinates, HalfOpenBox
from napari_sam.structures.embedding import ImageEmbedding


class DecodedPoints(Protocol):
    """Answers to n points, three masks each; masks are made when they are asked for."""

    @property
    def predicted_iou(self) -> Tensor:
        """The model's own estimates, (n, 3) float32."""

    def logits(self, chosen: Tensor, above: float) -> Tensor:
        """Return low-resolution logits of some masks.

        Parameters
        ----------
        chosen : (n, 3) bool tensor
            Which masks are wanted; k of them.
        above : float
            Logits up to it may come out as any others up to it.

        Returns
        -------
        (k, a, b) float32 tensor
            Point by point.
        """


class PointDecoder(Protocol):
    """Answers single foreground points on one crop."""

    @property
    def n_at_once(self) -> int:
        """How many threads may ask at the same time, and had best do so."""

    def decode(self, points_yx: Coordinates) -> DecodedPoints:
        """Answer (n, 2) points, row and column in pixels of the crop."""

    def window(
        self, logits: Tensor, box: HalfOpenBox | None
    ) -> LogitWindow | EnlargedWindow | None:
        """Enlarge one mask's (a, b) logits to the crop, inside the box of samples."""


class SamPointDecoder:
    """A model as a `PointDecoder`.

    Parameters
    ----------
    predictor : SamPredictor
        Holds the model.
    embedding : ImageEmbedding
        Of the crop.
    """

    def __init__(self, predictor: SamPredictor, embedding: ImageEmbedding) -> None:
        self._predictor = predictor
        self._embedding = embedding
        self._transform = FrameTransform.of_embedding(embedding, predictor.model)
        self._windows = predictor.windows_of(embedding)

    @property
    def n_at_once(self) -> int:
        """How many threads may ask at the same time, and had best do so.

        On a CPU batches are worked on side by side: when each operation is split
        instead, every one of them waits for the slowest thread.
        """
        is_on_cpu = self._predictor.model.device.type == "cpu"
        return torch.get_num_threads() if is_on_cpu else 1

    def decode(self, points_yx: Coordinates) -> DecodedPoints:
        """Answer (n, 2) points, row and column in pixels of the crop."""
        positions = self._transform.points_to_frame(points_yx)[:, None]
        labels = np.ones(positions.shape[:2], dtype=np.int64)
        prompts = PromptBatch(points=(positions, labels))
        attended = self._predictor.attend(self._embedding, prompts)
        side = self._embedding.mask_input_shape[0]
        return _ThreeOutputs(self._predictor, attended, side)

    def window(self, logits: Tensor, box: HalfOpenBox | None) -> EnlargedWindow | None:
        """Enlarge one mask's (a, b) logits to the crop, inside the box of samples."""
        with torch.inference_mode():
            return self._windows.window(logits, box)


class _ThreeOutputs:
    """The outputs for an ambiguous prompt."""

    def __init__(self, predictor: SamPredictor, attended: Attended, side: int) -> None:
        self.predicted_iou = attended.predicted_iou[:, MULTI_OUTPUT].float()
        self._predictor = predictor
        self._attended = attended
        self._side = side

    def logits(self, chosen: Tensor, above: float) -> Tensor:
        """Return low-resolution logits of the chosen masks, (k, a, b).

        A point none of whose masks was chosen costs nothing here, and of a point with
        one only that one is drawn; of one with more just those, if answers allow that.
        """
        if isinstance(self._attended, Selective):
            rows, outputs = chosen.nonzero(as_tuple=True)
            if not len(rows):
                return self.predicted_iou.new_empty((0, self._side, self._side))
            kept = self._attended.only_above(above).of_prompts(rows)
            outputs = outputs + MULTI_OUTPUT.start
            return self._predictor.draw(kept.of_outputs(outputs))[:, 0]
        return self._by_prompt(chosen)

    def _by_prompt(self, chosen: Tensor) -> Tensor:
        """Draw one output of a prompt or all of them."""
        attended = self._attended
        n_chosen = chosen.sum(dim=1)
        # Where the masks of each point begin among all that were chosen.
        places = n_chosen.cumsum(dim=0) - n_chosen
        drawn = self.predicted_iou.new_empty(
            (int(n_chosen.sum()), self._side, self._side)
        )
        rows = (n_chosen == 1).nonzero()[:, 0]
        if len(rows):
            outputs = MULTI_OUTPUT.start + chosen[rows].int().argmax(dim=1)
            kept = attended.of_prompts(rows).of_outputs(outputs)
            drawn[places[rows]] = self._predictor.draw(kept)[:, 0]
        rows = (n_chosen > 1).nonzero()[:, 0]
        if len(rows):
            masks = self._predictor.draw(attended.of_prompts(rows))
            is_chosen = chosen[rows]
            within = is_chosen.cumsum(dim=1) - 1
            where = (places[rows][:, None] + within)[is_chosen]
            drawn[where] = masks[:, MULTI_OUTPUT][is_chosen]
        return drawn
