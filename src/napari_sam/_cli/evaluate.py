# SPDX-License-Identifier: Apache-2.0
"""``napari-sam evaluate``: how good a model is on labelled images."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.progress import Progress, TaskID

from napari_sam._cli.batch import progress_bar
from napari_sam._cli.inputs import check_writable_file
from napari_sam._cli.loading import (
    CheckpointOption,
    DeviceOption,
    ModelOption,
    PrecisionOption,
    describe_model,
    open_model,
)
from napari_sam.io.atomic import written_atomically
from napari_sam.io.object_table import write_table
from napari_sam.io.pairs import Pair, find_pairs, read_names, read_pair

if TYPE_CHECKING:
    from napari_sam.evaluation.protocol import Example


def evaluate(
    images: Annotated[
        Path, typer.Argument(help="Folder of images, or one image.", metavar="IMAGES")
    ],
    labels: Annotated[
        Path,
        typer.Argument(
            help="Folder of label images with the same names, or one.", metavar="LABELS"
        ),
    ],
    names_from: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[:KEY/KEY]",
            help="Only the images named in a text file (one a line) or a JSON list.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many images, evenly picked.")
    ] = None,
    mode: Annotated[
        list[str] | None,
        typer.Option(help="point, box or grid; may be repeated; all without."),
    ] = None,
    model: ModelOption = "embedded",
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = None,
    axes: Annotated[
        str | None, typer.Option(help="Axes of the images, such as ZYX.")
    ] = None,
    min_area: Annotated[
        int, typer.Option(min=0, help="Objects with fewer pixels do not count.")
    ] = 25,
    iou_threshold: Annotated[
        float, typer.Option(min=0, max=1, help="An object is found above this IoU.")
    ] = 0.5,
    csv: Annotated[
        Path | None, typer.Option(help="Write the scores per image.", metavar="FILE")
    ] = None,
    json_: Annotated[
        Path | None,
        typer.Option("--json", help="Write the scores of the set.", metavar="FILE"),
    ] = None,
) -> None:
    """Measure a model on labelled images.

    Point: one click at each object's innermost pixel; IoU of the mask with the highest
    predicted IoU of three. Box: each object's tight box; IoU of the single mask. Grid:
    everything segmented without prompts; AP = TP / (TP + FP + FN) per image. IoUs are
    means over all objects, AP over images.
    """
    pairs = find_pairs(images, labels, read_names(names_from) if names_from else None)
    if limit is not None and limit < len(pairs):
        picked = np.linspace(0, len(pairs) - 1, limit).round().astype(int)
        pairs = [pairs[i] for i in picked]
    for path in (csv, json_):
        if path is not None:
            check_writable_file(path)
    from napari_sam.evaluation.protocol import checked_modes, evaluate_images

    modes = checked_modes(mode or ("point", "box", "grid"))
    sam = open_model(model, checkpoint, device, precision)
    typer.echo(describe_model(sam))
    with progress_bar() as bar:
        task = bar.add_task("Images", total=len(pairs))

        report = evaluate_images(
            _examples(pairs, axes, bar, task),
            sam,
            modes=modes,
            min_area=min_area,
            iou_threshold=iou_threshold,
        )
    typer.echo(report.format())
    if csv is not None:
        rows = report.rows()
        write_table(csv, rows, rows[0])
    if json_ is not None:
        facts = {"model": sam.name, "digest": sam.digest, "device": str(sam.device)}
        with written_atomically(json_) as temporary:
            text = json.dumps(facts | report.to_dict(), indent=1)
            temporary.write_text(text + "\n", encoding="utf-8")


def _examples(
    pairs: list[Pair], axes: str | None, bar: Progress, task: TaskID
) -> Iterator["Example"]:
    """Read one pair after the other; microscope channels become colours."""
    from napari_sam.prediction.intensity import to_rgb

    for pair in pairs:
        bar.update(task, description=pair.name)
        for name, plane, truth in read_pair(pair, axes=axes):
            is_colour = plane.ndim == 2 or plane.shape[-1] == 3
            yield name, plane if is_colour else to_rgb(plane, channel_axis=2), truth
        bar.advance(task)
