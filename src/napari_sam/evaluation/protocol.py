# SPDX-License-Identifier: Apache-2.0
"""The one way in which napari-sam measures a model.

Objects of at least 25 pixels count, and IoUs are pooled over the objects of all images.

``point``
    One foreground click at the pixel farthest from the object's boundary; the score is
    the IoU of the mask with the highest predicted IoU of outputs 1..3. The best of the
    three is reported beside it (oracle).
``box``
    The tight box; the score is the IoU of output 0.
``grid``
    ``segment_image`` without any prompt and with the model's default settings;
    ``AP@0.5 = TP / (TP + FP + FN)`` per image, averaged over images. Predictions under
    25 pixels are dropped like true objects.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import ImageError, LabelsError, SettingsError
from napari_sam.evaluation.matching import match_objects
from napari_sam.evaluation.metrics import iou_with_crop
from napari_sam.evaluation.prompts import TrueObject, true_objects
from napari_sam.evaluation.report import ImageScores, Report
from napari_sam.prediction.image_view import ImageView
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.prediction.segmenter import segment_image

if TYPE_CHECKING:
    from napari_sam.modeling.sam import Sam

Mode = Literal["point", "box", "grid"]
MODES: tuple[Mode, ...] = get_args(Mode)
MIN_AREA_PX = 25
IOU_THRESHOLD = 0.5

Example = tuple[str, NDArray[Any], NDArray[np.integer]]
"""Name, image (H, W) or (H, W, C), and label image (H, W)."""

# Bytes of full-size masks that one decoder batch may hold: three bool masks an object,
# and four bytes a pixel while logits are enlarged.
_BATCH_BYTES = 256 * 2**20
_MAX_BATCH = 64


def evaluate_images(
    examples: Iterable[Example],
    model: "Sam",
    *,
    modes: Iterable[str] = MODES,
    min_area: int = MIN_AREA_PX,
    iou_threshold: float = IOU_THRESHOLD,
    settings: Mapping[str, Any] | None = None,
    progress: Callable[[ImageScores], None] | None = None,
) -> Report:
    """Measure a model on labelled images.

    Parameters
    ----------
    examples : iterable of (name, image, labels)
        Taken one at a time, so a generator that reads files keeps memory flat.
    model : Sam
        A loaded model; the caller chose its device.
    modes : iterable of {"point", "box", "grid"}
        What to measure.
    min_area : int
        Objects and predictions with fewer pixels do not count.
    iou_threshold : float
        The ``t`` of AP@t.
    settings : mapping, optional
        Grid settings that replace the model's defaults.
    progress : callable, optional
        Called with the scores of each image as soon as they are known.

    Raises
    ------
    ImageError, LabelsError
        If a label image does not fit its image.
    SettingsError
        If a mode is unknown.
    """
    chosen = checked_modes(modes)
    predictor = SamPredictor(model)
    scores: list[ImageScores] = []
    for name, image, labels in examples:
        _check_pair(name, image, labels)
        started = time.perf_counter()
        objects = list(true_objects(labels, min_area=min_area))
        point = oracle = box = grid = None
        if objects and {"point", "box"} & chosen:
            view = ImageView(predictor, image)
            if "point" in chosen:
                point, oracle = score_points(view, objects)
            if "box" in chosen:
                box = score_boxes(view, objects)
        if "grid" in chosen:
            predicted = segment_image(image, predictor, **dict(settings or {}))
            grid = match_objects(
                labels, predicted, iou_threshold=iou_threshold, min_area=min_area
            )
        seconds = time.perf_counter() - started
        scores.append(
            ImageScores(name, len(objects), point, oracle, box, grid, seconds)
        )
        if progress is not None:
            progress(scores[-1])
    return Report(tuple(scores), min_area, iou_threshold)


def score_points(
    view: ImageView,
    objects: list[TrueObject],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """IoU per object for one click: highest predicted IoU of three, best of three.

    Returns
    -------
    pair of (n,) float arrays
    """
    chosen, best = np.empty(len(objects)), np.empty(len(objects))
    for part in _batches(len(objects), view.shape):
        points = np.array([o.centre_yx for o in objects[part]], dtype=np.float64)
        answers = view.predict_batch(points_yx=points, multimask_output=True)
        for i, (found, answer) in enumerate(
            zip(objects[part], answers, strict=True), start=part.start
        ):
            ious = iou_with_crop(answer.masks, found.crop, found.corner_yx)
            chosen[i] = ious[int(np.argmax(answer.predicted_iou))]
            best[i] = ious.max()
    return chosen, best


def score_boxes(
    view: ImageView,
    objects: list[TrueObject],
) -> NDArray[np.float64]:
    """IoU per object, (n,), of output 0 for the tight box."""
    scores = np.empty(len(objects))
    for part in _batches(len(objects), view.shape):
        boxes = np.array([o.box_yx for o in objects[part]], dtype=np.float64)
        answers = view.predict_batch(boxes_yx=boxes, multimask_output=False)
        for i, (found, answer) in enumerate(
            zip(objects[part], answers, strict=True), start=part.start
        ):
            scores[i] = iou_with_crop(answer.masks, found.crop, found.corner_yx)[0]
    return scores


def _batches(n: int, size: tuple[int, int]) -> list[slice]:
    """Slices of at most so many objects that their masks stay within the limit."""
    per_object = 3 * size[0] * size[1] * 5
    step = min(_MAX_BATCH, max(1, _BATCH_BYTES // max(per_object, 1)))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def checked_modes(modes: Iterable[str]) -> frozenset[Mode]:
    """Return the modes as a set, in any order and number but none unknown.

    Raises
    ------
    SettingsError
        If one is unknown or there is none.
    """
    names = frozenset(modes)
    unknown = sorted(names - frozenset(MODES))
    chosen = frozenset(mode for mode in MODES if mode in names)
    if unknown or not chosen:
        came, allowed = ", ".join(unknown) or "(none)", ", ".join(MODES)
        msg = f"Unknown mode {came}. Allowed: {allowed}."
        raise SettingsError(msg)
    return chosen


def _check_pair(name: str, image: NDArray[Any], labels: NDArray[np.integer]) -> None:
    if image.ndim not in (2, 3):
        msg = (
            f"{name}: an image of {image.ndim} axes cannot be evaluated. Give planes "
            "of shape (H, W) or (H, W, channels)."
        )
        raise ImageError(msg)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        msg = (
            f"{name}: labels must be one (H, W) plane of integers, not "
            f"{labels.dtype} of shape {labels.shape}."
        )
        raise LabelsError(msg)
    if labels.shape != image.shape[:2]:
        msg = (
            f"{name}: labels of shape {labels.shape} do not fit the image of shape "
            f"{image.shape}. They must have the same rows and columns."
        )
        raise LabelsError(msg)
