# SPDX-License-Identifier: Apache-2.0
"""``napari-sam simulate``: how many clicks and seconds annotating images takes."""

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_sam._cli.batch import progress_bar
from napari_sam._cli.inputs import check_writable_file
from napari_sam._cli.labelled_images import (
    AxesOption,
    ImagesArgument,
    LabelsArgument,
    LimitOption,
    NamesOption,
    end_early,
    pick_pairs,
    read_examples,
)
from napari_sam._cli.loading import (
    CheckpointOption,
    DeviceOption,
    ModelOption,
    PrecisionOption,
    describe_model,
    open_model,
)
from napari_sam.errors import NapariSamError
from napari_sam.io.atomic import written_atomically
from napari_sam.io.object_table import write_table

if TYPE_CHECKING:
    from napari_sam.evaluation.annotation_effort import EffortReport, ImageEffort


def simulate(
    images: ImagesArgument,
    labels: LabelsArgument,
    names_from: NamesOption = None,
    limit: LimitOption = None,
    way: Annotated[
        list[str] | None,
        typer.Option(help="hand, semi or proposals; may be repeated; all without."),
    ] = None,
    target_iou: Annotated[
        float, typer.Option(help="A mask of this IoU with the truth is good enough.")
    ] = 0.85,
    usable_iou: Annotated[
        float, typer.Option(help="A mask below this is not worth correcting.")
    ] = 0.5,
    max_clicks: Annotated[int, typer.Option(help="Points for one object.")] = 6,
    min_area: Annotated[
        int, typer.Option(help="Objects with fewer pixels are not annotated.")
    ] = 25,
    aim: Annotated[
        float,
        typer.Option(help="How far clicks miss: standard deviation in pixels."),
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of where clicks land.")] = 0,
    seconds: Annotated[
        tuple[float, float, float, float],
        typer.Option(
            help="A look, a move of the pointer, a click, a key.",
            metavar="LOOK MOVE CLICK KEY",
        ),
    ] = (1.35, 1.10, 0.20, 0.28),
    model: ModelOption = "embedded",
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = None,
    axes: AxesOption = None,
    csv: Annotated[
        Path | None,
        typer.Option(help="Write a row per image and way.", metavar="FILE"),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(help="Write settings, sums and rows.", metavar="FILE"),
    ] = None,
) -> None:
    """Let a simulated person annotate labelled images, and count clicks and seconds.

    hand: each object is prompted and corrected. semi: sure masks are filled in, the
    others proposed. proposals: everything automatic is accepted, then reviewed. Model
    seconds are measured, human seconds follow from the actions; see the documentation.
    """
    pairs = pick_pairs(images, labels, names_from, limit)
    for path in (csv, json):
        if path is not None:
            check_writable_file(path)
    from napari_sam.evaluation.annotation_effort import (
        ActionTimes,
        EffortReport,
        Habits,
    )
    from napari_sam.evaluation.simulated_annotator import annotate_images
    from napari_sam.evaluation.simulated_person import WAYS, checked_ways
    from napari_sam.prediction.model_segmenter import ModelSegmenter

    ways = checked_ways(WAYS if way is None else way)
    habits = Habits(
        target_iou=target_iou,
        usable_iou=usable_iou,
        max_clicks=max_clicks,
        min_area=min_area,
        aim_px=aim,
    )
    times = ActionTimes(*seconds)
    sam = open_model(model, checkpoint, device, precision)
    typer.echo(describe_model(sam))
    found: list[ImageEffort] = []
    stop: BaseException | None = None
    with progress_bar() as bar:
        task = bar.add_task("Images", total=len(pairs))
        examples = read_examples(pairs, axes, bar, task)
        try:
            for efforts in annotate_images(
                examples, ModelSegmenter(sam), ways=ways, habits=habits, seed=seed
            ):
                found += efforts
        except (KeyboardInterrupt, NapariSamError) as error:
            if not found:
                raise
            stop = error
    report = EffortReport(tuple(found), habits, times, seed)
    typer.echo(report.format())
    facts = {"name": sam.name, "digest": sam.digest, "device": str(sam.device)}
    _write(report, csv, json, {"is_complete": stop is None, "model": facts})
    end_early(stop, len(found) // len(ways), len(pairs))


def _write(
    report: "EffortReport",
    csv: Path | None,
    json: Path | None,
    facts: dict[str, object],
) -> None:
    if csv is not None:
        rows = report.rows()
        write_table(csv, rows, rows[0])
    if json is not None:
        with written_atomically(json) as temporary:
            values = facts | report.to_dict()
            text = json_text.dumps(values, indent=1, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")
