# SPDX-License-Identifier: Apache-2.0
"""Quick scores of a model in training, on images it does not learn from.

Centre points, tight boxes and one correction, as in the project's evaluation, but masks
are compared at the resolution of the mask logits: these figures choose weights;
``napari-sam evaluate`` is what reports.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from napari_sam.errors import LabelsError
from napari_sam.evaluation.prompts import correction_point
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.training.frame_decoder import FrameDecoder
from napari_sam.training.losses import mask_iou
from napari_sam.training.prompt_sampling import centre_point
from napari_sam.training.simulation import MULTI_OUTPUT, Prompts, best_predicted
from napari_sam.training.task import SELECTION, Example, Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    import numpy.typing as npt
    from torch import Tensor

    from napari_sam.modeling.sam import Sam
    from napari_sam.structures.arrays import HalfOpenBox
    from napari_sam.training.feature_cache import EncodedFrame
    from napari_sam.training.frames import Frame, FrameSource

    Objects = list[tuple[int, HalfOpenBox]]

Item = TypeVar("Item")

BATCH = 16
PER_VIEW = 5  # objects at least, so that few images need to be encoded
N_EXAMPLES = 3
PARTS = ("point", "box", "corrected")  # whose mean chooses the weights


class Validation:
    """Scores a model on always the same objects of always the same views.

    Parameters
    ----------
    source : FrameSource
        The images.
    max_objects : int
        Objects scored, over all images together, evenly chosen.

    Raises
    ------
    LabelsError
        If no image has an object that can be scored.
    """

    def __init__(self, source: FrameSource, max_objects: int) -> None:
        self._source = source
        self._views: dict[tuple[int, int], Objects] = {}
        n_images = max(1, max_objects // (PER_VIEW * source.views_per_image))
        for index in _evenly(range(len(source)), n_images):
            for number, objects in _divided(source, index):
                self._views[index, number] = objects
        if not self._views:
            msg = (
                "No validation image has an object of at least "
                f"{source.min_area} pixels that is seen whole. Give images with such "
                "objects, or none at all."
            )
            raise LabelsError(msg)
        quota = max(1, max_objects // len(self._views))
        self._views = {k: _evenly(v, quota) for k, v in self._views.items()}

    def score(
        self,
        model: Sam,
        encode: Callable[[Hashable, Frame], EncodedFrame],
        check: Callable[[], None] = lambda: None,
    ) -> tuple[Metrics, tuple[Example, ...]]:
        """Mean IoU over objects, and a few of them to look at.

        Parameters
        ----------
        model : Sam
            In evaluation mode.
        encode : callable
            Encodes a frame; its first argument is the same for the same frame.
        check : callable
            Called before each view; what it raises ends the work.

        Returns
        -------
        scores : dict
            ``point`` (mask of highest predicted IoU), ``oracle`` (best of three),
            ``box``, ``corrected`` (after a second click), ``objects``, and
            ``selection``, the mean of point, box and corrected.
        examples : tuple of Example
        """
        found: dict[str, list[float]] = defaultdict(list)
        examples: list[Example] = []
        frames: list[Frame] = []
        last = -1
        for (index, number), objects in self._views.items():
            check()
            if index != last:
                frames, last = self._source.views(index), index
            encoded = encode(("validation", index, number), frames[number])
            decode = FrameDecoder(model, encoded.features)
            for start in range(0, len(objects), BATCH):
                part = objects[start : start + BATCH]
                wanted = _wanted(encoded.frame, part)
                prompts = self._prompts(index, encoded.frame, part)
                answers = _answers(decode, prompts, wanted, self._source.stride)
                for key, values in answers.ious.items():
                    found[key].extend(values)
                if start == 0 and len(examples) < N_EXAMPLES:
                    examples.append(_example(encoded.frame, answers, prompts, wanted))
        scores = {key: float(np.mean(values)) for key, values in found.items()}
        scores["objects"] = float(len(found["point"]))
        scores[SELECTION] = float(np.mean([scores[part] for part in PARTS]))
        return scores, tuple(examples)

    def _prompts(self, index: int, frame: Frame, objects: Objects) -> Prompts:
        """Centre points (P, 1, 3) and tight boxes (P, 4) in pixels of the frame."""
        scale_y, scale_x = frame.scale
        points, boxes = [], []
        for label, (y0, x0, y1, x1) in objects:
            mask = self._source.mask(index, label, (y0, x0, y1, x1))
            x, y = centre_point(mask, stride=1)
            top, left = y0 - frame.box[0], x0 - frame.box[1]
            bottom, right = y1 - frame.box[0], x1 - frame.box[1]
            points.append(((x + left) * scale_x, (y + top) * scale_y, 1.0))
            boxes.append(
                (left * scale_x, top * scale_y, right * scale_x, bottom * scale_y)
            )
        return Prompts(
            np.array(points, np.float32)[:, None], np.array(boxes, np.float32)
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """IoUs of P objects by name, and the masks (P, M, M) that one click gave."""

    ious: dict[str, list[float]]
    clicked: npt.NDArray[np.bool_]


def _answers(
    decode: FrameDecoder, prompts: Prompts, wanted: Tensor, stride: float
) -> _Answers:
    wanted = wanted.to(decode.device)
    ious, shown = answer_first(decode, prompts, wanted)
    clicked, should = (shown > 0).cpu().numpy(), (wanted > 0).cpu().numpy()
    second = [
        _largest_error(*pair, stride) for pair in zip(clicked, should, strict=True)
    ]
    corrected = Prompts(points=prompts.points).with_points(
        np.array(second, np.float32)[:, None]
    )
    logits, _ = decode(corrected, shown[:, None])
    ious["corrected"] = mask_iou(logits[:, 0], wanted)
    return _Answers({key: values.tolist() for key, values in ious.items()}, clicked)


def answer_first(
    decode: FrameDecoder, prompts: Prompts, wanted: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Ask about P objects by a box and by a click, each for itself.

    Parameters
    ----------
    decode : FrameDecoder
        Of the frame that shows them.
    prompts : Prompts
        One point (P, 1, 3) and one box (P, 4) for each.
    wanted : (P, M, M) tensor
        The objects, 0 or 1, at the resolution of the mask logits.

    Returns
    -------
    ious : dict of str to (P,) tensor
        ``box``, ``point`` (mask of highest predicted IoU) and ``oracle`` (best of
        three).
    shown : (P, M, M) tensor
        Logits of the mask that the click gives.
    """
    logits, _ = decode(Prompts(boxes=prompts.boxes))
    ious = {"box": mask_iou(logits[:, 0], wanted)}
    logits, iou = decode(Prompts(points=prompts.points))
    logits, iou = logits[:, MULTI_OUTPUT], iou[:, MULTI_OUTPUT]
    shown = best_predicted(logits, iou)
    every = mask_iou(logits, wanted[:, None].expand_as(logits))
    return ious | {"point": mask_iou(shown, wanted), "oracle": every.amax(dim=1)}, shown


def _largest_error(
    predicted: npt.NDArray[np.bool_], wanted: npt.NDArray[np.bool_], stride: float
) -> tuple[float, float, float]:
    """Click as `correction_point` of the evaluation; a perfect mask in its middle."""
    click = correction_point(MaskWindow.of_mask(wanted), MaskWindow.of_mask(predicted))
    if click is None:
        return (*centre_point(wanted, stride), 1.0)
    y, x = click.yx
    half = stride / 2 - 0.5
    return x * stride + half, y * stride + half, float(click.label)


def _wanted(frame: Frame, objects: Objects) -> Tensor:
    return torch.from_numpy(
        np.stack([frame.labels == label for label, _ in objects])
    ).float()


def _example(
    frame: Frame, answers: _Answers, prompts: Prompts, wanted: Tensor
) -> Example:
    middle = len(wanted) // 2
    points = prompts.points
    at = (0.0, 0.0) if points is None else points[middle, 0, 1::-1].tolist()
    return Example(
        frame.name,
        np.clip(frame.rgb, 0, 255).astype(np.uint8),
        wanted[middle].numpy() > 0,
        answers.clicked[middle],
        answers.ious["point"][middle],
        (at[0], at[1]),
    )


def _divided(source: FrameSource, index: int) -> list[tuple[int, Objects]]:
    """Return numbers of views and their objects; one that several show counts once.

    It belongs to the last of them, which is the one that enlarges.
    """
    found: list[tuple[int, Objects]] = []
    taken: set[int] = set()
    for number, frame in reversed(list(enumerate(source.views(index)))):
        objects = [o for o in source.objects(index, frame) if o[0] not in taken]
        taken.update(label for label, _ in objects)
        if objects:
            found.append((number, objects))
    return found[::-1]


def _evenly(items: Sequence[Item], most: int) -> list[Item]:
    """Choose at most so many, evenly spaced, the first among them."""
    n = min(most, len(items))
    return [items[i * len(items) // n] for i in range(n)]
