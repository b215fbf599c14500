# SPDX-License-Identifier: Apache-2.0
"""Quick scores of a model in training, on whole images of the development part.

Masks are compared at the resolution of the mask logits, so these figures choose
weights; ``napari-sam evaluate`` is the one that reports.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_sam.evaluation.prompts import TrueObject, true_objects
from napari_sam.prediction.intensity import to_rgb
from napari_sam.prediction.transforms import (
    FrameTransform,
    resize_rgb,
    resized_shape,
    to_model_input,
)
from napari_sam.training.crops import MASK_STRIDE, sample_labels
from napari_sam.training.frame_decoder import FrameDecoder
from napari_sam.training.simulation import Prompts
from napari_sam.training.validation import answer_first

if TYPE_CHECKING:
    from napari_sam.modeling.sam import Sam
    from napari_sam.training.dataset import LabelledImage

MIN_AREA_PX = 25
BATCH = 16


def dev_scores(
    model: Sam, images: list[LabelledImage], max_objects: int = 25
) -> dict[str, float]:
    """Mean IoU of centre points and tight boxes, by kind of image.

    ``selection`` is the mean over kinds and both prompts.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    for image in images:
        for key, values in _image_scores(model, image, max_objects).items():
            scores[f"{image.kind}_{key}"].extend(values)
    means = {key: float(np.mean(values)) for key, values in sorted(scores.items())}
    plain = [v for k, v in means.items() if k.endswith(("_point", "_box"))]
    return {**means, "selection": float(np.mean(plain))}


def _image_scores(
    model: Sam, image: LabelledImage, max_objects: int
) -> dict[str, list[float]]:
    shape = image.labels.shape
    frame = model.image_size
    inside = resized_shape((shape[0], shape[1]), frame)
    rgb = to_model_input(resize_rgb(to_rgb(image.pixels), inside), model.device)
    decode = FrameDecoder(model, model.encode_image(model.preprocess(rgb)))
    transform = FrameTransform((shape[0], shape[1]), inside, frame, model.exact_clicks)
    scale = frame / max(shape) / MASK_STRIDE
    labels = sample_labels(image.labels, 0, 0, scale, frame)
    kept = list(true_objects(image.labels, min_area=MIN_AREA_PX))
    kept = kept[:: max(1, len(kept) // max_objects)][:max_objects]
    found: dict[str, list[float]] = {"point": [], "oracle": [], "box": []}
    for start in range(0, len(kept), BATCH):
        batch = kept[start : start + BATCH]
        masks = np.stack([labels == one.label for one in batch])
        wanted = torch.from_numpy(masks).float().to(model.device)
        ious, _ = answer_first(decode, _prompts(batch, transform), wanted)
        for key, values in ious.items():
            found[key].extend(values.tolist())
    return found


def _prompts(objects: list[TrueObject], transform: FrameTransform) -> Prompts:
    """Centre points and tight boxes in pixels of the frame."""
    points = transform.points_to_frame([[one.centre_yx] for one in objects])
    boxes = transform.boxes_to_frame([one.box_yx for one in objects])
    labelled = np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)
    return Prompts(labelled.astype(np.float32), boxes.astype(np.float32))
