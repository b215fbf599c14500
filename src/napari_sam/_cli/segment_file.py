# SPDX-License-Identifier: Apache-2.0
"""From one image file to its label image and table of objects."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_sam._cli.inputs import Work
from napari_sam.errors import ImageError, OutputError
from napari_sam.io.image_file import ImageFile
from napari_sam.io.labels_tiff import MAX_PLANE_AXES, write_labels
from napari_sam.io.object_table import measure_objects, object_columns, write_table
from napari_sam.io.open_image import open_image
from napari_sam.structures.prompts import PromptSet

if TYPE_CHECKING:
    from napari_sam.modeling.sam import Sam
    from napari_sam.prediction.intensity import IntensityRule
    from napari_sam.prediction.predictor import SamPredictor
    from napari_sam.structures.candidates import Candidates

Progress = Callable[[int, int], None]


class PlaneResult(NamedTuple):
    """Labels (H, W) of one plane and the predicted IoU of each label."""

    labels: NDArray[np.uint32]
    scores: dict[int, float]


PlaneSegmenter = Callable[[NDArray[np.uint8], Progress], PlaneResult]


class StackStopped(KeyboardInterrupt):
    """Ctrl-C inside a stack; the text says what was kept of it."""


@dataclass(slots=True)
class FileResult:
    """What became of one file."""

    n_objects: int = 0
    notices: list[str] = field(default_factory=list)
    labels: Path | None = None


def by_grid(model: "Sam | SamPredictor", settings: dict[str, Any]) -> PlaneSegmenter:
    """Segment everything on a plane."""
    from napari_sam.prediction.segmenter import segment_image

    def segment(shown: NDArray[np.uint8], progress: Progress) -> PlaneResult:
        labels, records = segment_image(
            shown, model, progress=progress, return_records=True, **settings
        )
        scores = {i: record.predicted_iou for i, record in enumerate(records, start=1)}
        return PlaneResult(labels, scores)

    return segment


def by_prompts(model: "Sam", objects: Sequence[PromptSet]) -> PlaneSegmenter:
    """Segment the objects that prompts describe, in their order."""
    from napari_sam.prediction.image_view import ImageView
    from napari_sam.prediction.predictor import SamPredictor

    predictor = SamPredictor(model)

    def segment(shown: NDArray[np.uint8], progress: Progress) -> PlaneResult:
        view = ImageView(predictor, shown)

        def answers() -> Iterator["Candidates"]:
            for done, prompts in enumerate(objects):
                progress(done, len(objects))
                yield view.predict(
                    points_yx=prompts.points_yx,
                    point_labels=prompts.point_labels,
                    box_yx=prompts.box_yx,
                )

        return paint_best(answers(), (shown.shape[0], shown.shape[1]))

    return segment


def paint_best(answers: Iterable["Candidates"], shape: tuple[int, int]) -> PlaneResult:
    """Paint the best mask of each answer; the i-th gets label i + 1.

    Where two overlap, the one with the higher predicted IoU keeps the pixels.
    """
    labels = np.zeros(shape, np.uint32)
    claims = np.full(shape, -np.inf, np.float32)
    scores: dict[int, float] = {}
    for label, answer in enumerate(answers, start=1):
        score = float(answer.predicted_iou[answer.best])
        won = answer.masks[answer.best] & (score > claims)
        labels[won] = label
        claims[won] = score
        scores[label] = score
    return PlaneResult(labels, scores)


def segment_file(
    work: Work,
    segment: PlaneSegmenter,
    *,
    axes: str | None,
    rule: "IntensityRule | None",
    progress: Callable[[float], None],
) -> FileResult:
    """Read, segment plane by plane, measure and write.

    Objects are numbered through the whole file: equal numbers in different planes would
    pass for one object in three dimensions.

    Parameters
    ----------
    work : Work
        Where to read and write.
    segment : callable
        What makes the labels of a plane.
    axes : str or None
        Meaning of the file's axes where the user states it.
    rule : IntensityRule or None
        How intensities are shown to the model.
    progress : callable
        Called with the part of the file that is done, 0 to 1.

    Raises
    ------
    ImageError, PromptError
        If the file is no image, or has too many axes; if a prompt is not on it.
    OutputError
        If a result cannot be written.
    StackStopped
        After Ctrl-C, if planes were finished; they are kept under a name that says so.
    """
    image = open_image(work.source, axes=axes)
    check_axes(image)
    result = FileResult(notices=list(image.notices), labels=work.labels)
    labels = np.zeros((*image.stack_shape, *image.plane_shape), np.uint32)
    rows: list[dict[str, Any]] = []
    number = 0
    try:
        for number, (index, plane) in enumerate(image.planes()):

            def show(done: int, total: int, start: int = number) -> None:
                progress((start + done / max(total, 1)) / image.n_planes)

            found = _segment_plane(image, index, plane, segment, rule, show, result)
            new_rows = _rows(image, index, plane, found, result.n_objects)
            labels[index] = np.where(found.labels, found.labels + result.n_objects, 0)
            rows += new_rows
            result.n_objects += max(found.scores, default=0)
            progress((number + 1) / image.n_planes)
    except KeyboardInterrupt:
        if number == 0:
            raise
        raise StackStopped(_keep_planes(work, image, labels, rows, number)) from None
    result.n_objects = len(rows)
    _write(work, image, labels, rows)
    if not rows and len(result.notices) == len(image.notices):
        result.notices.append(f"{work.source.name}: no objects were found.")
    return result


def check_axes(image: ImageFile) -> None:
    """Refuse, before any work, what labels cannot be stored for.

    Raises
    ------
    ImageError
        If the image has too many axes.
    """
    if len(image.plane_axes) > MAX_PLANE_AXES:
        msg = (
            f"{image.path}: {image.axes} are more than {MAX_PLANE_AXES} axes beside "
            "rows, columns and channels, which labels cannot be stored with. Split "
            "the file."
        )
        raise ImageError(msg)


def _write(
    work: Work,
    image: ImageFile,
    labels: NDArray[np.uint32],
    rows: list[dict[str, Any]],
) -> None:
    """Write both results of a file."""
    write_labels(
        work.labels,
        labels,
        axes=f"{image.plane_axes}YX",
        pixel_size_um=image.pixel_size_um,
        z_step_um=image.z_step_um,
    )
    write_table(work.table, rows, table_columns(image))


def _keep_planes(
    work: Work,
    image: ImageFile,
    labels: NDArray[np.uint32],
    rows: list[dict[str, Any]],
    n_done: int,
) -> str:
    """Write the planes that were finished before Ctrl-C; say where they are."""
    # The next plane may have been in the middle of being noted down.
    labels[np.unravel_index(n_done, image.stack_shape)] = 0
    known = set(np.unique(labels).tolist())
    rows = [row for row in rows if row["label"] in known]
    kept = f"{n_done} of {image.n_planes} planes of {work.source.name} were finished"
    try:
        _write(work.partial, image, labels, rows)
    except OutputError as error:
        return f"{kept}, but are lost: {error}"
    return (
        f"{kept} and are in {work.partial.labels} and {work.partial.table.name}; the "
        "labels of the other planes are 0."
    )


def blank_notice(image: ImageFile, index: tuple[int, ...]) -> str:
    """Say that a plane shows nothing."""
    where = ", ".join(f"{a}={i}" for a, i in zip(image.plane_axes, index, strict=True))
    return (
        f"{image.path.name}{': ' if where else ''}{where}: the image shows one value "
        "everywhere or none, so there are no objects."
    )


def _segment_plane(
    image: ImageFile,
    index: tuple[int, ...],
    plane: NDArray[Any],
    segment: PlaneSegmenter,
    rule: "IntensityRule | None",
    progress: Progress,
    result: FileResult,
) -> PlaneResult:
    """Show a plane to the model, unless there is nothing to see."""
    from napari_sam.prediction.intensity import is_blank, to_rgb

    shown = to_rgb(plane, 2 if image.axes.endswith("C") else None, rule)
    if is_blank(plane) or is_blank(shown):
        result.notices.append(blank_notice(image, index))
        return PlaneResult(np.zeros(image.plane_shape, np.uint32), {})
    return segment(shown, progress)


def _rows(
    image: ImageFile,
    index: tuple[int, ...],
    plane: NDArray[Any],
    found: PlaneResult,
    offset: int,
) -> list[dict[str, Any]]:
    where = dict(zip(image.plane_axes.lower(), index, strict=True))
    rows = []
    for row in measure_objects(found.labels, plane, pixel_size_um=image.pixel_size_um):
        label = int(row["label"] or 0)
        score = found.scores.get(label)
        numbers = {
            "label": label + offset,
            "predicted_iou": None if score is None else round(score, 4),
        }
        rows.append({**where, **row, **numbers})
    return rows


def table_columns(image: ImageFile) -> list[str]:
    """Columns of a file's table: label, plane, measurements, predicted IoU."""
    label, *others = object_columns(image.n_channels)
    return [label, *image.plane_axes.lower(), *others, "predicted_iou"]
