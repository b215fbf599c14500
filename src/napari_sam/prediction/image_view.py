# SPDX-License-Identifier: Apache-2.0
"""Prompts on an image of any size, each answered at a resolution that suits it.

A model loses the small objects of a large image. So an image larger than 1.5 times the
model's frame is looked at in overlapping regions, at scales from full resolution up to
the whole image: the finest region in whose middle the prompts lie answers. Where the
user looks at the image, no region is finer than what is on screen. An answer that ends
at a border of its region is asked again of a region that shows more.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam.errors import Cancelled, PromptError
from napari_sam.prediction.answers import answer_in_full, answer_with_best
from napari_sam.prediction.image_parts import ImageParts
from napari_sam.prediction.predictor import MULTI_OUTPUT, SINGLE_OUTPUT
from napari_sam.prediction.region_asking import RegionAsking
from napari_sam.prediction.shown_pixels import ShownPixels
from napari_sam.structures.candidates import Answer, Candidates
from napari_sam.structures.prompt_checks import FOREGROUND, check_one_object
from napari_sam.structures.prompts import BoxPrompt, PointPrompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping, Sequence
    from threading import Event

    from napari_sam.prediction.intensity import IntensityRule
    from napari_sam.prediction.predictor import SamPredictor
    from napari_sam.structures.arrays import HalfOpenBox, Plane
    from napari_sam.structures.embedding import ImageEmbedding
    from napari_sam.structures.mask_sketch import MaskSketch
    from napari_sam.structures.plane_pixels import PlanePixels
    from napari_sam.structures.plane_view import PlaneView, Region


class ImageView:
    """An image ready for prompts.

    What scripts ask first of a large image is answered at full resolution by models
    with a small frame, and by published models on the whole image, as their authors
    use them.

    Parameters
    ----------
    predictor : SamPredictor
        Holds the model.
    image : PlanePixels, (H, W), (H, W, 3), (H, W, 4) array, or 3-D with `channel_axis`
        Any real dtype; see `to_rgb`.
    channel_axis : int or None
        Axis of the channels of a microscope image.
    intensity : IntensityRule or None
        How values become brightness, for the image as a whole.
    view : PlaneView or None
        What is on screen. Of a large image the region there is encoded, instead of the
        whole image.
    cancel : threading.Event or None
        When set, encoding stops with `Cancelled`.
    digests : mapping of Region to str, optional
        As in `ImageParts`.

    Attributes
    ----------
    shape : (H, W)
    """

    def __init__(
        self,
        predictor: SamPredictor,
        image: PlanePixels | Plane,
        channel_axis: int | None = None,
        *,
        intensity: IntensityRule | None = None,
        view: PlaneView | None = None,
        cancel: Event | None = None,
        digests: MutableMapping[Region, str] | None = None,
    ) -> None:
        self._predictor = predictor
        if isinstance(image, ShownPixels):
            pixels = image
        else:
            given = image if hasattr(image, "level_shapes") else np.asarray(image)
            pixels = ShownPixels(given, channel_axis, intensity)
        self.shape = pixels.shape
        self._parts = ImageParts(predictor, pixels, digests)
        self._asking = RegionAsking(predictor, self._parts)
        region = self.region_for(view)
        if region is not None:
            self.look(region, cancel)

    @property
    def whole(self) -> ImageEmbedding:
        """Embedding of the image seen at once; encoded at first, if it was not yet."""
        return self._parts.embedding(self._parts.whole)

    @property
    def is_large(self) -> bool:
        """Whether the image is looked at in regions."""
        return bool(self._parts.regions.scales)

    def scale_for(
        self, view: PlaneView | None, extent: HalfOpenBox | None = None
    ) -> int | None:
        """Return the scale that suits what is on screen; see `Regions.scale_for`.

        None is the usual one: without a view, and for images that are not large.
        """
        if view is None or not self.is_large:
            return None
        return self._parts.regions.scale_for(view, extent)

    def region_for(self, view: PlaneView | None) -> Region | None:
        """Return the region to encode before anything is asked.

        It is the one in the middle of the screen. Without a view it is the whole image
        or None, if a region will be chosen by the prompts.
        """
        scale = self.scale_for(view)
        if view is not None and scale is not None:
            return self._parts.at(view.centre_yx, scale)
        regions = self._parts.regions
        is_usual = not regions.scales or regions.usual_scale > regions.scales[-1]
        return regions.whole if is_usual else None

    def region_at(self, yx: tuple[float, float], scale: int | None = None) -> Region:
        """Return the region that would answer a click; nothing is encoded for it."""
        return self._parts.at(yx, scale)

    def is_ready(self, region: Region) -> bool:
        """Tell whether a region is encoded; may be asked from any thread."""
        return self._parts.is_ready(region)

    def look(self, region: Region, cancel: Event | None = None) -> None:
        """Encode a region unless it is; raises Cancelled when `cancel` is set."""
        self._parts.embedding(region, cancel)

    def answer(
        self,
        prompts: PromptSet,
        *,
        scale: int | None = None,
        cancel: Event | None = None,
    ) -> Answer:
        """Answer the prompts of one object with all four outputs of the decoder.

        Parameters
        ----------
        prompts : PromptSet
            In pixels of the image. Logits given back may be of any part of this image;
            unknown ones are taken to be of the whole. A mask that comes alone is asked
            for together with its box.
        scale : int or None
            The finest scale to look at, of `scale_for`; None is the usual one.
        cancel : threading.Event or None
            When set, encoding of a region stops with `Cancelled`.

        Returns
        -------
        Answer
            Masks in the image; logits of the region that answered.

        Raises
        ------
        PromptError
            If there is no prompt, one makes no sense on this image, or the answer has
            too many pixels to be drawn.
        """
        started = time.perf_counter()
        (found,) = self._asking.decode([prompts], answer_in_full, scale, cancel)
        return replace(found[0], seconds=time.perf_counter() - started)

    def preview(self, yx: tuple[float, float]) -> Answer:
        """Return the one mask that a click here would most likely give.

        Parameters
        ----------
        yx : (y, x)
            In pixels of the image.

        Raises
        ------
        PromptError
            If the position is not on the image.
        """
        started = time.perf_counter()
        (found,) = self._asking.decode(
            [PromptSet((PointPrompt(yx),))], answer_with_best, only_ready=True
        )
        return replace(found[0], seconds=time.perf_counter() - started)

    def sketch(self, yx: tuple[float, float], scale: int) -> MaskSketch | None:
        """Return the mask that a click here would likely give, as the model sees it.

        Nothing is encoded: a coarser region answers until the right one is ready.

        Parameters
        ----------
        yx : (y, x)
            In pixels of the image.
        scale : int
            The finest scale to look at.

        Returns
        -------
        MaskSketch or None
            None if no region that is ready shows all of the object.
        """
        return self._asking.sketch(PromptSet((PointPrompt(yx),)), scale)

    def answer_many(
        self,
        prompts: Sequence[PromptSet],
        *,
        progress: Callable[[int, int], None] | None = None,
        cancel: Event | None = None,
    ) -> list[Answer]:
        """Answer the prompts of many objects with one mask each.

        It is output 0, or the best of the other three for a single point. Prompts are
        decoded region by region, those of one kind together.

        Parameters
        ----------
        prompts : sequence of PromptSet
            In pixels of the image.
        progress : callable or None
            Called with ``(objects done, objects in all)`` after each batch.
        cancel : threading.Event or None
            Looked at after each batch and between the blocks of the encoder.

        Returns
        -------
        list of Answer
            In the order of `prompts`; shorter when cancelled. Their logits are left
            out, ``low_res_logits`` is (0, a, b): those of a thousand objects would take
            250 MB.

        Raises
        ------
        PromptError
            As in `answer`.
        """
        made: dict[int, Answer] = {}
        try:
            for found in self._asking.decode(prompts, answer_with_best, cancel=cancel):
                for i, answer in found.items():
                    made[i] = replace(answer, low_res_logits=answer.low_res_logits[:0])
                if progress is not None:
                    progress(len(made), len(prompts))
                if cancel is not None and cancel.is_set():
                    break
        except Cancelled:
            pass  # while a region was encoded
        return [made[i] for i in takewhile(made.__contains__, range(len(prompts)))]

    def predict(
        self,
        points_yx: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box_yx: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
    ) -> Candidates:
        """Return masks of one object; arguments as in `SamPredictor.predict`.

        The low-resolution logits are those of the part of the image that answered;
        given back, they are taken for what they are.
        """
        prompts = _one_object(points_yx, point_labels, box_yx, mask_input)
        is_one_click = len(prompts.points) == 1 and prompts.box is None
        outputs = MULTI_OUTPUT if is_one_click else SINGLE_OUTPUT
        return self._to_candidates(self.answer(prompts), outputs)

    def predict_batch(
        self,
        points_yx: npt.NDArray[np.floating] | None = None,
        boxes_yx: npt.NDArray[np.floating] | None = None,
        *,
        multimask_output: bool | None = None,
    ) -> list[Candidates]:
        """Return masks of B objects with one click or one box each.

        Parameters
        ----------
        points_yx : (B, 2) array or None
            Foreground points.
        boxes_yx : (B, 4) array or None
            ``y0, x0, y1, x1``.
        multimask_output : bool or None
            As in `SamPredictor.predict`.
        """
        given = points_yx if boxes_yx is None else boxes_yx
        prompts = [
            _one_object(
                None if points_yx is None else [points_yx[i]],
                None,
                None if boxes_yx is None else boxes_yx[i],
            )
            for i in range(0 if given is None else len(given))
        ]
        answers: dict[int, Answer] = {}
        for found in self._asking.decode(prompts, answer_in_full):
            answers |= found
        if multimask_output is None:
            multimask_output = boxes_yx is None
        outputs = MULTI_OUTPUT if multimask_output else SINGLE_OUTPUT
        return [self._to_candidates(answers[i], outputs) for i in range(len(prompts))]

    def _to_candidates(self, answer: Answer, outputs: slice) -> Candidates:
        """Return some outputs of an answer as masks of the whole image."""
        masks = np.stack([mask.on_plane(self.shape) for mask in answer.masks[outputs]])
        logits = answer.low_res_logits[outputs]
        return Candidates(masks, answer.predicted_iou[outputs], logits)


def _one_object(
    points_yx: npt.ArrayLike | None,
    point_labels: npt.ArrayLike | None,
    box_yx: npt.ArrayLike | None,
    mask_input: npt.ArrayLike | None = None,
) -> PromptSet:
    """Return arrays as a set of prompts."""
    check_one_object(points_yx, point_labels, box_yx)
    if points_yx is None and point_labels is not None:
        msg = "Point labels came without points."
        raise PromptError(msg)
    points: tuple[PointPrompt, ...] = ()
    if points_yx is not None:
        places = np.asarray(points_yx, dtype=np.float64)
        labels = [FOREGROUND] * len(places)
        if point_labels is not None:
            labels = np.asarray(point_labels).tolist()
        points = tuple(map(PointPrompt, map(tuple, places.tolist()), labels))
    return PromptSet(
        points,
        None if box_yx is None else BoxPrompt(*np.asarray(box_yx, float).tolist()),
        None if mask_input is None else np.asarray(mask_input),
    )
