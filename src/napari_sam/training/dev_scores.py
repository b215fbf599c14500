# SPDX-License-Identifier: Apache-2.0
"""Quick scores of a model in training, on whole images of the development part.

Masks are compared at the resolution of the mask logits, so these figures choose
weights; ``napari-sam evaluate`` is the one that reports.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from napari_sam.training.losses import mask_iou
from napari_sam.training.prompt_sampling import centre_point

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
    height, width = image.labels.shape
    scale = model.image_size / max(height, width)
    out_h, out_w = round(height * scale), round(width * scale)
    rgb = Image.fromarray(_to_rgb(image.pixels)).resize(
        (out_w, out_h), Image.Resampling.BILINEAR
    )
    tensor = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].float()
    features = model.encode_image(model.preprocess(tensor.to(model.device)))

    side = 4 * model.grid_size
    labels = np.zeros((side, side), np.int32)
    rows = np.floor((np.arange(side) + 0.5) * model.image_size / side / scale)
    inside_y, inside_x = rows < height, rows < width
    labels[np.ix_(inside_y, inside_x)] = image.labels[
        np.ix_(rows[inside_y].astype(int), rows[inside_x].astype(int))
    ]
    counts = np.bincount(image.labels.ravel())
    kept = [i for i in range(1, len(counts)) if counts[i] >= MIN_AREA_PX]
    kept = kept[:: max(1, len(kept) // max_objects)][:max_objects]
    found: dict[str, list[float]] = {"point": [], "oracle": [], "box": []}
    for start in range(0, len(kept), BATCH):
        batch = kept[start : start + BATCH]
        wanted = torch.from_numpy(np.stack([labels == i for i in batch])).float()
        points, boxes = _prompts(image.labels, batch, scale)
        found["box"] += _decode(model, features, None, boxes, wanted)[0]
        best, oracle = _decode(model, features, points, None, wanted)
        found["point"] += best
        found["oracle"] += oracle
    return found


def _to_rgb(pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Grey images stretched between their 0.1 and 99.9 percentiles, colour as it is."""
    if pixels.ndim == 3 and pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    grey = pixels.astype(np.float32)
    low, high = np.percentile(grey, (0.1, 99.9))
    unit = np.clip((grey - low) / max(high - low, 1e-6), 0, 1)
    byte = np.rint(unit * 255).astype(np.uint8)
    return np.repeat(byte[..., None], 3, axis=2) if byte.ndim == 2 else byte


def _prompts(
    labels: npt.NDArray[np.integer], batch: list[int], scale: float
) -> tuple[Tensor, Tensor]:
    points, boxes = [], []
    for label in batch:
        rows, columns = np.nonzero(labels == label)
        top, left = rows.min(), columns.min()
        part = labels[top : rows.max() + 1, left : columns.max() + 1] == label
        x, y = centre_point(part, stride=1)
        points.append(((x + left) * scale, (y + top) * scale))
        boxes.append((left, top, columns.max() + 1, rows.max() + 1))
    return (
        torch.tensor(points, dtype=torch.float32)[:, None],
        torch.tensor(np.array(boxes) * scale, dtype=torch.float32),
    )


def _decode(
    model: Sam,
    features: object,
    points: Tensor | None,
    boxes: Tensor | None,
    wanted: Tensor,
) -> tuple[list[float], list[float]]:
    """IoU of the mask the model would show, and of the best it offers."""
    labelled = None
    if points is not None:
        labelled = (
            points.to(model.device),
            torch.ones(len(points), 1).to(model.device),
        )
    sparse, dense = model.encode_prompts(
        labelled, None if boxes is None else boxes.to(model.device), None
    )
    logits, iou = model.decode(features, sparse, dense)  # type: ignore[arg-type]
    real = mask_iou(logits, wanted[:, None].to(logits.device).expand_as(logits))
    if points is None:
        return real[:, 0].tolist(), real[:, 0].tolist()
    chosen = 1 + iou[:, 1:].argmax(dim=1)
    rows = torch.arange(len(chosen), device=logits.device)
    return real[rows, chosen].tolist(), real[:, 1:].amax(dim=1).tolist()
