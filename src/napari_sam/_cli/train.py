# SPDX-License-Identifier: Apache-2.0
"""``napari-sam train``: tune a model on one's own masks."""

import dataclasses
import re
import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from napari_sam._cli.batch import STOPPED, progress_bar
from napari_sam._cli.inputs import check_writable
from napari_sam._cli.loading import DeviceOption, describe_model, open_model
from napari_sam.errors import Cancelled, OutputError, SettingsError

if TYPE_CHECKING:
    from napari_sam.training.fine_tuning import TrainingResult
    from napari_sam.training.run_config import RunConfig
    from napari_sam.training.splitting import Split
    from napari_sam.training.task import TrainingProgress

STATE_NAME = "state.pt"
_ANY_DEVICE = "auto"
_NUMBER = r"(\d+(?:\.\d+)?)"
_DURATION = re.compile(f"(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s?)?")


def train(
    config: Annotated[
        Path | None,
        typer.Argument(
            help="What to train on, and how: a TOML file.", metavar="CONFIG"
        ),
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Print a commented configuration.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Where the run is written; CONFIG's name with _run without.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in that folder.")
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option(help="Time to train, such as 15m or 1h30m.", metavar="TIME"),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="What to call the trained model.", metavar="NAME"),
    ] = None,
    device: DeviceOption = _ANY_DEVICE,
) -> None:
    """Tune a model on images with labels.

    The images are divided into a part to train with and a part to check by. At the end
    the best weights, with a card, are one of the models that 'napari-sam models' lists.
    Ctrl-C stops after the step and keeps the best weights; --resume goes on.
    """
    from napari_sam.training.run_config import example_config, read_config

    if example:
        typer.echo(example_config(), nl=False)
        return
    if config is None:
        msg = (
            "Name a configuration file. napari-sam train --example > training.toml "
            "writes one to begin with."
        )
        raise SettingsError(msg)
    settings = _with_options(read_config(config), budget, name)
    folder = config.with_name(f"{config.stem}_run") if out is None else out
    with _held(folder, resume=resume):
        _check_name(settings.model.name, folder, resume=resume)
        again = _again(config, out, budget, name, device)
        _look_and_train(settings, folder, device, again)


def _look_and_train(
    settings: "RunConfig", folder: Path, device: str, again: str
) -> None:
    from napari_sam.training.run_config import find_images

    images = find_images(settings)
    with _stop_on_signal() as cancel:
        from napari_sam.training.samples import find_samples
        from napari_sam.training.splitting import split_samples

        data = settings.data
        try:
            with progress_bar() as bar:
                task = bar.add_task("Looking at the images", total=len(images))
                samples = find_samples(
                    images,
                    min_area=data.min_area,
                    side=data.tile,
                    progress=lambda done, _: bar.update(task, completed=done),
                    cancel=cancel,
                )
        except Cancelled:
            typer.echo("Stopped; nothing was trained.", err=True)
            raise typer.Exit(STOPPED) from None
        split = split_samples(
            samples,
            share=data.validation_share,
            seed=data.split_seed,
            min_area=data.min_area,
            side=data.tile,
        )
        _tell_split(split)
        _run(settings, split, folder, device, cancel, again)


def parse_duration(text: str) -> float:
    """Read a time such as ``90s``, ``15m``, ``1h30m`` or plain seconds.

    Raises
    ------
    SettingsError
        If it is no time, or none at all.
    """
    found = _DURATION.fullmatch(text.strip().lower())
    parts = found.groups() if found else ()
    seconds = sum(
        float(part) * factor
        for part, factor in zip(parts, (3600, 60, 1), strict=False)
        if part
    )
    if not seconds:
        msg = f"{text!r} is no time. Give for instance --budget 90s, 15m or 1h30m."
        raise SettingsError(msg)
    return seconds


def _with_options(
    settings: "RunConfig", budget: str | None, name: str | None
) -> "RunConfig":
    """Let options go over the file."""
    if budget is not None:
        recipe = settings.recipe
        loop = dataclasses.replace(recipe.loop, budget_seconds=parse_duration(budget))
        settings = dataclasses.replace(
            settings, recipe=dataclasses.replace(recipe, loop=loop)
        )
    if name is not None:
        model = dataclasses.replace(settings.model, name=name)
        settings = dataclasses.replace(settings, model=model)
    return settings


def _check_name(name: str, folder: Path, *, resume: bool) -> None:
    """Refuse a name that no model can have before anything is trained."""
    from napari_sam.training.card import names_kept
    from napari_sam.weights.catalogue import CATALOGUE
    from napari_sam.weights.trained import checked_name

    # What this run was kept under is taken by itself: a better one gets a free name.
    if name and not (resume and name in names_kept(folder)):
        checked_name(name, [row.name for row in CATALOGUE])


@contextmanager
def _held(folder: Path, *, resume: bool) -> Iterator[None]:
    """Keep other processes out of a folder that can be trained in, to the end."""
    from napari_sam.training.run_folder import locked

    if resume and not folder.exists():
        _check_begun(folder, resume=resume)
    with locked(folder):
        _check_begun(folder, resume=resume)
        check_writable(folder)
        yield


def _check_begun(folder: Path, *, resume: bool) -> None:
    is_begun = (folder / STATE_NAME).exists()
    if resume and not is_begun:
        msg = (
            f"There is no run to go on with in {folder}. Name its folder with --out, "
            "or leave out --resume."
        )
        raise SettingsError(msg)
    if is_begun and not resume:
        msg = (
            f"{folder} holds a run already. Go on with it by --resume, or name another "
            "folder with --out."
        )
        raise OutputError(msg)


def _again(
    config: Path, out: Path | None, budget: str | None, name: str | None, device: str
) -> str:
    """Return the command that goes on with this run, ready to be pasted."""
    words = ["napari-sam", "train", str(config), "--resume"]
    # Like --budget=15m: a value may begin with a dash.
    for option, value in (
        ("out", out),
        ("budget", budget),
        ("name", name),
        ("device", None if device == _ANY_DEVICE else device),
    ):
        if value is not None:
            words.append(f"--{option}={value}")
    return shlex.join(words)


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Let Ctrl-C, or a friendly kill, set an event; a second Ctrl-C stops at once."""
    cancel = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()
        typer.echo("Stopping after this step ...", err=True)

    if threading.current_thread() is not threading.main_thread():
        yield cancel
        return
    before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell_split(split: "Split") -> None:
    for part, found in (("training", split.train), ("validation", split.validation)):
        typer.echo(
            f"{part}: {found.n_objects} objects; images: {found.n_images}, planes or "
            f"tiles of them: {len(found)}"
        )
    for warning in split.warnings:
        typer.echo(f"Notice: {warning}", err=True)


def _run(
    settings: "RunConfig",
    split: "Split",
    folder: Path,
    device: str,
    cancel: threading.Event,
    again: str,
) -> None:
    from napari_sam.training.card import keep_model, parent_of
    from napari_sam.training.fine_tuning import fine_tune

    start = settings.model
    checkpoint = settings.path(start.checkpoint) if start.checkpoint else None
    model = open_model(start.start, checkpoint, device)
    typer.echo(describe_model(model))
    parent = parent_of(model, is_listed=checkpoint is None)
    place = str(model.device)
    with _shown_progress() as show:
        result = fine_tune(
            model,
            split.train,
            split.validation,
            settings.recipe,
            folder,
            progress=show,
            cancel=cancel,
        )
    _tell_scores(result)
    if result.ended == "cancelled":
        kept = (
            f"The best weights so far are {result.weights}"
            if result.weights.exists()
            else "There are no weights yet"
        )
        typer.echo(f"Stopped at step {result.steps}. {kept}.", err=True)
        typer.echo(f"Go on with: {again}", err=True)
        raise typer.Exit(STOPPED)
    if not result.is_better:
        _tell_no_gain(result, parent.name)
        return
    row = keep_model(result, parent=parent, split=split, config=settings, device=place)
    if result.is_hardly_better:
        typer.echo("Hardly better.")
    typer.echo(f"The model {row.name!r} is one of yours now: --model {row.name}")
    typer.echo(f"Card: {result.weights.with_name('card.md')}")


@contextmanager
def _shown_progress() -> Iterator[Callable[["TrainingProgress"], None]]:
    """Give a callback that moves a bar and tells every evaluation."""
    with progress_bar() as bar:
        task = bar.add_task("Preparing", total=1.0)

        def show(now: "TrainingProgress") -> None:
            loss = now.losses.get("loss")
            text = f"step {now.step}" + ("" if loss is None else f", loss {loss:.3f}")
            bar.update(task, completed=now.fraction, description=text)
            if now.scores:
                scores = ", ".join(
                    f"{key} {now.scores[key]:.3f}"
                    for key in ("point", "box", "corrected")
                    if key in now.scores
                )
                typer.echo(f"step {now.step}: {scores}")

        yield show


def _tell_no_gain(result: "TrainingResult", start: str) -> None:
    text = "It did not get better, so nothing was kept"
    if result.best_step:
        text += (
            f" anew: the model kept at step {result.best_step} stays the best; its "
            f"weights are also in {result.weights}."
        )
    else:
        text += f", and {start!r} stays the model."
    typer.echo(f"{text} More masks, of several images, help more than more time.")


def _tell_scores(result: "TrainingResult") -> None:
    from napari_sam.training.card_text import n_scored, score_lines

    scores = {"before": result.scores_before, "after": result.scores}
    lines = score_lines(scores)
    if not lines:
        return
    typer.echo(f"Mean IoU of {n_scored(scores)} validation objects:")
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("prompt", "before", "after"):
        table.add_column(title)
    for line in lines:
        table.add_row(*line)
    Console().print(table)
