# SPDX-License-Identifier: Apache-2.0
"""Options that name a model, and the model they name."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from napari_sam.modeling.sam import Sam

ModelOption = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="A name that 'napari-sam models' lists.", metavar="NAME"
    ),
]
CheckpointOption = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        help="A .safetensors, .pth or .pt file in place of a named model.",
        metavar="FILE",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.", metavar="DEVICE"),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help="float32; bfloat16, or float16 on a GPU (faster, slightly different).",
        metavar="TYPE",
    ),
]


@contextmanager
def download_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """Give a callback of bytes done and total, shown on stderr once it is called."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    task = bar.add_task(f"Download {name}", visible=False)

    def show(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total or None, visible=True)

    with bar:
        yield show


def open_model(
    name: str, checkpoint: Path | None, device: str, precision: str | None = None
) -> "Sam":
    """Load a model; a download shows its progress on stderr."""
    from napari_sam.weights.load import load_model

    with download_bar(name) as show:
        return load_model(
            name, checkpoint=checkpoint, device=device, dtype=precision, progress=show
        )


def describe_model(model: "Sam") -> str:
    """Name, start of the digest and device, for the first line of an output."""
    digest = f" ({model.digest[:12]})" if model.digest else ""
    return f"model {model.name}{digest} on {model.device}"
