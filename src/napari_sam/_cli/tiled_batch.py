# SPDX-License-Identifier: Apache-2.0
"""Many files, large and small, as one stream of tiles; what is finished stays."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import typer

from napari_sam._cli.batch import (
    STOPPED,
    failure_text,
    is_disk_full,
    progress_bar,
    raise_failures,
    tell_result,
    tell_stopped,
)
from napari_sam._cli.tiled_file import TiledFile
from napari_sam.errors import (
    ImageError,
    LabelsError,
    NapariSamError,
    OutputError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.progress import Progress, TaskID

    from napari_sam._cli.inputs import Work
    from napari_sam._cli.tile_graph import TileRunner
    from napari_sam._cli.tile_task import TileTask
    from napari_sam._cli.tiled_file import TiledOptions


def run_tiles(
    works: Sequence[Work], out: Path, options: TiledOptions, runner: TileRunner
) -> None:
    """Segment every file; one that fails does not stop the others.

    Raises
    ------
    NapariSamError
        At the end, if files failed: one line for each. At once if tiles of another run
        are in the way or the cluster is gone.
    OutputError
        At once if tiles cannot be kept.
    typer.Exit
        After Ctrl-C; finished files and finished tiles stay.
    """
    with progress_bar() as bar:
        batch = _TiledBatch(works, options, bar)
        try:
            batch.run(runner)
        except KeyboardInterrupt:
            bar.stop()
            tell_stopped(batch.failures, batch.finished, out, batch.kept)
            raise typer.Exit(STOPPED) from None
        except BaseException:
            bar.stop()
            tell_stopped(batch.failures, batch.finished, out, batch.kept)
            raise
        finally:
            batch.close()
    raise_failures(batch.failures, len(works))


class _TiledBatch:
    """The files of a run, those at work and those that are done."""

    def __init__(
        self, works: Sequence[Work], options: TiledOptions, bar: Progress
    ) -> None:
        self._works = works
        self._options = options
        self._bar = bar
        self._total = bar.add_task("All", total=len(works), visible=len(works) > 1)
        self._open: dict[int, tuple[TiledFile, TaskID]] = {}
        self._n_finished = 0
        self.failures: list[str] = []

    @property
    def finished(self) -> str:
        """How many files are finished, in words."""
        return f"{self._n_finished} of {len(self._works)}"

    @property
    def kept(self) -> list[str]:
        """What is there of files that are not finished."""
        return [file.kept for file, _ in self._open.values() if file.kept]

    def run(self, runner: TileRunner) -> None:
        """Work through all tiles of all files."""
        with closing(runner.run(self._tasks())) as outcomes:
            for (number, tile), outcome in outcomes:
                if number not in self._open:
                    continue  # the file failed over another of its tiles
                if isinstance(outcome, Exception):
                    self._fail(number, outcome)
                    continue
                file, task = self._open[number]
                file.put(tile, outcome)
                self._bar.update(task, completed=file.n_done)
                if file.is_complete:
                    self._finish(number)

    def close(self) -> None:
        """Let other processes work on what is not finished."""
        for file, _ in self._open.values():
            file.close()

    def _tasks(self) -> Iterator[TileTask]:
        """Yield the tiles of one file after the other, opened when it is its turn."""
        for number, work in enumerate(self._works):
            try:
                file = TiledFile(number, work, self._options)
            except (ImageError, LabelsError) as error:
                self.failures.append(failure_text(work, error))
                self._bar.advance(self._total)
                continue
            task = self._bar.add_task(
                work.source.name, total=file.n_tiles, completed=file.n_done
            )
            self._open[number] = (file, task)
            if file.n_done:
                typer.echo(
                    f"{work.source.name}: {file.n_done} of {file.n_tiles} tiles were "
                    "finished earlier.",
                    err=True,
                )
            if file.is_complete:
                self._finish(number)
                continue
            try:
                for tile in file.tasks():
                    if number not in self._open:
                        break
                    yield tile
            except ImageError as error:
                self._fail(number, error)

    def _finish(self, number: int) -> None:
        """Write the results of a file."""
        file, _ = self._open[number]
        try:
            result = file.finish()
        except (ImageError, LabelsError, OutputError) as error:
            if is_disk_full(error):
                raise
            self._fail(number, error)
            return
        self._n_finished += 1
        self._close(number)
        tell_result(file.work, result)

    def _fail(self, number: int, error: Exception) -> None:
        """Give up a file; its finished tiles stay."""
        if not isinstance(error, NapariSamError):
            raise error
        self.failures.append(failure_text(self._works[number], error))
        self._close(number)

    def _close(self, number: int) -> None:
        file, task = self._open.pop(number)
        file.close()
        self._bar.remove_task(task)
        self._bar.advance(self._total)
