# SPDX-License-Identifier: Apache-2.0
"""What a training run is told: data, start weights, recipe; and the file that says it.

The file is TOML. Paths in it are relative to the file.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam.errors import SettingsError
from napari_sam.io.pairs import read_names
from napari_sam.training.coco_images import from_coco
from napari_sam.training.index_table import from_csv
from napari_sam.training.presets import (
    DEFAULT_PRESET,
    PRESETS,
    get_preset,
    recipe_from,
)
from napari_sam.training.recipe_fields import Section, number
from napari_sam.training.sources import from_folders

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari_sam.training.recipe import Recipe
    from napari_sam.training.sources import TrainingImage

_HEAD = """\
A training run for napari-sam: napari-sam train THIS_FILE
Lines that begin with # are comments or defaults. Paths are relative to this file."""
_RECIPE_HEAD = f"How to train. Presets: {', '.join(PRESETS)}."


def _text(default: str = "") -> Any:
    """Return a field of text."""

    def check(value: object) -> str:
        if not isinstance(value, str):
            msg = "text in quotes"
            raise ValueError(msg)
        return value.strip()

    return dataclasses.field(default=default, metadata={"check": check})


@dataclass(frozen=True, kw_only=True)
class DataSettings(Section):
    """Images with labels: either images and labels, or index, or coco.

    Attributes
    ----------
    images
        A folder of images, or one file or zarr folder; with coco the folder of its
        images.
    labels
        A folder of label images with the same names, or one file: whole numbers, 0 for
        background, another for each object.
    names
        Only these images: a text file with one name a line, or FILE.json:KEY/KEY.
    index
        A CSV file with the columns image and labels, and if wanted split (train, val,
        test) and group.
    coco
        A COCO file of instances, or a folder of one JSON file per image as SA-1B has
        them.
    axes
        Meaning of the images' axes where the files are silent, such as ZYX or TCYX.
    min_area
        Objects with fewer pixels do not count.
    tile
        Planes longer than 1.5 times this many pixels are cut into tiles.
    validation_share
        Part of the images, or groups of them, that check the training.
    split_seed
        Another number divides the images otherwise.
    """

    images: str = _text()
    labels: str = _text()
    names: str = _text()
    index: str = _text()
    coco: str = _text()
    axes: str = _text()
    min_area: int = number(25, 1, 1 << 30)
    tile: int = number(1024, 64, 1 << 14)
    validation_share: float = number(0.2, 0.001, 0.999)
    split_seed: int = number(0, 0, 2**63 - 1)


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Section):
    """Where training starts, and what becomes of the result.

    Attributes
    ----------
    start
        A model that 'napari-sam models' lists.
    checkpoint
        A weights file to start from, in place of start.
    name
        What the trained model is called in lists; empty: the start's with _tuned.
    trained_for
        What the model is good for, as lists show it; empty: the data are named.
    licence
        Terms of the trained weights; empty: those of the start weights are named, and
        that the images may have their own.
    """

    start: str = _text("embedded")
    checkpoint: str = _text()
    name: str = _text()
    trained_for: str = _text()
    licence: str = _text()


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All that a training run is told.

    Attributes
    ----------
    data : DataSettings
    model : ModelSettings
    recipe : Recipe
    folder : Path
        What relative paths begin from.
    """

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    recipe: Recipe = dataclasses.field(
        default_factory=lambda: get_preset(DEFAULT_PRESET)
    )
    folder: Path = Path()

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return plain values, as the file has them."""
        return {
            "data": dataclasses.asdict(self.data),
            "model": dataclasses.asdict(self.model),
            "training": self.recipe.as_dict(),
        }

    def path(self, text: str) -> Path:
        """Return a path of the file."""
        return self.folder / Path(text).expanduser()


def read_config(path: Path) -> RunConfig:
    """Read a configuration file.

    Raises
    ------
    SettingsError
        If it cannot be read, is no TOML, or a table, key or value is not allowed; the
        text names the file, the key, what came and what is allowed.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        msg = f"Cannot read the configuration {path}: {error}."
        raise SettingsError(msg) from error
    except tomllib.TOMLDecodeError as error:
        msg = f"{path} is no TOML file: {error}. See napari-sam train --example."
        raise SettingsError(msg) from error
    try:
        return config_from(content, path.parent)
    except SettingsError as error:
        msg = f"{path}: {error}"
        raise SettingsError(msg) from error


def config_from(content: Mapping[str, Any], folder: Path = Path()) -> RunConfig:
    """Make a configuration of the tables data, model and training.

    Raises
    ------
    SettingsError
        As `read_config`.
    """
    known = ("data", "model", "training")
    for name, table in content.items():
        if name not in known:
            msg = f"Unknown table or key {name!r}. Known are: {', '.join(known)}."
            raise SettingsError(msg)
        if not isinstance(table, dict):
            msg = f"{name!r} is a table of keys and values, not {table!r}."
            raise SettingsError(msg)
    return RunConfig(
        data=_section(DataSettings, "data", content),
        model=_section(ModelSettings, "model", content),
        recipe=recipe_from(content.get("training", {})),
        folder=folder,
    )


def find_images(config: RunConfig) -> list[TrainingImage]:
    """Return the images that a configuration names; files are not opened yet.

    Raises
    ------
    SettingsError
        If the data are named in no way or in several.
    ImageError
        If a folder, file or table is missing or unreadable.
    """
    data = config.data
    axes = data.axes or None
    ways = {
        "images with labels": bool(data.labels),
        "index": bool(data.index),
        "coco": bool(data.coco),
    }
    if sum(ways.values()) != 1 or (not data.images and not data.index):
        came = ", ".join(way for way, is_used in ways.items() if is_used) or "none"
        msg = (
            f"[data] names the images in one way, but {came} came. Give images and "
            "labels, or index, or coco and images."
        )
        raise SettingsError(msg)
    if data.index:
        return from_csv(config.path(data.index), axes=axes)
    images = config.path(data.images)
    if data.coco:
        return from_coco(config.path(data.coco), images)
    names = read_names(config.path(data.names)) if data.names else None
    return from_folders(images, config.path(data.labels), names=names, axes=axes)


def example_config() -> str:
    """Return a configuration file with every key, its meaning and its default."""
    lines = [*_comment(_HEAD), ""]
    lines += _table("data", DataSettings(), {"images": "images", "labels": "labels"})
    lines += _table("model", ModelSettings(), {"start": "embedded"})
    lines += [*_comment(_RECIPE_HEAD), "[training]", f'preset = "{DEFAULT_PRESET}"', ""]
    recipe = get_preset(DEFAULT_PRESET)
    for part in dataclasses.fields(recipe):
        lines += _table(f"training.{part.name}", getattr(recipe, part.name), {})
    return "\n".join(lines).rstrip() + "\n"


def field_help(section: type[Section] | Section) -> dict[str, str]:
    """Return what the docstring of a section says of each of its fields."""
    kind = section if isinstance(section, type) else type(section)
    _, _, attributes = (inspect.getdoc(kind) or "").partition("----------\n")
    found: dict[str, str] = {}
    name = ""
    for line in attributes.splitlines():
        if line and not line.startswith(" "):
            name = line.partition(":")[0].strip()
            found[name] = ""
        elif name:
            text = line.strip().replace("``", "").replace("`", "")
            found[name] = f"{found[name]} {text}".strip()
    return found


def _section(kind: type[Any], name: str, content: Mapping[str, Any]) -> Any:
    table = content.get(name, {})
    known = [each.name for each in dataclasses.fields(kind)]
    for key in table:
        if key not in known:
            msg = f"Unknown key {key!r} in [{name}]. Known are: {', '.join(known)}."
            raise SettingsError(msg)
    return kind(**table)


def _table(name: str, section: Section, given: Mapping[str, str]) -> Iterator[str]:
    """Write a table; keys that need not be given stand behind a #."""
    yield from _comment((inspect.getdoc(section) or "").partition("\n")[0])
    yield f"[{name}]"
    texts = field_help(section)
    for each in dataclasses.fields(section):
        yield from _comment(texts[each.name])
        value = given.get(each.name, getattr(section, each.name))
        if value is None:
            yield f"# {each.name} is not set"  # TOML has no word for that
            continue
        mark = "" if each.name in given else "# "
        yield f"{mark}{each.name} = {_toml(value)}"
    yield ""


def _comment(text: str) -> list[str]:
    return [
        f"# {line}"
        for paragraph in text.splitlines()
        for line in textwrap.wrap(paragraph, 85, break_on_hyphens=False)
    ]


def _toml(value: Any) -> str:
    """Write text, numbers and lists, which look the same in JSON."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)
