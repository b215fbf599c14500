# SPDX-License-Identifier: Apache-2.0
"""The seam between the fast automatic mode and a model with object maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from napari_sam.acceleration.decoding import only_above
from napari_sam.errors import SettingsError
from napari_sam.modeling.sam import ImageFeatures
from napari_sam.prediction.point_decoder import PointDecoder, SamPointDecoder
from napari_sam.prediction.predictor import SINGLE_OUTPUT
from napari_sam.prediction.prompt_batch import PromptBatch
from napari_sam.prediction.transforms import FrameTransform

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sam.prediction.logit_windows import EnlargedWindow, LogitWindow
    from napari_sam.prediction.predictor import SamPredictor
    from napari_sam.structures.arrays import Coordinates, FloatArray, HalfOpenBox
    from napari_sam.structures.embedding import ImageEmbedding


class ClearDecoder(Protocol):
    """Answers prompts on one picture that leave no doubt what is meant."""

    @property
    def n_at_once(self) -> int:
        """How many threads may ask at the same time, and had best do so."""

    def decode_clear(
        self, points_yx: Coordinates, boxes_yx: Coordinates, above: float
    ) -> tuple[Tensor, Tensor]:
        """Answer n prompts of one point and one box each with one mask.

        Parameters
        ----------
        points_yx : (n, 2) array
            Pixels of the picture.
        boxes_yx : (n, 4) array
            Pixels of the picture.
        above : float
            Logits up to it may come out as any others up to it.

        Returns
        -------
        predicted_iou : (n,) float32 tensor
        logits : (n, a, b) float32 tensor
        """


class FeatureDecoder(PointDecoder, ClearDecoder, Protocol):
    """Shows the image features that it answers from."""

    def features(self) -> FloatArray:
        """Features of the picture, (C, h, w), without padding."""


class ObjectDecoder(ClearDecoder, Protocol):
    """Says what it takes for objects without any prompt."""

    @property
    def sample_px(self) -> tuple[float, float]:
        """Height and width of a sample of the maps in pixels of the picture."""

    @property
    def frame_scale(self) -> float:
        """Pixels of the model's frame for one of the picture."""

    @property
    def mask_shape(self) -> tuple[int, int]:
        """Samples of low-resolution logits, padding included."""

    def object_logits(self) -> FloatArray:
        """Foreground, boundary and centre of the picture, (3, h, w) logits."""

    def window(
        self, logits: Tensor, box: HalfOpenBox | None
    ) -> LogitWindow | EnlargedWindow | None:
        """Enlarge one mask's (a, b) logits to the picture."""


class SamObjectDecoder(SamPointDecoder):
    """A model as an `ObjectDecoder` and a `FeatureDecoder`.

    Parameters
    ----------
    predictor : SamPredictor
        Holds the model.
    embedding : ImageEmbedding
        Of the picture.

    Raises
    ------
    SettingsError
        From `object_logits`, if the model has no object maps.
    """

    def __init__(self, predictor: SamPredictor, embedding: ImageEmbedding) -> None:
        super().__init__(predictor, embedding)
        self._stride = predictor.model.image_size / embedding.mask_input_shape[0]

    @property
    def sample_px(self) -> tuple[float, float]:
        """Height and width of a sample of the maps in pixels of the picture."""
        sizes = zip(
            self._embedding.original_size, self._embedding.input_size, strict=True
        )
        height, width = (self._stride * own / seen for own, seen in sizes)
        return height, width

    @property
    def frame_scale(self) -> float:
        """Pixels of the model's frame for one of the picture."""
        return max(self._embedding.input_size) / max(self._embedding.original_size)

    @property
    def mask_shape(self) -> tuple[int, int]:
        """Samples of low-resolution logits, padding included."""
        return self._embedding.mask_input_shape

    def features(self) -> FloatArray:
        """Features of the picture, (C, h, w), without padding."""
        cells = self._embedding.features[0]
        frame = self._predictor.model.image_size
        height, width = (
            int(np.ceil(seen * n / frame))
            for seen, n in zip(self._embedding.input_size, cells.shape[1:], strict=True)
        )
        return np.asarray(cells[:, :height, :width])

    def object_logits(self) -> FloatArray:
        """Foreground, boundary and centre of the picture, (3, h, w) logits."""
        model = self._predictor.model
        arrays = (self._embedding.features, *self._embedding.high_res)
        first, *finer = (torch.tensor(array).to(model.device) for array in arrays)
        with torch.inference_mode():
            maps = model.object_maps(ImageFeatures(first, tuple(finer)))
        if maps is None:
            raise SettingsError(without_maps(model.name))
        height, width = (
            int(np.ceil(side / self._stride)) for side in self._embedding.input_size
        )
        logits: FloatArray = maps[0, :, :height, :width].float().cpu().numpy()
        return logits

    def decode_clear(
        self, points_yx: Coordinates, boxes_yx: Coordinates, above: float
    ) -> tuple[Tensor, Tensor]:
        """Answer n prompts of one point and one box each with one mask."""
        transform = FrameTransform.of_embedding(self._embedding, self._predictor.model)
        positions = transform.points_to_frame(points_yx)[:, None]
        labels = np.ones(positions.shape[:2], dtype=np.int64)
        prompts = PromptBatch((positions, labels), transform.boxes_to_frame(boxes_yx))
        attended = self._predictor.attend(self._embedding, prompts)
        chosen = torch.full(
            (len(points_yx),), SINGLE_OUTPUT.start, device=attended.predicted_iou.device
        )
        kept = only_above(attended.of_outputs(chosen), above)
        logits = self._predictor.draw(kept)[:, 0]
        return attended.predicted_iou[:, SINGLE_OUTPUT.start].float(), logits


def without_maps(name: str) -> str:
    """Say that a model has no object maps."""
    return (
        f"The model {name!r} has no object maps, which method='fastest' is made of. "
        "Take method='fast' or 'grid', or the embedded model."
    )
