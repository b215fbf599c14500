# SPDX-License-Identifier: Apache-2.0
"""Prompts on an image of any size, each answered at a resolution that suits it.

A model with a small frame loses the small objects of a large image. So an image larger
than 1.5 times the frame is looked at in overlapping regions of the frame's size, at
full resolution: the one in whose middle the prompts lie answers. Prompts that reach
further than a region, and answers that end at its border, go to the whole image
instead.
"""

from collections import defaultdict
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam.prediction.embedding_cache import LruCache
from napari_sam.prediction.intensity import IntensityRule, to_rgb
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.prediction.tiling import TILE_FROM, is_cut_by_tile, tile_boxes
from napari_sam.structures.arrays import HalfOpenBox, Plane
from napari_sam.structures.candidates import Candidates
from napari_sam.structures.embedding import ImageEmbedding
from napari_sam.structures.geometry import mask_bounding_box

# Published models have this frame; they see whole images, as their authors use them.
_WHOLE_IMAGE_FRAME = 1024
_MAX_REGIONS = 8  # embeddings kept, about 8 MB each for the embedded model


class ImageView:
    """An image ready for prompts.

    Parameters
    ----------
    predictor : SamPredictor
        Holds the model.
    image : (H, W), (H, W, 3), (H, W, 4) array, or 3-D with `channel_axis`
        Any real dtype; see `to_rgb`.
    channel_axis : int or None
        Axis of the channels of a microscope image.
    intensity : IntensityRule or None
        How values become brightness, for the image as a whole.
    cancel : threading.Event or None
        When set, encoding stops with `Cancelled`.

    Attributes
    ----------
    shape : (H, W)
    whole : ImageEmbedding
        Of the image seen at once.
    """

    def __init__(
        self,
        predictor: SamPredictor,
        image: Plane,
        channel_axis: int | None = None,
        *,
        intensity: IntensityRule | None = None,
        cancel: Event | None = None,
    ) -> None:
        self._predictor = predictor
        self._rgb = to_rgb(image, channel_axis, intensity)
        self.shape = (self._rgb.shape[0], self._rgb.shape[1])
        self.whole = predictor.embed(self._rgb, cancel=cancel)
        frame = predictor.model.image_size
        self._regions: list[HalfOpenBox] = []
        if frame < _WHOLE_IMAGE_FRAME and max(self.shape) > TILE_FROM * frame:
            self._regions = tile_boxes(self.shape, frame, frame // 2)
        self._embeddings: LruCache[ImageEmbedding] = LruCache(_MAX_REGIONS)

    def predict(
        self,
        points_yx: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box_yx: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
    ) -> Candidates:
        """Return masks of one object; arguments as in `SamPredictor.predict`.

        The low-resolution logits are those of the region that answered. A mask input is
        taken to be of the whole image.
        """
        whole: dict[str, Any] = {
            "points_yx": points_yx,
            "point_labels": point_labels,
            "box_yx": box_yx,
        }
        region = None
        if mask_input is None:
            region = self._region_of(points_yx, box_yx)
        if region is not None:
            near = {
                "points_yx": _shift(points_yx, region, 1),
                "point_labels": point_labels,
                "box_yx": _shift(box_yx, region, 2),
            }
            answer = self._predictor.predict(self._embedding(region), **near)
            if not self._is_cut(answer, region):
                return self._placed(answer, region)
        return self._predictor.predict(self.whole, **whole, mask_input=mask_input)

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
        n_objects = 0 if given is None else len(given)
        by_region: dict[HalfOpenBox | None, list[int]] = defaultdict(list)
        for i in range(n_objects):
            point = None if points_yx is None else points_yx[i]
            box = None if boxes_yx is None else boxes_yx[i]
            by_region[self._region_of(point, box)].append(i)
        answers: dict[int, Candidates] = {}
        left = by_region.pop(None, [])
        for region, members in by_region.items():
            found = self._ask(region, members, points_yx, boxes_yx, multimask_output)
            for i, answer in zip(members, found, strict=True):
                if region is not None and not self._is_cut(answer, region):
                    answers[i] = self._placed(answer, region)
                else:
                    left.append(i)
        if left:
            found = self._ask(None, left, points_yx, boxes_yx, multimask_output)
            answers |= dict(zip(left, found, strict=True))
        return [answers[i] for i in range(n_objects)]

    def _ask(
        self,
        region: HalfOpenBox | None,
        members: list[int],
        points_yx: npt.NDArray[np.floating] | None,
        boxes_yx: npt.NDArray[np.floating] | None,
        multimask_output: bool | None,  # noqa: FBT001  handed on
    ) -> list[Candidates]:
        """Decode some objects on one region, or on the whole image."""
        view = (0, 0, *self.shape) if region is None else region
        prompts: dict[str, Any] = {}
        if points_yx is not None:
            prompts["points_yx"] = _shift(points_yx[members], view, 1)[:, None]
            prompts["point_labels"] = np.ones((len(members), 1), dtype=np.int64)
        if boxes_yx is not None:
            prompts["boxes_yx"] = _shift(boxes_yx[members], view, 2)
        embedding = self.whole if region is None else self._embedding(region)
        return self._predictor.predict_batch(
            embedding, **prompts, multimask_output=multimask_output
        )

    def _region_of(
        self, points_yx: npt.ArrayLike | None, box_yx: npt.ArrayLike | None
    ) -> HalfOpenBox | None:
        """Return the region whose inner borders are farthest from the prompts."""
        given = [
            np.asarray(prompt, dtype=np.float64).reshape(-1, 2)
            for prompt in (points_yx, box_yx)
            if prompt is not None and np.size(prompt)
        ]
        if not self._regions or not given:
            return None
        corners = np.concatenate(given)
        low, high = corners.min(axis=0), corners.max(axis=0)
        is_inside = (low >= 0).all() and (high <= self.shape).all()
        if not is_inside:  # also NaN: the whole image tells what is wrong
            return None
        spare = [self._spare(low, high, region) for region in self._regions]
        best = int(np.argmax(spare))
        return self._regions[best] if spare[best] > 0 else None

    def _spare(
        self,
        low: npt.NDArray[np.float64],
        high: npt.NDArray[np.float64],
        region: HalfOpenBox,
    ) -> float:
        """Pixels between prompts and the nearest border that is not the image's."""
        y0, x0, y1, x1 = region
        height, width = self.shape
        distances = (
            (low[0] - y0, y0 == 0),
            (low[1] - x0, x0 == 0),
            (y1 - high[0], y1 == height),
            (x1 - high[1], x1 == width),
        )
        return min(np.inf if at_edge else float(d) for d, at_edge in distances)

    def _embedding(self, region: HalfOpenBox) -> ImageEmbedding:
        """Embed a region when it is first asked for."""
        embedding = self._embeddings.get(region)
        if embedding is None:
            y0, x0, y1, x1 = region
            embedding = self._predictor.embed(self._rgb[y0:y1, x0:x1])
            self._embeddings.put(region, embedding)
        return embedding

    def _is_cut(self, answer: Candidates, region: HalfOpenBox) -> bool:
        """Tell whether the best mask goes on past its region."""
        box = mask_bounding_box(answer.masks[answer.best])
        if box is None:
            return False
        placed = _offset(box, region)
        return is_cut_by_tile(placed, region, self.shape)

    def _placed(self, answer: Candidates, region: HalfOpenBox) -> Candidates:
        """Put the masks of a region into the frame of the image."""
        y0, x0, y1, x1 = region
        masks = np.zeros((len(answer.masks), *self.shape), dtype=np.bool_)
        masks[:, y0:y1, x0:x1] = answer.masks
        return Candidates(masks, answer.predicted_iou, answer.low_res_logits)


def _shift(prompts: npt.ArrayLike | None, region: HalfOpenBox, n_corners: int) -> Any:
    """Move points (n_corners 1) or boxes (2) into the frame of a region."""
    if prompts is None:
        return None
    return np.asarray(prompts, dtype=np.float64) - np.tile(region[:2], n_corners)


def _offset(box: HalfOpenBox, region: HalfOpenBox) -> HalfOpenBox:
    """Move a box from the frame of a region into that of the image."""
    y, x = region[:2]
    return (box[0] + y, box[1] + x, box[2] + y, box[3] + x)
