# SPDX-License-Identifier: Apache-2.0
"""Images with their labels, as the commands take them that measure something."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.progress import Progress, TaskID

from napari_sam._cli.batch import STOPPED
from napari_sam.io.pairs import Pair, find_pairs, read_names, read_pair

if TYPE_CHECKING:
    from napari_sam.evaluation.protocol import Example

ImagesArgument = Annotated[
    Path, typer.Argument(help="Folder of images, or one image.", metavar="IMAGES")
]
LabelsArgument = Annotated[
    Path,
    typer.Argument(
        help="Folder of label images with the same names, or one.", metavar="LABELS"
    ),
]
NamesOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE[:KEY/KEY]",
        help="Only the images named in a text file (one a line) or a JSON list.",
    ),
]
LimitOption = Annotated[
    int | None, typer.Option(min=1, help="Only so many images, evenly picked.")
]
AxesOption = Annotated[
    str | None, typer.Option(help="Axes of the images, such as ZYX.")
]


def pick_pairs(
    images: Path, labels: Path, names_from: str | None, limit: int | None
) -> list[Pair]:
    """Match images with labels; errors as in `find_pairs` and `read_names`."""
    pairs = find_pairs(images, labels, read_names(names_from) if names_from else None)
    if limit is not None and limit < len(pairs):
        picked = np.linspace(0, len(pairs) - 1, limit).round().astype(int)
        pairs = [pairs[i] for i in picked]
    return pairs


def read_examples(
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


def end_early(stop: BaseException | None, n_found: int, n_pairs: int) -> None:
    """Say that and why images are missing.

    Raises
    ------
    NapariSamError
        The one that ended the work.
    typer.Exit
        After Ctrl-C.
    """
    if stop is None:
        return
    typer.echo(f"Stopped after {n_found} planes of {n_pairs} images.", err=True)
    if isinstance(stop, KeyboardInterrupt):
        raise typer.Exit(STOPPED)
    raise stop
