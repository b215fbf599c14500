# SPDX-License-Identifier: Apache-2.0
"""A loaded model behind annotation's `Segmenter`; torch is imported on first use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import WeightsError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from napari_sam.modeling.sam import Sam
    from napari_sam.prediction.image_view import ImageView
    from napari_sam.structures.arrays import LabelImage, Plane
    from napari_sam.structures.candidates import Candidates, MaskRecord
    from napari_sam.structures.prompts import PromptSet

DEFAULT_MODEL = "embedded"
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model the user wants.

    Attributes
    ----------
    name : str
        A name of the catalogue; for a file, what to call it.
    checkpoint : str or None
        A weights file of the user's.
    device : str
        One of `DEVICES`.
    """

    name: str = DEFAULT_MODEL
    checkpoint: str | None = None
    device: str = "auto"


class ModelSegmenter:
    """The `Segmenter` that napari uses.

    Parameters
    ----------
    model : Sam
    """

    def __init__(self, model: Sam) -> None:
        from napari_sam.prediction.predictor import SamPredictor

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
        from napari_sam.prediction.image_view import ImageView

        return ImageView(self._predictor, plane, cancel=cancel)

    def predict(self, embedding: ImageView, prompts: PromptSet) -> Candidates:
        """Masks of one object for its prompts."""
        return embedding.predict(
            points_yx=prompts.points_yx,
            point_labels=prompts.point_labels,
            box_yx=prompts.box_yx,
            mask_input=prompts.mask_input,
        )

    def segment_everything(
        self,
        plane: Plane,
        settings: Mapping[str, Any],
        *,
        progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> tuple[LabelImage, list[MaskRecord]]:
        """Label image and one record per id: the same call as on the command line."""
        from napari_sam.prediction.intensity import is_blank, to_rgb
        from napari_sam.prediction.segmenter import segment_image

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


def load_segmenter(spec: ModelSpec) -> ModelSegmenter:
    """Load a model that lies on this machine; runs in the model thread.

    Raises
    ------
    WeightsError
        If the weights are not here: the model panel downloads, nothing else does.
    NapariSamError
        Whatever `napari_sam.load_model` raises.
    """
    if spec.checkpoint is None:
        from napari_sam.weights import store

        if store.find(spec.name) is None:
            path = store.place_by_hand_path(spec.name)
            msg = (
                f"The weights of the model {spec.name!r} are not on this machine "
                f"(looked for {path}). Get them in the panel 'Models', or choose "
                f"the model {DEFAULT_MODEL!r}, which is part of the package."
            )
            raise WeightsError(msg)
    import torch

    from napari_sam.weights.load import load_model

    # One core stays free for the window; the call is cheap when repeated.
    torch.set_num_threads(
        max(1, min(torch.get_num_threads(), (os.cpu_count() or 2) - 1))
    )
    if spec.checkpoint is not None:
        return ModelSegmenter(
            load_model(checkpoint=Path(spec.checkpoint), device=spec.device)
        )
    return ModelSegmenter(load_model(spec.name, device=spec.device))
