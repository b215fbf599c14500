# SPDX-License-Identifier: Apache-2.0
"""The configuration file: every key with its default, every slip with a clear error."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_sam.errors import ImageError, SettingsError
from napari_sam.training.presets import get_preset
from napari_sam.training.recipe import Recipe
from napari_sam.training.run_config import (
    DataSettings,
    ModelSettings,
    RunConfig,
    config_from,
    example_config,
    field_help,
    find_images,
    read_config,
)

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "training-config.md"


def write(tmp_path, text):
    path = tmp_path / "train.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_example_is_legal_and_says_the_defaults():
    found = config_from(tomllib.loads(example_config()))
    assert found.data == DataSettings(images="images", labels="labels")
    assert found.model == ModelSettings()
    assert found.recipe == get_preset("fine-tune")


def test_every_line_of_the_example_can_be_used():
    text = re.sub(r"^# (\w+ = .+)$", r"\1", example_config(), flags=re.M)
    found = config_from(tomllib.loads(text))
    assert found.recipe == get_preset("fine-tune")
    assert found.data == DataSettings(images="images", labels="labels")
    assert found.model == ModelSettings()


def test_every_field_is_described():
    sections = [DataSettings(), ModelSettings()]
    sections += [getattr(Recipe(), f.name) for f in dataclasses.fields(Recipe)]
    for section in sections:
        names = {each.name for each in dataclasses.fields(section)}
        texts = field_help(section)
        assert set(texts) == names, type(section).__name__
        assert all(texts.values()), type(section).__name__


def test_reference_page_shows_the_example():
    page = PAGE.read_text(encoding="utf-8")
    assert f"```toml\n{example_config()}```" in page, (
        "run: python scripts/make_training_page.py"
    )


def test_values_of_a_file(tmp_path):
    found = read_config(
        write(
            tmp_path,
            """
            [data]
            index = "index.csv"
            min_area = 7
            [model]
            start = " vit_t "
            [training]
            preset = "fine-tune-lora"
            [training.loop]
            seed = 3
            budget_seconds = 60
            """,
        )
    )
    assert found.data.min_area == 7
    assert found.model.start == "vit_t"
    assert found.recipe.loop.seed == 3
    assert found.recipe.trained == get_preset("fine-tune-lora").trained
    assert found.path("index.csv") == tmp_path / "index.csv"
    assert found.path("/x/index.csv") == Path("/x/index.csv")
    again = config_from(found.as_dict(), tmp_path)
    assert again == found


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[data\n", "no TOML file"),
        ("x = 1", "Unknown table or key 'x'. Known are: data, model, training"),
        ("data = 3", "'data' is a table of keys and values, not 3"),
        ("[data]\nimage = 'a'", "Unknown key 'image' in [data]. Known are: images,"),
        ("[data]\nimages = 3", "images is text in quotes, not 3"),
        ("[data]\nmin_area = 'few'", "min_area is a whole number, not 'few'"),
        ("[data]\nmin_area = 0", "min_area is from 1 to"),
        ("[data]\nvalidation_share = 1.5", "validation_share is from 0.001 to 0.999"),
        ("[model]\nstart = ['a']", "start is text"),
        ("[training]\npreset = 'best'", "Unknown recipe 'best'. Choose one of"),
        ("[training.loop]\nseeds = 1", "Unknown field of 'loop': 'seeds'. Known are"),
        ("[training.loop]\ntotal_steps = 1.5", "total_steps is a whole number"),
        ("[training.lop]\nseed = 1", "Unknown section: 'lop'"),
    ],
)
def test_slips_name_file_key_value_and_what_is_allowed(tmp_path, text, wanted):
    with pytest.raises(SettingsError) as caught:
        read_config(write(tmp_path, text))
    assert wanted in str(caught.value)
    assert "train.toml" in str(caught.value)


def test_file_that_cannot_be_read(tmp_path):
    with pytest.raises(SettingsError, match="Cannot read"):
        read_config(tmp_path / "no.toml")
    (tmp_path / "train.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="Cannot read"):
        read_config(tmp_path / "train.toml")


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().data.min_area = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"images": "a"},
        {"labels": "a"},
        {"images": "a", "labels": "b", "index": "c"},
        {"coco": "a"},
        {"images": "a", "labels": "b", "coco": "c"},
    ],
)
def test_data_are_named_in_one_way(data):
    with pytest.raises(SettingsError, match="in one way"):
        find_images(config_from({"data": data}))


def test_images_are_found_from_the_file_on(tmp_path):
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
        for name in "abc":
            tifffile.imwrite(tmp_path / part / f"{name}.tif", np.ones((5, 5), np.uint8))
    (tmp_path / "names.txt").write_text("c\na\n")
    text = "[data]\nimages = 'images'\nlabels = 'labels'\nnames = 'names.txt'"
    found = find_images(read_config(write(tmp_path, text)))
    assert [image.name for image in found] == ["c", "a"]
    (tmp_path / "index.csv").write_text("image,labels\nimages/b.tif,labels/b.tif\n")
    found = find_images(read_config(write(tmp_path, "[data]\nindex = 'index.csv'")))
    assert [image.name for image in found] == ["images/b.tif"]
    missing = write(tmp_path, "[data]\nimages = 'images'\ncoco = 'no.json'")
    with pytest.raises(ImageError, match=r"no\.json"):
        find_images(read_config(missing))
