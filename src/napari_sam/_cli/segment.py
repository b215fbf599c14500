# SPDX-License-Identifier: Apache-2.0
"""``napari-sam segment``: image files to label files and tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sam._cli.batch import run_batch
from napari_sam._cli.inputs import (
    Existing,
    check_writable,
    find_inputs,
    plan_outputs,
)
from napari_sam._cli.loading import (
    CheckpointOption,
    DeviceOption,
    ModelOption,
    PrecisionOption,
    describe_model,
    open_model,
)
from napari_sam._cli.parsing import (
    parse_box,
    parse_point,
    parse_range,
    parse_tile,
    prompts_per_object,
)
from napari_sam._cli.segment_file import by_prompts
from napari_sam.errors import PromptError, SettingsError
from napari_sam.structures.prompts import PromptSet
from napari_sam.structures.settings import AutoSettings, LabelSettings

if TYPE_CHECKING:
    from napari_sam.prediction.intensity import IntensityRule

_PROMPTS, _IMAGE, _GRID = "Prompts", "Image", "Everything (without prompts)"


def segment(
    inputs: Annotated[
        list[Path], typer.Argument(help="Image files or folders.", metavar="INPUT")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the results.", metavar="OUT")
    ],
    model: ModelOption = "embedded",
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = None,
    existing: Annotated[
        Existing, typer.Option(help="What to do where a result is there already.")
    ] = Existing.ERROR,
    point: Annotated[
        list[str] | None,
        typer.Option(
            "--point",
            "-p",
            metavar="Y,X[,0|1]",
            help="A point on the object (1) or beside it (0); may be repeated.",
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            "--box",
            "-b",
            metavar="Y0,X0,Y1,X1",
            help="Two opposite corners; each box is one object; may be repeated.",
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    each_point: Annotated[
        bool,
        typer.Option(
            "--each-point",
            help="Every point with 1 is an object of its own.",
            rich_help_panel=_PROMPTS,
        ),
    ] = False,
    axes: Annotated[
        str | None,
        typer.Option(
            help="Axes of the files, one letter each, such as TZCYX: Y, X, C channels, "
            "S red-green-blue, any other for planes.",
            rich_help_panel=_IMAGE,
        ),
    ] = None,
    channel: Annotated[
        list[int] | None,
        typer.Option(
            help="Channel to look at, from 0; up to three.", rich_help_panel=_IMAGE
        ),
    ] = None,
    limits: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="Intensities shown as black and white; else percentiles.",
            rich_help_panel=_IMAGE,
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="grid|fast|fastest",
            help="How objects are found: every point of a grid, prompts that follow "
            "from the image, or object maps alone.",
            rich_help_panel=_GRID,
        ),
    ] = None,
    points_per_side: Annotated[
        int | None, typer.Option(help="Points per side.", rich_help_panel=_GRID)
    ] = None,
    points_per_batch: Annotated[
        int | None, typer.Option(help="Points at a time.", rich_help_panel=_GRID)
    ] = None,
    pred_iou_thresh: Annotated[
        float | None,
        typer.Option(help="Smallest predicted IoU.", rich_help_panel=_GRID),
    ] = None,
    stability_score_thresh: Annotated[
        float | None,
        typer.Option(help="Smallest stability score.", rich_help_panel=_GRID),
    ] = None,
    stability_score_offset: Annotated[
        float | None,
        typer.Option(help="Shift for the stability score.", rich_help_panel=_GRID),
    ] = None,
    box_nms_thresh: Annotated[
        float | None,
        typer.Option(help="Boxes overlapping more are one.", rich_help_panel=_GRID),
    ] = None,
    crop_n_layers: Annotated[
        int | None,
        typer.Option(help="Layers of crops, for small objects.", rich_help_panel=_GRID),
    ] = None,
    crop_nms_thresh: Annotated[
        float | None,
        typer.Option(help="As above, between crops.", rich_help_panel=_GRID),
    ] = None,
    crop_overlap_ratio: Annotated[
        float | None, typer.Option(help="Overlap of crops.", rich_help_panel=_GRID)
    ] = None,
    crop_n_points_downscale_factor: Annotated[
        int | None,
        typer.Option(help="Fewer points per crop layer.", rich_help_panel=_GRID),
    ] = None,
    min_mask_region_area: Annotated[
        int | None,
        typer.Option(help="Mend regions below (px).", rich_help_panel=_GRID),
    ] = None,
    min_area: Annotated[
        int | None,
        typer.Option(help="Drop objects below (px).", rich_help_panel=_GRID),
    ] = None,
    tile: Annotated[
        str | None,
        typer.Option(
            metavar="auto|none|PX",
            help="Side of the tiles of large images.",
            rich_help_panel=_GRID,
        ),
    ] = None,
    tile_overlap: Annotated[
        float | None, typer.Option(help="Part of a tile.", rich_help_panel=_GRID)
    ] = None,
    skip_empty: Annotated[
        bool,
        typer.Option(
            "--skip-empty",
            help="Leave out tiles that show almost no contrast.",
            rich_help_panel=_GRID,
        ),
    ] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Work on the machines of a dask.distributed cluster; with --device "
            "auto each worker takes the best device of its machine.",
            rich_help_panel=_GRID,
        ),
    ] = None,
) -> None:
    """Segment images into label TIFFs and tables of objects.

    With points or boxes the objects they describe are segmented, on every plane of
    every input; without, everything that the model finds. Each INPUT gives
    OUT/NAME_labels.tif and OUT/NAME_objects.csv. Large images are searched in tiles; if
    that is interrupted, the same command goes on.
    """
    grid: dict[str, Any] = {
        "method": method,
        "points_per_side": points_per_side,
        "points_per_batch": points_per_batch,
        "pred_iou_thresh": pred_iou_thresh,
        "stability_score_thresh": stability_score_thresh,
        "stability_score_offset": stability_score_offset,
        "box_nms_thresh": box_nms_thresh,
        "crop_n_layers": crop_n_layers,
        "crop_nms_thresh": crop_nms_thresh,
        "crop_overlap_ratio": crop_overlap_ratio,
        "crop_n_points_downscale_factor": crop_n_points_downscale_factor,
        "min_mask_region_area": min_mask_region_area,
        "min_area": min_area,
        "tile_overlap": tile_overlap,
        "skip_empty": skip_empty or None,
    }
    settings = {name: value for name, value in grid.items() if value is not None}
    if tile is not None:
        settings["tile"] = parse_tile(tile)
    objects = _objects(point or [], box or [], settings, each_point=each_point)
    rule = _rule(channel, limits)
    works = plan_outputs(find_inputs(inputs), out, existing)
    if not works:
        typer.echo("All results are there already.")
        return
    check_writable(out)
    sam = open_model(model, checkpoint, device, precision)
    typer.echo(describe_model(sam), err=True)
    if objects:
        run_batch(works, out, by_prompts(sam, objects), axes=axes, rule=rule)
        return
    from napari_sam._cli.tile_graph import ClusterRunner, ThreadRunner
    from napari_sam._cli.tile_task import ModelReference
    from napari_sam._cli.tiled_batch import run_tiles
    from napari_sam._cli.tiled_file import TiledOptions

    path = None if checkpoint is None else str(checkpoint.expanduser().resolve())
    reference = ModelReference(model, path, sam.digest or "", device, precision)
    options = TiledOptions.for_model(
        sam,
        reference,
        settings,
        axes=axes,
        rule=rule,
        anew=existing is Existing.OVERWRITE,
        by_value=scheduler is not None,
    )
    runner = (
        ThreadRunner(sam) if scheduler is None else ClusterRunner(scheduler, reference)
    )
    with runner:
        run_tiles(works, out, options, runner)


def _objects(
    points: list[str], boxes: list[str], settings: dict[str, Any], *, each_point: bool
) -> list[PromptSet]:
    """Prompts per object; settings that make no sense are refused before any work."""
    objects = prompts_per_object(
        [parse_point(text) for text in points],
        [parse_box(text) for text in boxes],
        each_point=each_point,
    )
    if objects and settings:
        given = ", ".join("--" + name.replace("_", "-") for name in settings)
        msg = f"Options of the grid do nothing with --point or --box: {given}."
        raise SettingsError(msg)
    if each_point and not objects:
        msg = "--each-point needs --point."
        raise PromptError(msg)
    with _names_of_options():
        for kind in (AutoSettings, LabelSettings):
            kind.from_defaults({k: v for k, v in settings.items() if k in kind.names()})
    return objects


@contextmanager
def _names_of_options() -> Iterator[None]:
    """Let messages begin with the option that was typed, not with its Python name."""
    known = {*AutoSettings.names(), *LabelSettings.names(), "limits"}
    try:
        yield
    except SettingsError as error:
        name, _, rest = str(error).partition(" ")
        if name not in known:
            raise
        msg = f"--{name.replace('_', '-')} {rest}"
        raise SettingsError(msg) from error


def _rule(channels: list[int] | None, limits: str | None) -> "IntensityRule | None":
    if not channels and limits is None:
        return None
    from napari_sam.prediction.intensity import IntensityRule

    with _names_of_options():
        return IntensityRule(
            channels=tuple(channels) if channels else None,
            limits=parse_range(limits, "--limits"),
        )
