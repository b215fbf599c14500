# SPDX-License-Identifier: Apache-2.0
"""Everything in an image, found without prompts from outside."""

from threading import Event
from typing import Any

from napari_sam.errors import SettingsError
from napari_sam.modeling.sam import Sam
from napari_sam.prediction.grid_search import Progress, count_points, search_image
from napari_sam.prediction.intensity import IntensityRule, to_rgb
from napari_sam.prediction.likely_search import search_likely
from napari_sam.prediction.object_decoder import SamObjectDecoder, without_maps
from napari_sam.prediction.object_search import search_objects
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.prediction.progress_range import STEPS
from napari_sam.structures.arrays import HalfOpenBox, Plane
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.embedding import ImageEmbedding
from napari_sam.structures.settings import AutoSettings


class AutomaticMaskGenerator:
    """Finds masks without prompts (Kirillov et al. 2023, section 4), or faster ways.

    The setting ``method`` says how: by a grid of points, the default, or by prompts
    that follow from what is in the image; see `AutoSettings`.

    Parameters
    ----------
    model : Sam or SamPredictor
        A loaded model; a predictor shares its remembered embeddings.
    **settings
        Names and values of `AutoSettings`; what is not given comes from the model's own
        defaults and then from the reference's.

    Raises
    ------
    SettingsError
        If a name is unknown or a value is out of range.
    """

    def __init__(self, model: Sam | SamPredictor, **settings: Any) -> None:
        self.predictor = (
            model if isinstance(model, SamPredictor) else SamPredictor(model)
        )
        own = self.predictor.model.auto_defaults
        names = AutoSettings.names()
        defaults: dict[str, Any] = {name: own[name] for name in own if name in names}
        if settings.get("point_grids") is not None:
            defaults["points_per_side"] = None
        self.settings = AutoSettings.from_defaults(defaults, settings)
        own_model = self.predictor.model
        if self.settings.method == "fastest" and not own_model.has_object_maps:
            raise SettingsError(without_maps(own_model.name))

    def generate(
        self,
        image: Plane,
        *,
        embedding: ImageEmbedding | None = None,
        channel_axis: int | None = None,
        intensity: IntensityRule | None = None,
        progress: Progress | None = None,
        cancel: Event | None = None,
    ) -> list[MaskRecord]:
        """Find masks in one plane.

        Parameters
        ----------
        image : (H, W), (H, W, 3), (H, W, 4) array, or 3-D with `channel_axis`
            As for `SamPredictor.embed`.
        embedding : ImageEmbedding or None
            Of the same image, channels and intensity rule, to save its encoding; crops
            are encoded in any case.
        channel_axis : int or None
            Axis of the channels of a microscope image.
        intensity : IntensityRule or None
            How values become brightness.
        progress : callable or None
            Called with ``(steps done, steps in all)``: points of the grid, per cents of
            other methods.
        cancel : threading.Event or None
            When set, what has been found so far is returned after the present batch.

        Returns
        -------
        list of MaskRecord
            Best first. Masks may overlap.

        Raises
        ------
        ImageError
            If the array is no image, or the embedding is of another one or of another
            model.
        """
        rgb = to_rgb(image, channel_axis, intensity)
        shape = (rgb.shape[0], rgb.shape[1])
        whole = (0, 0, *shape)
        if embedding is not None:
            self.predictor.check_embedding(embedding, rgb)

        def embed(box: HalfOpenBox) -> ImageEmbedding:
            if box == whole and embedding is not None:
                return embedding
            y0, x0, y1, x1 = box
            return self.predictor.embed(rgb[y0:y1, x0:x1], cancel=cancel)

        def open_crop(box: HalfOpenBox) -> SamObjectDecoder:
            return SamObjectDecoder(self.predictor, embed(box))

        how: dict[str, Any] = {
            "batch_size": self._batch_size(),
            "progress": progress,
            "cancel": cancel,
        }
        model = self.predictor.model
        if self.settings.method == "grid":
            return search_image(shape, self.settings, open_crop, **how)
        if model.has_object_maps:
            how["min_object_px"] = model.min_object_px
            return search_objects(shape, self.settings, open_crop, **how)
        return search_likely(shape, self.settings, open_crop, **how)

    def count_steps(self, shape: tuple[int, int]) -> int:
        """Return the steps of the progress on an image (H, W)."""
        if self.settings.method == "grid":
            return count_points(shape, self.settings)
        return STEPS

    def _batch_size(self) -> int:
        """Return how many points are decoded at once: no more than suits the device."""
        return min(self.settings.points_per_batch, self.predictor.batch_size)
