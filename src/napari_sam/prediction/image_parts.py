# SPDX-License-Identifier: Apache-2.0
"""An image as the regions a model is shown: the whole, and parts of a large one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from napari_sam.errors import PromptError
from napari_sam.prediction.logit_windows import MAX_WINDOW_PX
from napari_sam.prediction.mask_inputs import LogitGrid
from napari_sam.prediction.prompt_batch import PromptBatch, place_prompts
from napari_sam.prediction.regions import Regions
from napari_sam.prediction.transforms import FrameTransform, resized_shape
from napari_sam.structures.prompt_checks import check_mask_input
from napari_sam.structures.prompts import BoxPrompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence
    from threading import Event

    from napari_sam.prediction.predictor import SamPredictor
    from napari_sam.prediction.shown_pixels import ShownPixels
    from napari_sam.structures.arrays import FloatArray, HalfOpenBox
    from napari_sam.structures.candidates import Answer
    from napari_sam.structures.embedding import ImageEmbedding
    from napari_sam.structures.mask_window import MaskWindow
    from napari_sam.structures.plane_view import Region

Choice = Literal["best", "ready first", "only ready"]
"""Of several regions that show something well."""


class ImageParts:
    """Which region of an image answers which prompts, and how it is asked.

    Nothing is read before a region is asked for, and then that region only.

    Parameters
    ----------
    predictor : SamPredictor
        Holds the model.
    pixels : ShownPixels
        What the model is to see.
    digests : mapping of Region to str, optional
        Digests of embeddings of regions of these pixels; those found among the model's
        need no pixels. What is encoded is added.

    Attributes
    ----------
    regions : Regions
    whole : Region
        The whole image.
    """

    def __init__(
        self,
        predictor: SamPredictor,
        pixels: ShownPixels,
        digests: MutableMapping[Region, str] | None = None,
    ) -> None:
        self._predictor = predictor
        self._frame = predictor.model.image_size
        side = 4 * predictor.model.grid_size
        self._low_shape = (side, side)
        self.regions = Regions(pixels.shape, self._frame, predictor.model.min_object_px)
        self.whole = self.regions.whole
        self._whole_embedding: ImageEmbedding | None = None
        self._pixels: ShownPixels | None = pixels
        self._digests = {} if digests is None else digests
        self._token = object()

    def embedding(self, region: Region, cancel: Event | None = None) -> ImageEmbedding:
        """Return the embedding of a region; encodes it at first.

        Raises
        ------
        Cancelled
            If `cancel` was set on the way.
        """
        embedding = self._kept(region)
        if embedding is None:
            digest = self._digests.get(region)
            small = self._predictor.recall(digest) if digest else None
            if small is None:
                small = self._encode(region, cancel)
                self._digests[region] = small.digest
            embedding = replace(small, original_size=region.size)
            self._keep(region, embedding)
        return embedding

    def is_ready(self, region: Region) -> bool:
        """Tell whether a region is encoded; may be asked from any thread."""
        return self._kept(region) is not None

    def best_for(self, prompts: PromptSet, scale: int | None = None) -> Region:
        """Return the region that suits prompts best.

        Corrections stay with the region that gave the logits they correct, as long as
        it shows all prompts and is not coarser than wanted. Otherwise it is the finest
        region in whose middle prompts, mask and object lie, or the whole image. With a
        scale, one that is ready and shows them well goes before one still to encode.

        Parameters
        ----------
        prompts : PromptSet
            Of one object.
        scale : int, optional
            The finest scale to look at; by default the model's usual one.
        """
        corners = corners_of(prompts)
        if not len(corners):
            logits = prompts.mask_input
            return self.whole if logits is None else self._origin(logits, corners)
        finest = math.inf
        if prompts.mask_input is not None:
            origin = self._origin(prompts.mask_input, corners)
            if self._suits(origin, corners, scale):
                return origin
            logits = check_mask_input(prompts.mask_input, self._low_shape)
            extent = self._grid(origin).extent(logits)
            if extent is not None:
                corners = np.concatenate([corners, np.reshape(extent, (2, 2))])
            finest = origin.scale  # what was seen in detail is not seen with less
        return self._ready_or_best(corners, scale, finest)

    def at(self, yx: tuple[float, float], scale: int | None = None) -> Region:
        """Return the region that would answer a click; see `best_for`.

        Positions beside the image count as the nearest ones on it.
        """
        last = np.array(self.regions.shape, dtype=np.float64) - 1
        return self._ready_or_best(np.clip([yx], 0, last), scale)

    def ready_for(
        self, corners_yx: npt.NDArray[np.float64], scale: int | None = None
    ) -> Region | None:
        """Return the finest region that shows everything and needs no encoding."""
        around = self.regions.around(corners_yx, scale)
        return next((region for region in around if self.is_ready(region)), None)

    def enlarging(
        self,
        corners_yx: npt.NDArray[np.float64],
        size_px: float,
        seen: Region,
        choice: Choice,
    ) -> Region | None:
        """Return a region for a tiny object, as `Regions.enlarging` does.

        A ready one goes before the best if `choice` says so; None if it has to be ready
        and is not.
        """
        best = self.regions.enlarging(corners_yx, size_px, seen)
        if best is None or choice == "best":
            return best
        ready = self._ready_like(best, corners_yx)
        return best if ready is None and choice == "ready first" else ready

    def place(self, prompts: Sequence[PromptSet], region: Region) -> PromptBatch:
        """Place prompts of one kind in the frame that shows a region.

        Raises
        ------
        PromptError
            If a prompt makes no sense on this image.
        """
        corner = np.array(region.box[:2], dtype=np.float64)
        first = prompts[0]
        inside = resized_shape(region.size, self._frame)
        return place_prompts(
            None if not first.points else [_points(p) - corner for p in prompts],
            None if not first.points else [_labels(p) for p in prompts],
            None
            if first.box is None
            else [np.array(p.box_yx) - np.tile(corner, 2) for p in prompts],
            [self._mask_input(p, region) for p in prompts] if has_mask(first) else None,
            transform=FrameTransform(
                region.size, inside, self._frame, self._predictor.model.exact_clicks
            ),
            mask_shape=self._low_shape,
        )

    def seen_as(self, region: Region) -> ImageEmbedding:
        """Return the embedding as one of the pixels that the model was shown.

        Masks of a coarse region are drawn in these first: there are few of them, and
        they tell which masks are worth drawing in full. Of an image that scripts hold
        in memory, the whole is drawn in its own pixels at once.
        """
        embedding = self.embedding(region)
        is_huge = math.prod(region.size) > MAX_WINDOW_PX
        if region.scale <= 1 or (region == self.whole and not is_huge):
            return embedding
        return replace(embedding, original_size=embedding.input_size)

    def step_of(self, region: Region) -> tuple[float, float]:
        """Return the size of a pixel of `seen_as`, in pixels of the image."""
        shown = self.seen_as(region).original_size
        height, width = (
            full / seen for full, seen in zip(region.size, shown, strict=True)
        )
        return height, width

    def box_of(self, mask: MaskWindow, region: Region) -> HalfOpenBox:
        """Return the box of a mask in pixels of `seen_as` as one in the image."""
        down, across = self.step_of(region)
        y, x = region.box[:2]
        y0, x0, y1, x1 = mask.box
        return (
            y + math.floor(y0 * down),
            x + math.floor(x0 * across),
            y + math.ceil(y1 * down),
            x + math.ceil(x1 * across),
        )

    def note(self, answer: Answer, region: Region) -> None:
        """Remember which region the logits of an answer are of."""
        if region != self.whole:
            self._predictor.logit_origins.note(answer.low_res_logits, region)

    def _encode(self, region: Region, cancel: Event | None) -> ImageEmbedding:
        """Read what the model can see of a region, and no more, and encode it."""
        if self._pixels is None:
            msg = "The pixels of an image without regions were let go too early."
            raise PromptError(msg)
        size = region.size
        if max(size) > self._frame:
            size = resized_shape(size, self._frame)
        rgb = self._pixels.read_at(region.box, size)
        return self._predictor.embed(rgb, cancel=cancel)

    def _kept(self, region: Region) -> ImageEmbedding | None:
        if region == self.whole:
            return self._whole_embedding
        return self._predictor.region_embeddings.get((self._token, region))

    def _keep(self, region: Region, embedding: ImageEmbedding) -> None:
        if region != self.whole:
            kept = self._predictor.region_embeddings
            kept.put((self._token, region), embedding, embedding.nbytes)
            return
        self._whole_embedding = embedding
        if not self.regions.scales and not self.regions.enlarging_scales:
            self._pixels = None  # pixels are needed again for regions only

    def _ready_or_best(
        self,
        corners: npt.NDArray[np.float64],
        scale: int | None,
        finest: float = math.inf,
    ) -> Region:
        """``scale`` is what the screen shows, ``finest`` what was seen before."""
        usual = self.regions.usual_scale if scale is None else scale
        best = self.regions.best_for(corners, min(usual, finest))
        if scale is None:
            return best  # answers of scripts must not depend on what was asked before
        return self._ready_like(best, corners) or best

    def _ready_like(
        self, best: Region, corners: npt.NDArray[np.float64]
    ) -> Region | None:
        """Return the best region that is ready, of the scale of the best of all."""
        if self.is_ready(best):
            return best
        for region in self.regions.around(corners, best.scale):
            if region.scale == best.scale and self.is_ready(region):
                return region
        return None

    def _suits(
        self, origin: Region, corners: npt.NDArray[np.float64], scale: int | None
    ) -> bool:
        """Tell whether what gave logits is to answer their correction as well."""
        if scale is not None and origin.scale > scale:
            return False
        return origin == self.whole or self.regions.holds(origin, corners)

    def _origin(self, logits: FloatArray, corners: npt.NDArray[np.float64]) -> Region:
        """Return the region that gave logits; the whole image if nothing is known."""
        checked = check_mask_input(logits, self._low_shape)
        known = self.regions.among(self._predictor.logit_origins.regions_of(checked))
        for region in known:
            if len(corners) and self.regions.holds(region, corners):
                return region
        return known[0] if known else self.whole

    def _mask_input(self, prompts: PromptSet, region: Region) -> FloatArray:
        """Return the mask of a prompt set as the logits of a region."""
        if prompts.mask_input is None:
            if prompts.mask is None:
                msg = "Prompts of one kind are needed: one of them has no mask."
                raise PromptError(msg)
            return self._grid(region).of_mask(prompts.mask)
        logits = check_mask_input(prompts.mask_input, self._low_shape)
        origin = self._origin(logits, corners_of(prompts))
        if origin == region:
            return logits
        return self._grid(region).of_logits(logits, self._grid(origin))

    def _grid(self, region: Region) -> LogitGrid:
        """Return where the logits of a region lie."""
        return LogitGrid.of_part(region.box, self._low_shape, self._frame)


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


def corners_of(prompts: PromptSet) -> npt.NDArray[np.float64]:
    """Return points and corners of boxes, (n, 2), in pixels of the image."""
    corners = [_points(prompts)]
    if prompts.box_yx is not None:
        corners.append(np.reshape(np.array(prompts.box_yx), (2, 2)))
    if prompts.mask is not None and prompts.mask_input is None:
        corners.append(np.reshape(np.array(prompts.mask.box, dtype=np.float64), (2, 2)))
    return np.concatenate(corners)
