# SPDX-License-Identifier: Apache-2.0
"""Many files, one after the other, with a progress bar; what is finished stays."""

import errno
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from napari_sam._cli.inputs import Work
from napari_sam._cli.segment_file import (
    FileResult,
    PlaneSegmenter,
    StackStopped,
    segment_file,
)
from napari_sam.errors import (
    ImageError,
    LabelsError,
    NapariSamError,
    OutputError,
    PromptError,
)

if TYPE_CHECKING:
    from napari_sam.prediction.intensity import IntensityRule

_NO_SPACE = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}

STOPPED = 130
"""Exit code after Ctrl-C, as shells report it."""


def progress_bar() -> Progress:
    """Make a bar on stderr that leaves a redirected stdout alone."""
    return Progress(console=Console(stderr=True), redirect_stdout=sys.stdout.isatty())


def run_batch(
    works: Sequence[Work],
    out: Path,
    segment: PlaneSegmenter,
    *,
    axes: str | None,
    rule: "IntensityRule | None",
) -> None:
    """Segment every file; one that fails does not stop the others.

    Raises
    ------
    NapariSamError
        At the end, if files failed: one line for each.
    OutputError
        At once if the disk is full: the next file would not fit either.
    typer.Exit
        After Ctrl-C; the results of finished files stay.
    """
    failures: list[str] = []
    finished = 0
    try:
        with progress_bar() as bar:
            total = bar.add_task("All", total=len(works), visible=len(works) > 1)
            for work in works:
                task = bar.add_task(work.source.name, total=1.0)
                try:
                    result = segment_file(
                        work, segment, axes=axes, rule=rule, progress=_step(bar, task)
                    )
                except (ImageError, PromptError, LabelsError, OutputError) as error:
                    if is_disk_full(error):
                        raise
                    failures.append(failure_text(work, error))
                else:
                    finished += 1
                    tell_result(work, result)
                bar.remove_task(task)
                bar.advance(total)
    except KeyboardInterrupt as stop:
        kept = [str(stop)] if isinstance(stop, StackStopped) else []
        tell_stopped(failures, f"{finished} of {len(works)}", out, kept)
        raise typer.Exit(STOPPED) from None
    except BaseException:
        tell_stopped(failures, f"{finished} of {len(works)}", out)
        raise
    raise_failures(failures, len(works))


def raise_failures(failures: Sequence[str], n_works: int) -> None:
    """Say at the end which files failed, and why.

    Raises
    ------
    NapariSamError
        If there are any.
    """
    if failures:
        is_all = len(failures) == n_works
        head = "" if is_all else f"{len(failures)} of {n_works} inputs failed.\n"
        raise NapariSamError(head + "\n".join(failures))


def is_disk_full(error: Exception) -> bool:
    """Tell whether nothing more can be written, whatever the file."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in _NO_SPACE


def failure_text(work: Work, error: Exception) -> str:
    """Say which file it was; errors of reading say so themselves."""
    name, text = work.source.name, str(error)
    return text if name in text else f"{name}: {text}"


def _step(bar: Progress, task: TaskID) -> Callable[[float], None]:
    """Give what moves one bar to the part that is done."""

    def move(part: float) -> None:
        bar.update(task, completed=part)

    return move


def tell_stopped(
    failures: Sequence[str], finished: str, out: Path, kept: Sequence[str] = ()
) -> None:
    """Say what became of the inputs before everything ended."""
    for text in failures:
        typer.echo(f"Failed: {text}", err=True)
    for text in kept:
        typer.echo(text, err=True)
    typer.echo(
        f"Stopped. {finished} inputs are finished; their results are in {out}.",
        err=True,
    )


def tell_result(work: Work, result: FileResult) -> None:
    """Say what was found in a file and where it is."""
    for notice in result.notices:
        typer.echo(f"Notice: {notice}", err=True)
    count = f"{result.n_objects} object{'' if result.n_objects == 1 else 's'}"
    labels = result.labels or work.labels
    typer.echo(f"{work.source.name}: {count} -> {labels}, {work.table.name}")
