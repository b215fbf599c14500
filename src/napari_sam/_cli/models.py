# SPDX-License-Identifier: Apache-2.0
"""``napari-sam models``: what is known, what is here, get it, check it, remove it."""

import textwrap
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from napari_sam._cli.loading import download_bar
from napari_sam.errors import WeightsError
from napari_sam.weights import store, trained
from napari_sam.weights.catalogue import CATALOGUE, format_bytes, get_row
from napari_sam.weights.locations import (
    CACHE_DIR_VARIABLE,
    MIRROR_VARIABLE,
    OFFLINE_DIR_VARIABLE,
    current_locations,
)

models = typer.Typer(help="List, download, verify, rename and delete model weights.")

Name = Annotated[str, typer.Argument(help="A model's name.", metavar="NAME")]


@models.callback(invoke_without_command=True)
def _without_word(context: typer.Context) -> None:
    """List, download, verify, rename and delete model weights."""
    if context.invoked_subcommand is None:
        list_()


@models.command("list")
def list_() -> None:
    """List all models and what of them is on this machine."""
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("model", "on this machine", "licence", "trained for"):
        table.add_column(title, no_wrap=title == "model")
    for status in store.status_rows():
        row = status.row
        table.add_row(row.name, status.text, row.licence or "-", row.trained_for)
    Console().print(table)


@models.command()
def info(name: Name) -> None:
    """Show all that is known of one model."""
    row = get_row(name)
    lines = {
        "model": row.name,
        "architecture": row.architecture,
        "on this machine": store.status(row).text,
        "trained for": row.trained_for,
        "licence": row.licence or "not stated by the publisher",
        "cite": row.citation,
        "page": row.homepage or row.url or "-",
        "address": row.url or "-",
        "size": format_bytes(row.bytes),
        "hash": row.hash or "none is published",
        "file": str(store.place_by_hand_path(row)),
        "instructions": row.instructions,
    }
    for label, text in lines.items():
        if text:
            wrapped = textwrap.wrap(text, 70, break_long_words=False) or [""]
            typer.echo(f"{label + ':':<17}" + ("\n" + " " * 17).join(wrapped))


@models.command()
def download(name: Name) -> None:
    """Fetch the weights of a model, unless they are here; the hash is checked."""
    from napari_sam.weights.download import fetch

    row = get_row(name)
    with download_bar(name) as show:
        path = fetch(row, progress=show)
    typer.echo(f"{name}: {path}")


@models.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Models; all that are here without.")
    ] = None,
) -> None:
    """Read weights in full and compare their hashes."""
    wanted = names or [s.row.name for s in store.status_rows() if s.path is not None]
    results = [store.verify(name) for name in wanted]
    for name, result in zip(wanted, results, strict=True):
        typer.echo(f"{name}: {result.text}")
    wrong = [n for n, result in zip(wanted, results, strict=True) if not result.ok]
    if wrong:
        msg = (
            f"Not the published file: {', '.join(wrong)}. Delete it and download it "
            "again."
        )
        raise WeightsError(msg)


@models.command()
def delete(name: Name) -> None:
    """Remove downloaded weights, or a model trained here, from this machine."""
    n_bytes = store.delete(name)
    typer.echo(f"{name}: deleted, {format_bytes(n_bytes)} free again")


@models.command()
def rename(
    name: Name,
    new_name: Annotated[str, typer.Argument(help="Its new name.", metavar="NEW")],
) -> None:
    """Give a model that was trained on this machine another name."""
    row = trained.rename(name, new_name, taken=[r.name for r in CATALOGUE])
    typer.echo(f"{name}: now {row.name}")


@models.command()
def path(
    name: Annotated[str | None, typer.Argument(help="A model's name.")] = None,
) -> None:
    """Show where weights lie: the file of one model, or the folders that are searched.

    A file that was fetched by hand is found at the path shown for its model.
    """
    if name is not None:
        found = store.find(name)
        typer.echo(str(found or store.place_by_hand_path(name)))
        return
    places = current_locations()
    typer.echo(f"weights folder: {places.root}  ({CACHE_DIR_VARIABLE})")
    typer.echo(f"offline folder: {places.offline_dir or '-'}  ({OFFLINE_DIR_VARIABLE})")
    typer.echo(f"mirror:         {places.mirror or '-'}  ({MIRROR_VARIABLE})")
