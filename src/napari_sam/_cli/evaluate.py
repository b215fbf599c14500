# SPDX-License-Identifier: Apache-2.0
"""``napari-sam evaluate``: how good a model is on labelled images."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_sam._cli.batch import progress_bar
from napari_sam._cli.evaluate_files import EvaluationFiles
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
from napari_sam.errors import NapariSamError, SettingsError
from napari_sam.io.pairs import Pair

if TYPE_CHECKING:
    from napari_sam.evaluation.scores import ImageScores

_KEPT_EVERY_S = 60.0


def evaluate(
    images: ImagesArgument,
    labels: LabelsArgument,
    names_from: NamesOption = None,
    limit: LimitOption = None,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            help="What to measure; may be repeated: point, random-point, box, "
            "jittered-box, refined-box, point-corrections, random-point-corrections, "
            "box-corrections, grid, fast, fastest, proposals. "
            "[default: point, box, and how the model segments everything]"
        ),
    ] = None,
    corrections: Annotated[
        int, typer.Option(min=1, max=100, help="Clicks after the first prompt.")
    ] = 8,
    without_logits: Annotated[
        bool,
        typer.Option(
            "--without-logits",
            help="Measure corrections also without giving earlier logits back.",
        ),
    ] = False,
    model: ModelOption = "embedded",
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = None,
    axes: AxesOption = None,
    min_area: Annotated[
        int, typer.Option(min=0, help="Objects with fewer pixels do not count.")
    ] = 25,
    iou_threshold: Annotated[
        float, typer.Option(min=0, max=1, help="An object is found above this IoU.")
    ] = 0.5,
    seed: Annotated[
        int, typer.Option(min=0, help="Of random prompts and of the bootstrap.")
    ] = 0,
    resample: Annotated[
        str,
        typer.Option(
            help="What the bootstrap draws: images, or objects where images are few."
        ),
    ] = "images",
    index: Annotated[
        Path | None,
        typer.Option(help="CSV file with a row for each image.", metavar="FILE"),
    ] = None,
    group_by: Annotated[
        list[str] | None,
        typer.Option(help="Column of the index to group by; may be repeated."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            help="Earlier --json of another model, to tell the gain.", metavar="FILE"
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write the scores per image.", metavar="FILE")
    ] = None,
    objects_csv: Annotated[
        Path | None, typer.Option(help="Write the scores per object.", metavar="FILE")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write everything measured.", metavar="FILE")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Write a page with plots and the worst cases.", metavar="FILE"
        ),
    ] = None,
) -> None:
    """Measure a model on labelled images.

    Point: one click at each object's innermost pixel; IoU of the mask with the highest
    predicted IoU of three. Box: each object's tight box; IoU of the single mask.
    Corrections: more clicks, in the middle of the larger error. Grid, fast: everything
    segmented without prompts; AP = TP / (TP + FP + FN) per image. IoUs are means over
    all objects, AP over images. Ctrl-C ends early and keeps what is measured.
    """
    pairs = pick_pairs(images, labels, names_from, limit)
    files = EvaluationFiles(csv=csv, objects=objects_csv, json=json, html=html)
    files.check()
    from napari_sam.evaluation.cases import WorstCases
    from napari_sam.evaluation.comparison import (
        check_comparable,
        has_shared_images,
        read_report,
    )
    from napari_sam.evaluation.protocol import measure_images
    from napari_sam.evaluation.report import Report
    from napari_sam.evaluation.settings import (
        DEFAULT_MODES,
        EvaluationSettings,
        checked_modes,
        checked_unit,
        default_modes,
    )

    settings = EvaluationSettings(
        modes=checked_modes(mode or DEFAULT_MODES),
        min_area=min_area,
        iou_threshold=iou_threshold,
        seed=seed,
        corrections=corrections,
        without_logits=without_logits,
        resampled=checked_unit(resample),
    )
    groups = _groups(index, group_by or [], pairs)
    earlier = None if compare is None else read_report(compare)
    names = [pair.name for pair in pairs]
    if mode and earlier is not None:  # refused before a model is loaded
        check_comparable(earlier, settings, names)
    sam = open_model(model, checkpoint, device, precision)
    if not mode:
        settings = replace(settings, modes=default_modes(sam))
        if earlier is not None:
            check_comparable(earlier, settings, names)
    typer.echo(describe_model(sam))
    cases = WorstCases() if html is not None else None

    def keep(some: tuple["ImageScores", ...]) -> None:
        files.write_data(Report.of_model(sam, some, settings, is_complete=False))

    with progress_bar() as bar:
        task = bar.add_task("Images", total=len(pairs))
        examples = read_examples(pairs, axes, bar, task)
        scores = measure_images(examples, sam, settings, groups=groups, cases=cases)
        found, stop = _collect(scores, keep)
    measured = [one.name for one in found]
    if earlier is not None and not has_shared_images(earlier, measured):
        typer.echo("Nothing measured so far is in the earlier report.", err=True)
        earlier = None  # what was measured is written all the same
    final = Report.of_model(
        sam, found, settings, is_complete=stop is None, earlier=earlier
    )
    files.write(final, cases.all() if cases is not None else [])
    typer.echo(final.format())
    end_early(stop, len(found), len(pairs))


def _collect(
    scores: Iterator["ImageScores"],
    keep: Callable[[tuple["ImageScores", ...]], None],
) -> tuple[tuple["ImageScores", ...], BaseException | None]:
    """Take scores until they end, or an error or Ctrl-C ends them.

    What there is is kept now and then, so that a long evaluation survives more than
    Ctrl-C.
    """
    found: list[ImageScores] = []
    kept_at = time.monotonic()
    try:
        for one in scores:
            found.append(one)
            if time.monotonic() - kept_at > _KEPT_EVERY_S:
                keep(tuple(found))
                kept_at = time.monotonic()
    except (KeyboardInterrupt, NapariSamError) as error:
        if not found:
            raise
        return tuple(found), error
    return tuple(found), None


def _groups(
    index: Path | None, columns: list[str], pairs: list[Pair]
) -> dict[str, dict[str, str]]:
    """Read what the images are grouped by."""
    if (index is None) != (not columns):
        msg = "--index FILE and --group-by COLUMN go together. Give both or neither."
        raise SettingsError(msg)
    if index is None:
        return {}
    from napari_sam.evaluation.groups import read_groups

    return read_groups(index, columns, [pair.name for pair in pairs])
