# SPDX-License-Identifier: Apache-2.0
"""Which model the user wants, and how it is loaded; torch is imported on first use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.errors import WeightsError

if TYPE_CHECKING:
    from napari_sam.prediction.model_segmenter import ModelSegmenter

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

    from napari_sam._bridge.embeddings import shared_library
    from napari_sam.prediction.model_segmenter import ModelSegmenter
    from napari_sam.weights.load import load_model

    # One core stays free for the window; the call is cheap when repeated.
    torch.set_num_threads(
        max(1, min(torch.get_num_threads(), (os.cpu_count() or 2) - 1))
    )
    if spec.checkpoint is not None:
        model = load_model(checkpoint=Path(spec.checkpoint), device=spec.device)
    else:
        model = load_model(spec.name, device=spec.device)
    return ModelSegmenter(model, shared_library())
