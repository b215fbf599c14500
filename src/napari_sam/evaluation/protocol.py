# SPDX-License-Identifier: Apache-2.0
"""The one way in which napari-sam measures a model.

Objects of at least 25 pixels count, and IoUs are pooled over the objects of all images.
Modes:

``point``
    One foreground click at the pixel farthest from the object's boundary; the score is
    the IoU of the mask with the highest predicted IoU of outputs 1..3. The best of the
    three is reported beside it (oracle). ``random-point``: any pixel of the object.
``box``
    The tight box; the score is the IoU of output 0. ``jittered-box``: sides moved by
    noise. ``refined-box``: asked again with the surest logits of the first answer.
``point-corrections``, ``random-point-corrections``, ``box-corrections``
    After that prompt, clicks in the middle of the larger error.
``grid``, ``fast``, ``fastest``
    `segment_image` by this method, without any prompt and with the model's defaults.
``proposals``
    Average recall of 1000 masks.

Every image is encoded once for all of them. Kirillov et al. 2023, section 7.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import ImageError, LabelsError
from napari_sam.evaluation.asking import AskedImage
from napari_sam.evaluation.average_recall import proposed_masks, recalled
from napari_sam.evaluation.cases import WorstCases, image_case, object_case
from napari_sam.evaluation.clicking import (
    First,
    Start,
    ask_first,
    correct,
    first_prompts,
    refined,
)
from napari_sam.evaluation.groups import group_of
from napari_sam.evaluation.instances import InstanceScores, score_instances
from napari_sam.evaluation.prompts import TrueObject, true_objects
from napari_sam.evaluation.report import Report
from napari_sam.evaluation.scores import ImageScores, ObjectFacts
from napari_sam.evaluation.settings import (
    IOU_THRESHOLD,
    MIN_AREA_PX,
    EvaluationSettings,
    Mode,
)
from napari_sam.prediction.intensity import to_rgb
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.prediction.segmenter import segment_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from napari_sam.evaluation.clicking import Asked, Ious
    from napari_sam.modeling.sam import Sam
    from napari_sam.structures.arrays import RgbPlane

__all__ = [
    "IOU_THRESHOLD",
    "MIN_AREA_PX",
    "Example",
    "check_pair",
    "evaluate_images",
    "measure_images",
]

Example = tuple[str, NDArray[Any], NDArray[np.integer]]
"""Name, image (H, W) or (H, W, C), and label image (H, W)."""

# Objects asked about together: their logits take a few hundred kilobytes each, and what
# the model remembers of a large image's regions must not be forgotten between clicks.
_AT_ONCE = 64

_STARTS: dict[Start, tuple[Mode, ...]] = {
    "point": ("point", "point-corrections"),
    "random-point": ("random-point", "random-point-corrections"),
    "box": ("box", "refined-box", "box-corrections"),
    "jittered-box": ("jittered-box",),
}
"""First prompts and the modes that begin with them."""


def evaluate_images(
    examples: Iterable[Example],
    model: Sam,
    settings: EvaluationSettings | None = None,
    *,
    groups: Mapping[str, Mapping[str, str]] | None = None,
    cases: WorstCases | None = None,
    progress: Callable[[ImageScores], None] | None = None,
) -> Report:
    """Measure a model on labelled images.

    Parameters
    ----------
    examples : iterable of (name, image, labels)
        Taken one at a time, so a generator that reads files keeps memory flat.
    model : Sam
        A loaded model; the caller chose its device.
    settings : EvaluationSettings, optional
        What to measure.
    groups : mapping, optional
        Columns and values by name of image; see `read_groups`.
    cases : WorstCases, optional
        Takes the worst answers with their pixels.
    progress : callable, optional
        Called with the scores of each image as soon as they are known.

    Raises
    ------
    ImageError, LabelsError
        If a label image does not fit its image.
    SettingsError
        If the model has no such automatic method.
    """
    chosen = settings or EvaluationSettings()
    found = []
    for scores in measure_images(examples, model, chosen, groups=groups, cases=cases):
        found.append(scores)
        if progress is not None:
            progress(scores)
    return Report.of_model(model, tuple(found), chosen)


def measure_images(
    examples: Iterable[Example],
    model: Sam,
    settings: EvaluationSettings,
    *,
    groups: Mapping[str, Mapping[str, str]] | None = None,
    cases: WorstCases | None = None,
) -> Iterator[ImageScores]:
    """Yield the scores of one image after the other; arguments as `evaluate_images`."""
    predictor = SamPredictor(model)
    for name, image, labels in examples:
        check_pair(name, image, labels)
        started = time.perf_counter()
        measurement = _Measurement(name, image, labels, predictor, settings, cases)
        ious = measurement.prompts()
        instances = {
            method: measurement.automatic(method) for method in settings.methods
        }
        recall = None
        if "proposals" in settings.modes:
            recall = recalled(measurement.objects, proposed_masks(predictor, image))
        yield ImageScores(
            name=name,
            shape=(labels.shape[0], labels.shape[1]),
            objects=tuple(map(ObjectFacts.of, measurement.objects)),
            groups=group_of(name, groups or {}),
            ious=ious,
            instances=instances,
            recall=recall,
            seconds=time.perf_counter() - started,
        )


class _Measurement:
    """What is done with one image."""

    def __init__(
        self,
        name: str,
        image: NDArray[Any],
        labels: NDArray[np.integer],
        predictor: SamPredictor,
        settings: EvaluationSettings,
        cases: WorstCases | None,
    ) -> None:
        self.objects = list(true_objects(labels, min_area=settings.min_area))
        self._name = name
        self._image = image
        self._labels = labels
        self._predictor = predictor
        self._settings = settings
        self._cases = cases
        self._shown: RgbPlane | None = None

    def prompts(self) -> dict[str, Ious]:
        """Return IoUs of every object by name of score; nothing without objects."""
        wanted = set(self._settings.modes)
        starts = [start for start, modes in _STARTS.items() if wanted & set(modes)]
        if not starts or not self.objects:
            return {}
        view = AskedImage(self._predictor, self._image)
        parts: dict[str, list[Ious]] = {}
        for begin in range(0, len(self.objects), _AT_ONCE):
            some = self.objects[begin : begin + _AT_ONCE]
            for start in starts:
                for key, values in self._from(start, view, some).items():
                    parts.setdefault(key, []).append(values)
        return {key: np.concatenate(values) for key, values in parts.items()}

    def automatic(self, method: str) -> InstanceScores:
        """Segment everything and compare."""
        chosen: dict[str, Any] = {"method": method, **self._settings.automatic}
        found = segment_image(self._image, self._predictor, **chosen)
        scores = score_instances(self._labels, found, self._settings)
        score = scores.ap.value
        if self._cases is not None and self._cases.wants(method, score):
            self._cases.add(
                image_case(
                    method,
                    self._name,
                    self._rgb(),
                    self._labels,
                    found,
                    score,
                    self._settings.min_area,
                )
            )
        return scores

    def _from(
        self, start: Start, view: Asked, objects: list[TrueObject]
    ) -> dict[str, Ious]:
        """Measure everything that begins with one kind of prompt."""
        settings, modes = self._settings, self._settings.modes
        prompts = first_prompts(start, self._name, objects, view.shape, settings)
        needs_refining = start == "box" and "refined-box" in modes
        first = ask_first(view, objects, prompts, all_outputs=needs_refining)
        self._note_cases(start, objects, first)
        key = start.replace("-", "_")
        found = {f"{key}_iou": np.array([one.iou for one in first])}
        if "point" in start:
            found[f"{key}_oracle_iou"] = np.array([one.oracle for one in first])
        if needs_refining:
            found["refined_box_iou"] = refined(view, objects, first)
        if f"{start}-corrections" in modes:
            n = settings.corrections
            found[f"after_{key}"] = correct(view, objects, first, n, with_logits=True)
            if settings.without_logits:
                found[f"after_{key}_without_logits"] = correct(
                    view, objects, first, n, with_logits=False
                )
        return found

    def _note_cases(
        self, start: Start, objects: list[TrueObject], first: list[First]
    ) -> None:
        cases = self._cases
        if cases is None or start not in ("point", "box"):
            return
        for found, one in zip(objects, first, strict=True):
            if cases.wants(start, one.iou):
                rgb = self._rgb()
                cases.add(
                    object_case(
                        start, self._name, rgb, found, one.mask, one.prompts, one.iou
                    )
                )

    def _rgb(self) -> RgbPlane:
        """Return the image as it is shown, made when the first case needs it."""
        if self._shown is None:
            self._shown = to_rgb(self._image)
        return self._shown


def check_pair(name: str, image: NDArray[Any], labels: NDArray[np.integer]) -> None:
    """Refuse an image and labels that do not fit together.

    Raises
    ------
    ImageError, LabelsError
        If one is no plane, or they differ in rows or columns.
    """
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
