# SPDX-License-Identifier: Apache-2.0
"""Many objects of one image asked at once, with everything that a correction needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam.prediction.answers import answer_in_full, answer_with_best
from napari_sam.prediction.image_parts import ImageParts
from napari_sam.prediction.region_asking import RegionAsking
from napari_sam.prediction.shown_pixels import ShownPixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.prediction.predictor import SamPredictor
    from napari_sam.structures.arrays import Plane
    from napari_sam.structures.candidates import Answer
    from napari_sam.structures.prompts import PromptSet


class AskedImage:
    """An image that answers prompts as `ImageView` does, those of many objects at once.

    Parameters
    ----------
    predictor : SamPredictor
        Holds the model, and the embeddings that the automatic mode shares.
    image : (H, W) or (H, W, 3) array
        The plane.

    Attributes
    ----------
    shape : (H, W)
    """

    def __init__(self, predictor: SamPredictor, image: Plane) -> None:
        pixels = ShownPixels(image)
        self.shape = pixels.shape
        self._asking = RegionAsking(predictor, ImageParts(predictor, pixels))

    def ask(
        self, prompts: Sequence[PromptSet], *, in_full: bool = False
    ) -> list[Answer]:
        """Answer the prompts of many objects.

        Parameters
        ----------
        prompts : sequence of PromptSet
            One for each object.
        in_full : bool
            All four outputs of the decoder; without it the one mask that a user would
            see, output 0 or for a single click the best of the other three.

        Returns
        -------
        list of Answer
            In the order of the prompts, with their low-resolution logits.
        """
        how = answer_in_full if in_full else answer_with_best
        found: dict[int, Answer] = {}
        for part in self._asking.decode(prompts, how):
            found |= part
        return [found[i] for i in range(len(prompts))]
