# SPDX-License-Identifier: Apache-2.0
"""``napari-sam demo``: real images, real masks, compared with the truth."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from napari_sam._cli.batch import progress_bar
from napari_sam._cli.inputs import check_writable
from napari_sam._cli.loading import (
    CheckpointOption,
    DeviceOption,
    ModelOption,
    describe_model,
    open_model,
)
from napari_sam._cli.overlay import outline_panel, write_panels
from napari_sam._cli.segment_file import PlaneResult, by_grid, paint_best
from napari_sam.io.labels_tiff import write_labels
from napari_sam.io.object_table import measure_objects, object_columns, write_table
from napari_sam.io.sample_data import Sample, load_sample, sample_names

if TYPE_CHECKING:
    from napari_sam.evaluation.prompts import TrueObject
    from napari_sam.modeling.sam import Sam
    from napari_sam.structures.candidates import Candidates

# One image keeps the demo short on a slow machine; the others are there by name.
_DEFAULT_SAMPLES = ("nuclei",)


@dataclass(frozen=True, slots=True)
class Found:
    """What the model made of one sample."""

    sample: Sample
    clicks: PlaneResult
    boxes: PlaneResult
    everything: PlaneResult


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the results.")
    ] = Path("napari-sam-demo"),
    sample: Annotated[
        list[str] | None,
        typer.Option(
            help=f"One of {', '.join(sample_names())}; may be repeated. "
            f"[default: {', '.join(_DEFAULT_SAMPLES)}]",
            metavar="NAME",
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Open the first sample in napari.")
    ] = False,
    model: ModelOption = "embedded",
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Segment a real microscopy image and compare the masks with the truth.

    Each object gets one click at its innermost pixel, then its box; last, everything is
    segmented without any prompt. The samples were not used to train the embedded model.
    """
    samples = [load_sample(name) for name in sample or _DEFAULT_SAMPLES]
    if show:
        from napari_sam._cli.show import check_gui

        check_gui()
    check_writable(out)
    started = time.perf_counter()
    sam = open_model(model, checkpoint, device)
    typer.echo(describe_model(sam))
    results = [_run_sample(item, sam, out) for item in samples]
    seconds = time.perf_counter() - started
    typer.echo(f"\nDone in {seconds:.1f} s. Results are in {out.resolve()}")
    if show:
        from napari_sam._cli.show import show_in_napari

        first = results[0]
        layers = {
            "one click each": first.clicks.labels,
            "one box each": first.boxes.labels,
            "everything": first.everything.labels,
        }
        show_in_napari(first.sample, layers)


def _run_sample(sample: Sample, sam: "Sam", out: Path) -> Found:
    """Prompt, segment everything, print, write."""
    from napari_sam.evaluation.prompts import true_objects
    from napari_sam.evaluation.protocol import MIN_AREA_PX
    from napari_sam.prediction.automatic_mask_generator import AutomaticMaskGenerator
    from napari_sam.prediction.predictor import SamPredictor

    objects = list(true_objects(sample.labels, min_area=MIN_AREA_PX))
    h, w = sample.labels.shape
    typer.echo(f"\n{sample.title} ({h} x {w} px, {len(objects)} true objects)")
    predictor = SamPredictor(sam)
    started = time.perf_counter()
    embedding = predictor.embed(sample.image)
    typer.echo(f"  {_passed(started)}  image read by the model")

    started = time.perf_counter()
    answers = predictor.predict_batch(
        embedding,
        points_yx=np.array([[o.centre_yx] for o in objects], dtype=np.float64),
        point_labels=np.ones((len(objects), 1), dtype=np.int64),
        multimask_output=True,
    )
    clicks = _tell_prompts("click", started, answers, objects, (h, w))

    started = time.perf_counter()
    answers = predictor.predict_batch(
        embedding,
        boxes_yx=np.array([o.box_yx for o in objects], dtype=np.float64),
        multimask_output=False,
    )
    boxes = _tell_prompts("box", started, answers, objects, (h, w))

    started = time.perf_counter()
    with progress_bar() as bar:
        method = AutomaticMaskGenerator(predictor).settings.method
        task = bar.add_task(f"  Everything, method {method}", total=None)
        everything = by_grid(predictor, {})(
            sample.image,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
        bar.remove_task(task)
    _tell_everything(started, everything.labels, sample.labels)
    found = Found(sample, clicks, boxes, everything)
    _write(found, objects, out)
    typer.echo(f"  image: {sample.credit}, {sample.licence}")
    return found


def _tell_prompts(
    kind: str,
    started: float,
    answers: "list[Candidates]",
    objects: "list[TrueObject]",
    shape: tuple[int, int],
) -> PlaneResult:
    """Print the mean IoU by the evaluation's definition; paint the masks."""
    from napari_sam.evaluation.metrics import iou_with_crop

    ious = [
        iou_with_crop(a.masks[[a.best]], o.crop, o.corner_yx)[0]
        for a, o in zip(answers, objects, strict=True)
    ]
    typer.echo(
        f"  {_passed(started)}  one {kind} per object: mean IoU {np.mean(ious):.2f} "
        f"with the truth, {sum(iou > 0.5 for iou in ious)} of {len(ious)} above 0.5"
    )
    return paint_best(answers, shape)


def _tell_everything(
    started: float, labels: NDArray[np.uint32], truth: NDArray[np.uint16]
) -> None:
    from napari_sam.evaluation.matching import drop_small, iou_matrix, match_objects
    from napari_sam.evaluation.protocol import IOU_THRESHOLD, MIN_AREA_PX

    ious = iou_matrix(drop_small(truth, MIN_AREA_PX), drop_small(labels, MIN_AREA_PX))
    hits = ious[ious > IOU_THRESHOLD]
    counts = match_objects(
        truth, labels, iou_threshold=IOU_THRESHOLD, min_area=MIN_AREA_PX
    )
    quality = f" with a mean IoU of {hits.mean():.2f}" if hits.size else ""
    typer.echo(
        f"  {_passed(started)}  everything, no prompt: {ious.shape[1]} objects found; "
        f"{counts.true_positives} of {ious.shape[0]} true ones are among them"
        f"{quality}; AP {counts.average_precision:.2f} at IoU {IOU_THRESHOLD:g}"
    )


def _write(found: Found, objects: "list[TrueObject]", out: Path) -> None:
    """Write labels, table and a picture of all four label images."""
    from napari_sam.prediction.intensity import IntensityRule, to_rgb

    sample = found.sample
    size = sample.pixel_size_um
    kinds = (
        ("clicks", found.clicks),
        ("boxes", found.boxes),
        ("everything", found.everything),
    )
    paths = [
        write_labels(
            out / f"{sample.name}_{kind}_labels.tif", result.labels, pixel_size_um=size
        )
        for kind, result in kinds
    ]
    rows = measure_objects(found.everything.labels, sample.image, pixel_size_um=size)
    n_channels = 1 if sample.image.ndim == 2 else 3
    table = out / f"{sample.name}_everything_objects.csv"
    paths.append(write_table(table, rows, object_columns(n_channels)))
    shown = to_rgb(sample.image, rule=IntensityRule())
    centres = [o.centre_yx for o in objects]
    panels = (
        ("truth", outline_panel(shown, sample.labels)),
        (
            "one click per object",
            outline_panel(shown, found.clicks.labels, centres),
        ),
        ("one box per object", outline_panel(shown, found.boxes.labels)),
        ("everything, no prompt", outline_panel(shown, found.everything.labels)),
    )
    paths.append(write_panels(out / f"{sample.name}_overlay.png", panels))
    typer.echo(f"  wrote {', '.join(path.name for path in paths)}")


def _passed(started: float) -> str:
    return f"{time.perf_counter() - started:5.1f} s"
