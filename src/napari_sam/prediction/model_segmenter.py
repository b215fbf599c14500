# SPDX-License-Identifier: Apache-2.0
"""A loaded model as annotation wants it: the `Segmenter` of napari and of scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.prediction.image_view import ImageView
from napari_sam.prediction.intensity import is_blank, to_rgb
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.prediction.regions import Regions
from napari_sam.prediction.segmenter import find_objects, segment_image
from napari_sam.prediction.shown_pixels import ShownPixels

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, MutableMapping, Sequence

    from napari_sam.modeling.sam import Sam
    from napari_sam.prediction.embedding_library import EmbeddingLibrary
    from napari_sam.structures.arrays import HalfOpenBox, LabelImage, Plane
    from napari_sam.structures.candidates import Answer, MaskRecord
    from napari_sam.structures.mask_sketch import MaskSketch
    from napari_sam.structures.plane_pixels import PlanePixels
    from napari_sam.structures.plane_view import PlaneView, Region
    from napari_sam.structures.prompts import PromptSet
    from napari_sam.structures.tile_result import FoundObjects


class ModelSegmenter:
    """What answers prompts; satisfies annotation's `Segmenter` by its shape.

    Parameters
    ----------
    model : Sam
        A loaded model.
    library : EmbeddingLibrary or None
        Embeddings made before, of this model and of others.
    """

    def __init__(self, model: Sam, library: EmbeddingLibrary | None = None) -> None:
        self._model = model
        self._predictor = SamPredictor(model, library=library)

    @property
    def name(self) -> str:
        """Model name for messages."""
        return str(self._model.name)

    @property
    def auto_defaults(self) -> Mapping[str, Any]:
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

    def see(self, pixels: PlanePixels | Plane) -> ShownPixels:
        """Read a plane, or of a large one what decides on its brightness."""
        shown = ShownPixels(pixels)
        is_large = bool(Regions(shown.shape, self._model.image_size).scales)
        if is_large or shown.whole() is None:
            _ = shown.limits  # looked at once and kept
        return shown

    def embed(
        self,
        pixels: PlanePixels | Plane,
        *,
        view: PlaneView | None = None,
        cancel: threading.Event | None = None,
        digests: MutableMapping[Region, str] | None = None,
    ) -> ImageView:
        """Encode a plane, or of a large one the region on screen; others follow."""
        return ImageView(
            self._predictor, pixels, view=view, cancel=cancel, digests=digests
        )

    def scale_for(
        self,
        embedding: ImageView,
        view: PlaneView | None,
        extent: HalfOpenBox | None = None,
    ) -> int | None:
        """Return the scale that suits what is on screen; None is the usual one."""
        return embedding.scale_for(view, extent)

    def region_at(
        self, embedding: ImageView, yx: tuple[float, float], scale: int | None
    ) -> Region | None:
        """Return the region that would answer a click; None if that is the plane."""
        return embedding.region_at(yx, scale) if embedding.is_large else None

    def is_ready(self, embedding: ImageView, region: Region) -> bool:
        """Tell whether a region is encoded."""
        return embedding.is_ready(region)

    def look(
        self,
        embedding: ImageView,
        region: Region,
        *,
        cancel: threading.Event | None = None,
    ) -> None:
        """Encode a region, so that prompts there are answered at once."""
        embedding.look(region, cancel)

    def predict(
        self,
        embedding: ImageView,
        prompts: PromptSet,
        *,
        scale: int | None = None,
        cancel: threading.Event | None = None,
    ) -> Answer:
        """All four masks of one object for its prompts."""
        return embedding.answer(prompts, scale=scale, cancel=cancel)

    def preview(self, embedding: ImageView, yx: tuple[float, float]) -> Answer:
        """Return the one mask that a click at row, column would likely give."""
        return embedding.preview(yx)

    def sketch(
        self, embedding: ImageView, yx: tuple[float, float], scale: int
    ) -> MaskSketch | None:
        """Return that mask of a large plane as far as it was looked at."""
        return embedding.sketch(yx, scale)

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

    def find_everything(
        self,
        pixels: PlanePixels,
        settings: Mapping[str, Any],
        *,
        progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> FoundObjects:
        """Objects of a large plane, searched tile by tile: what is read is one tile."""
        return find_objects(
            self.see(pixels),
            self._predictor,
            progress=progress,
            cancel=cancel,
            **settings,
        )
