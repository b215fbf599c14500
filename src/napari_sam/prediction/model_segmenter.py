# SPDX-License-Identifier: Apache-2.0
"""A loaded model as annotation wants it: the `Segmenter` of napari and of scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.prediction.image_view import ImageView
from napari_sam.prediction.intensity import is_blank, to_rgb
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.prediction.segmenter import segment_image

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from napari_sam.modeling.sam import Sam
    from napari_sam.structures.arrays import LabelImage, Plane
    from napari_sam.structures.candidates import Answer, MaskRecord
    from napari_sam.structures.prompts import PromptSet


class ModelSegmenter:
    """What answers prompts; satisfies annotation's `Segmenter` by its shape.

    Parameters
    ----------
    model : Sam
        A loaded model.
    """

    def __init__(self, model: Sam) -> None:
        self._model = model
        self._predictor = SamPredictor(model)

    @property
    def name(self) -> str:
        """Model name for messages."""
        return str(self._model.name)

    @property
    def auto_defaults(self) -> Mapping[str, float]:
        """Settings of the automatic mode that this model was tuned for."""
        return self._model.auto_defaults

    def describe(self) -> dict[str, str]:
        """Facts for a bug report: name, device, precision, hash of the weights."""
        return {
            "model": self.name,
            "image size": str(self._model.image_size),
            "device": str(self._model.device),
            "dtype": str(self._model.dtype),
            "weights": f"sha256:{self._model.digest}" if self._model.digest else "none",
        }

    def embed(
        self, plane: Plane, *, cancel: threading.Event | None = None
    ) -> ImageView:
        """Encode one plane; regions of a large one follow when they are asked for."""
        return ImageView(self._predictor, plane, cancel=cancel)

    def predict(
        self,
        embedding: ImageView,
        prompts: PromptSet,
        *,
        cancel: threading.Event | None = None,
    ) -> Answer:
        """All four masks of one object for its prompts."""
        return embedding.answer(prompts, cancel=cancel)

    def preview(self, embedding: ImageView, yx: tuple[float, float]) -> Answer:
        """Return the one mask that a click at row, column would likely give."""
        return embedding.preview(yx)

    def predict_many(
        self,
        embedding: ImageView,
        prompts: Sequence[PromptSet],
        *,
        progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> list[Answer]:
        """One mask for each set of prompts; fewer, from the first, when cancelled."""
        return embedding.answer_many(prompts, progress=progress, cancel=cancel)

    def segment_everything(
        self,
        plane: Plane,
        settings: Mapping[str, Any],
        *,
        progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> tuple[LabelImage, list[MaskRecord]]:
        """Label image and one record per id: the same call as on the command line."""
        if is_blank(plane) or is_blank(to_rgb(plane)):
            # Found out here, because a warning from a thread would go astray.
            return np.zeros(plane.shape[:2], dtype=np.uint32), []
        return segment_image(
            plane,
            self._predictor,
            progress=progress,
            cancel=cancel,
            return_records=True,
            **settings,
        )
