# SPDX-License-Identifier: Apache-2.0
"""The command ``napari-sam``."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from napari_sam._cli.demo import demo
from napari_sam._cli.evaluate import evaluate
from napari_sam._cli.models import models
from napari_sam._cli.replay import replay
from napari_sam._cli.segment import segment
from napari_sam._cli.simulate import simulate
from napari_sam._cli.train import train
from napari_sam.errors import NapariSamError

DISTRIBUTION = "napari-sam-live"
USER_ERROR = 2

app = typer.Typer(
    name="napari-sam",
    help="Segment Anything for microscopy: images in, label images out, no window.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(segment)
app.add_typer(models, name="models")
app.command()(evaluate)
app.command()(train)
app.command()(simulate)
app.command()(replay)
app.command()(demo)


def _print_version(asked: bool) -> None:
    if not asked:
        return
    try:
        found = version(DISTRIBUTION)
    except PackageNotFoundError:
        found = "not installed as a package"
    typer.echo(f"{DISTRIBUTION} {found}")
    raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Show the version.",
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process.

    What the user can put right is one message on stderr and exit code 2; anything else
    is a fault of the program and keeps its traceback.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the command's name; those of the process without it.
    """
    try:
        app(
            args=None if arguments is None else list(arguments),
            prog_name="napari-sam",
        )
    except NapariSamError as error:
        typer.echo(f"napari-sam: {error}", err=True)
        raise SystemExit(USER_ERROR) from error
