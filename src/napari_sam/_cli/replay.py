# SPDX-License-Identifier: Apache-2.0
"""``napari-sam replay``: labels made again from the prompts of an annotation file."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from napari_sam._cli.batch import progress_bar
from napari_sam._cli.inputs import check_writable_file
from napari_sam._cli.loading import DeviceOption, describe_model, open_model
from napari_sam._cli.replay_source import find_image, open_source
from napari_sam.errors import AnnotationFileError, NapariSamError, OutputError
from napari_sam.io.annotation_file import load_annotation, short
from napari_sam.io.labels_tiff import MAX_PLANE_AXES, write_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_sam.annotation.replay import Replay, ReplayedObject
    from napari_sam.annotation.state import AnnotationState
    from napari_sam.modeling.sam import Sam

DIFFERENT = 1
"""Exit code where labels differ."""
_MAX_NAMED = 20


def replay(
    file: Annotated[
        Path, typer.Argument(help="Annotation file (.sam.json).", metavar="FILE")
    ],
    image: Annotated[
        Path | None,
        typer.Argument(
            help="Its image; without, where it was or beside FILE.", metavar="IMAGE"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Write the labels that were made.", metavar="TIF"
        ),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(min=0, max=1, help="Objects count as the same from this IoU on."),
    ] = 0.99,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Another model than the file names.", metavar="NAME"
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint", help="A weights file in place of that.", metavar="WEIGHTS"
        ),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Make the labels of an annotation file again from its prompts and compare.

    Nothing but --out is written. Exit code 0: the same labels; 1: an object differs by
    more than --tolerance; 2: something is missing or wrong.
    """
    state = load_annotation(file)
    if out is not None:
        check_writable_file(out)
        if out.resolve() == file.resolve():
            msg = f"{out} is the annotation file. Choose another name for the labels."
            raise OutputError(msg)
    source = open_source(find_image(file, state, image), state)
    sam = _open_model(state, model, checkpoint, device)
    typer.echo(describe_model(sam), err=True)

    from napari_sam.annotation.replay import replay as run
    from napari_sam.prediction.model_segmenter import ModelSegmenter

    with progress_bar() as bar:
        task = bar.add_task(file.name, total=None)
        done = run(
            state,
            ModelSegmenter(sam),
            source,
            progress=lambda n, total: bar.update(task, completed=n, total=total),
        )
        bar.remove_task(task)
    _tell(file, done, tolerance)
    if out is not None:
        typer.echo(f"wrote {_write(out, done.labels)}")
    if done.below(tolerance):
        raise typer.Exit(DIFFERENT)


def _open_model(
    state: "AnnotationState", name: str | None, checkpoint: Path | None, device: str
) -> "Sam":
    """Load the model of the file, or the one that was asked for.

    Raises
    ------
    AnnotationFileError
        If the model of the file is not to be had, or has other weights here.
    """
    recorded = state.model.get("weights", "").rpartition(":")[2]
    way_out = "Name a model with --model or --checkpoint to take it all the same."
    if name is not None or checkpoint is not None:
        sam = open_model(name or "embedded", checkpoint, device)
        if recorded not in ("", "none", sam.digest):
            text = f"Notice: the annotation was made with other weights ({recorded})."
            typer.echo(text, err=True)
        return sam
    wanted = state.model.get("model")
    if not wanted:
        msg = f"The annotation does not say which model was used. {way_out}"
        raise AnnotationFileError(msg)
    try:
        sam = open_model(wanted, None, device)
    except NapariSamError as error:
        msg = f"The annotation's model {wanted!r} cannot be loaded: {error} {way_out}"
        raise AnnotationFileError(msg) from error
    if recorded not in ("", "none", sam.digest):
        msg = (
            f"The model {wanted!r} has other weights here ({short(sam.digest or '')}) "
            f"than the annotation was made with ({short(recorded)}). {way_out}"
        )
        raise AnnotationFileError(msg)
    return sam


def _tell(file: Path, done: "Replay", tolerance: float) -> None:
    """Print what is the same, what differs and what was not made again."""
    n_planes = len({item.item.plane for item in done.objects})
    typer.echo(
        f"{file}: {_count(len(done.objects), 'object')}, {_count(n_planes, 'plane')}"
    )
    different, clearly = done.below(1.0), done.below(0.99)
    typer.echo(
        f"{len(done.remade)} made again from their prompts: "
        f"{len(done.remade) - len(different)} the same, {len(different)} with an IoU "
        f"below 1, {len(clearly)} below 0.99"
    )
    for item in different[:_MAX_NAMED]:
        mark = "  " if item.iou >= tolerance else "! "
        problem = f": {item.problem}" if item.problem else ""
        typer.echo(f"  {mark}{_name(item)}: IoU {item.iou:.4f}{problem}")
    if len(different) > _MAX_NAMED:
        typer.echo(f"    and {len(different) - _MAX_NAMED} more")
    for reason, number in Counter(item.taken for item in done.taken).items():
        ids = [_name(item) for item in done.taken if item.taken == reason]
        named = ", ".join(ids[:_MAX_NAMED]) + (", ..." if number > _MAX_NAMED else "")
        typer.echo(f"{number} taken as they are, {reason}: {named}")
    if done.n_unknown:
        typer.echo(
            f"{done.n_unknown} taken as they are, in the labels only: the annotation "
            "says nothing of them"
        )


def _name(item: "ReplayedObject") -> str:
    index = item.item.plane.index
    place = f" on plane {', '.join(map(str, index))}" if index else ""
    return f"object {item.item.object_id}{place}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _write(path: Path, labels: "NDArray[np.integer]") -> Path:
    # Axes of length 1 have no meaning of their own and may be too many for a TIFF.
    n_planes = labels.ndim - 2
    if n_planes > MAX_PLANE_AXES:
        kept = [n for n in labels.shape[:-2] if n != 1]
        labels = labels.reshape(*kept, *labels.shape[-2:])
    return write_labels(path, labels, axes="TZC"[: labels.ndim - 2] + "YX")
