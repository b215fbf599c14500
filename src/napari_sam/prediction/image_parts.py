# SPDX-License-Identifier: Apache-2.0
"""An image as the parts a model is shown: the whole, and regions of a large one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam.errors import PromptError
from napari_sam.prediction.mask_inputs import LogitGrid
from napari_sam.prediction.prompt_batch import PromptBatch, place_prompts
from napari_sam.prediction.regions import Regions
from napari_sam.prediction.transforms import FrameTransform
from napari_sam.structures.prompt_checks import check_mask_input
from napari_sam.structures.prompts import BoxPrompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event

    from napari_sam.prediction.predictor import SamPredictor
    from napari_sam.structures.arrays import FloatArray, HalfOpenBox, RgbPlane
    from napari_sam.structures.candidates import Answer
    from napari_sam.structures.embedding import ImageEmbedding


class ImageParts:
    """Which part of an image answers which prompts, and how it is asked.

    Parts are half-open boxes of the image.

    Parameters
    ----------
    predictor : SamPredictor
        Holds the model.
    rgb : (H, W, 3) uint8 array
        What the model is to see.
    cancel : threading.Event or None
        When set, encoding stops with `Cancelled`.

    Attributes
    ----------
    whole : (y0, x0, y1, x1)
        The whole image.
    whole_embedding : ImageEmbedding
        Of the image seen at once; those of regions are made when they are asked for.
    """

    def __init__(
        self, predictor: SamPredictor, rgb: RgbPlane, cancel: Event | None = None
    ) -> None:
        self._predictor = predictor
        self._frame = predictor.model.image_size
        self._regions = Regions((rgb.shape[0], rgb.shape[1]), self._frame)
        self.whole = self._regions.whole
        self.whole_embedding = predictor.embed(rgb, cancel=cancel)
        # Pixels are needed again for regions only.
        self._rgb = rgb if self._regions else None
        self._token = object()

    def embedding(
        self, part: HalfOpenBox, cancel: Event | None = None
    ) -> ImageEmbedding:
        """Return the embedding of a part; encodes a region at first.

        Raises
        ------
        Cancelled
            If `cancel` was set on the way.
        """
        if part == self.whole or self._rgb is None:
            return self.whole_embedding
        kept, key = self._predictor.region_embeddings, (self._token, part)
        embedding = kept.get(key)
        if embedding is None:
            y0, x0, y1, x1 = part
            embedding = self._predictor.embed(self._rgb[y0:y1, x0:x1], cancel=cancel)
            kept.put(key, embedding, embedding.nbytes)
        return embedding

    def best_for(self, prompts: PromptSet) -> HalfOpenBox:
        """Return the part that suits prompts best.

        Corrections stay with the part that gave the logits they correct, as long as it
        shows all prompts. Otherwise it is the region in whose middle prompts, mask and
        object lie, or the whole image.
        """
        corners = _corners(prompts)
        logits = prompts.mask_input
        if logits is None:
            return self._regions.best_for(corners) if len(corners) else self.whole
        origin = self._origin(logits, corners)
        if origin == self.whole or not len(corners):
            return origin
        if self._regions.holds(origin, corners):
            return origin
        extent = self._grid(origin).extent(np.asarray(logits).reshape(self._low_shape))
        if extent is not None:
            corners = np.concatenate([corners, np.reshape(extent, (2, 2))])
        return self._regions.best_for(corners)

    def place(self, prompts: Sequence[PromptSet], part: HalfOpenBox) -> PromptBatch:
        """Place prompts of one kind in the frame that shows a part.

        Raises
        ------
        PromptError
            If a prompt makes no sense on this image.
        """
        embedding, corner = self.embedding(part), np.array(part[:2], dtype=np.float64)
        first = prompts[0]
        return place_prompts(
            None if not first.points else [_points(p) - corner for p in prompts],
            None if not first.points else [_labels(p) for p in prompts],
            None
            if first.box is None
            else [np.array(p.box_yx) - np.tile(corner, 2) for p in prompts],
            [self._mask_input(p, part) for p in prompts] if has_mask(first) else None,
            transform=FrameTransform.of_embedding(embedding, self._frame),
            mask_shape=self._low_shape,
        )

    def bring_back(self, answer: Answer, part: HalfOpenBox) -> Answer:
        """Put the masks of a part into the image, and remember where its logits lie."""
        y, x = part[:2]
        # Of masks that come one by one there may be thousands, and none is given back.
        if part != self.whole and len(answer) > 1:
            self._predictor.logit_origins.note(answer.low_res_logits, part)
        if (y, x) == (0, 0):
            return answer
        masks = (replace(m, y0=m.y0 + y, x0=m.x0 + x) for m in answer.masks)
        return replace(answer, masks=tuple(masks))

    def is_cut(self, box: HalfOpenBox, part: HalfOpenBox) -> bool:
        """Tell whether a mask's box in the image ends where the part does."""
        has_pixels = box[0] < box[2]
        return has_pixels and part != self.whole and self._regions.is_cut(box, part)

    @property
    def _low_shape(self) -> tuple[int, int]:
        """Shape of low-resolution logits, the same for all parts."""
        return self.whole_embedding.mask_input_shape

    def _origin(
        self, logits: FloatArray, corners: npt.NDArray[np.float64]
    ) -> HalfOpenBox:
        """Return the part that gave logits; the whole image if nothing is known."""
        checked = check_mask_input(logits, self._low_shape)
        known = self._regions.among(self._predictor.logit_origins.parts_of(checked))
        for part in known:
            if len(corners) and self._regions.holds(part, corners):
                return part
        return known[0] if known else self.whole

    def _mask_input(self, prompts: PromptSet, part: HalfOpenBox) -> FloatArray:
        """Return the mask of a prompt set as the logits of a part."""
        if prompts.mask_input is None:
            if prompts.mask is None:
                msg = "Prompts of one kind are needed: one of them has no mask."
                raise PromptError(msg)
            return self._grid(part).of_mask(prompts.mask)
        logits = check_mask_input(prompts.mask_input, self._low_shape)
        origin = self._origin(logits, _corners(prompts))
        if origin == part:
            return logits
        return self._grid(part).of_logits(logits, self._grid(origin))

    def _grid(self, part: HalfOpenBox) -> LogitGrid:
        """Return where the logits of a part lie."""
        return LogitGrid.of_part(part, self._low_shape, self._frame)


def has_mask(prompts: PromptSet) -> bool:
    """Tell whether a mask or logits are among the prompts."""
    return prompts.mask_input is not None or prompts.mask is not None


def completed(prompts: PromptSet, shape: tuple[int, int]) -> PromptSet:
    """Give a mask that comes alone its box; refuse masks outside of the image.

    Models were trained on masks beside other prompts. The embedded model returns a true
    mask with a median IoU of 0.45 when asked with the mask alone, and of 0.91 with the
    mask and its box.

    Raises
    ------
    PromptError
        If the mask has no pixels or leaves the image.
    """
    mask = prompts.mask
    if mask is None or prompts.mask_input is not None:
        return prompts
    y0, x0, y1, x1 = mask.box
    if not mask.area:
        msg = "The mask to start from has no pixels: draw some, or leave it out."
        raise PromptError(msg)
    if min(y0, x0) < 0 or y1 > shape[0] or x1 > shape[1]:
        msg = (
            f"The mask to start from covers (y0, x0, y1, x1) = {mask.box}, but the "
            f"image has {shape[0]} rows and {shape[1]} columns."
        )
        raise PromptError(msg)
    if prompts.points or prompts.box is not None:
        return prompts
    return replace(prompts, box=BoxPrompt(y0, x0, y1, x1))


def _points(prompts: PromptSet) -> npt.NDArray[np.float64]:
    """Return the points as an (N, 2) array, also when there are none."""
    points = prompts.points_yx
    return np.zeros((0, 2)) if points is None else points


def _labels(prompts: PromptSet) -> list[int]:
    """Return the labels of the points."""
    return [point.label for point in prompts.points]


def _corners(prompts: PromptSet) -> npt.NDArray[np.float64]:
    """Return points and corners of boxes, (n, 2), in pixels of the image."""
    corners = [_points(prompts)]
    if prompts.box_yx is not None:
        corners.append(np.reshape(np.array(prompts.box_yx), (2, 2)))
    if prompts.mask is not None and prompts.mask_input is None:
        corners.append(np.reshape(np.array(prompts.mask.box, dtype=np.float64), (2, 2)))
    return np.concatenate(corners)
