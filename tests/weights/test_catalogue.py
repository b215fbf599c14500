# SPDX-License-Identifier: Apache-2.0
import dataclasses
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from napari_sam.errors import NapariSamError, UnknownModelError
from napari_sam.modeling.registry import list_architectures
from napari_sam.weights.catalogue import (
    CATALOGUE,
    format_bytes,
    get_row,
    list_models,
)

REPOSITORY = Path(__file__).parents[2]
HASH_LENGTHS = {"sha256": 64, "xxh128": 32}


def test_default_model_comes_first_and_names_are_unique():
    assert list_models()[0] == "embedded"
    assert len(set(list_models())) == len(CATALOGUE)


def test_filenames_are_unique_and_plain():
    names = [row.filename for row in CATALOGUE]
    assert len(set(names)) == len(names)
    assert all(Path(name).name == name for name in names)


@pytest.mark.parametrize("row", CATALOGUE, ids=lambda row: row.name)
def test_row_is_complete(row):
    assert row.architecture in list_architectures()
    assert row.citation
    assert row.trained_for
    assert Path(row.filename).suffix in {".pth", ".pt", ".safetensors"}
    assert get_row(row.name) is row
    if row.hash is not None:
        algorithm, _, digest = row.hash.partition(":")
        assert re.fullmatch(rf"[0-9a-f]{{{HASH_LENGTHS[algorithm]}}}", digest)
    for url in (row.url, *row.alternatives):
        assert url is None or url.startswith("https://")


@pytest.mark.parametrize("row", CATALOGUE, ids=lambda row: row.name)
def test_only_rows_with_hash_and_licence_are_downloads(row):
    if row.kind == "download":
        assert row.hash
        assert row.licence
        assert row.bytes
        assert row.instructions == ""
    elif row.kind == "link":
        assert row.hash is None or row.licence is None
        assert row.filename in row.instructions
        assert row.url
    else:
        assert row.name == "embedded"


def test_kind_follows_from_what_is_known():
    row = get_row("vit_b")
    assert row.kind == "download"
    assert dataclasses.replace(row, hash=None).kind == "link"
    assert dataclasses.replace(row, licence=None).kind == "link"
    assert dataclasses.replace(row, url=None).kind == "link"


def test_unconfirmed_and_restricted_weights_are_links():
    for name in ("vit_b_lm", "vit_t_em_organelles", "vit_h_histopathology"):
        assert get_row(name).licence is None
    for name in ("vit_b_lm", "vit_b_medical_imaging", "medsam_vit_b", "cellsam"):
        assert get_row(name).kind == "link"
    assert "non-commercial" in (get_row("cellsam").licence or "")


def test_base_models_have_their_published_sizes():
    sizes = [get_row(name).bytes for name in ("vit_t", "vit_b", "vit_l", "vit_h")]
    assert sizes == [40_728_226, 375_042_383, 1_249_524_607, 2_564_550_879]


def test_rows_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_row("vit_b").hash = None  # type: ignore[misc]


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("vitb", "vit_b"), ("VIT_L", "vit_l"), ("vit_b_ml", "vit_b_lm")],
)
def test_unknown_name_lists_choices_and_suggests(wrong, meant):
    with pytest.raises(UnknownModelError) as caught:
        get_row(wrong)
    text = str(caught.value)
    assert f"Did you mean '{meant}'?" in text
    assert all(name in text for name in list_models())
    assert isinstance(caught.value, NapariSamError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("wrong", ["qqqqq", "", None, 3])
def test_unknown_name_without_likeness(wrong):
    with pytest.raises(UnknownModelError, match="Choose one of: embedded"):
        get_row(wrong)


def test_sizes_are_written_for_people():
    assert format_bytes(2_564_550_879) == "2.56 GB"
    assert format_bytes(40_728_226) == "40.7 MB"
    assert format_bytes(1_500) == "1.5 kB"
    assert format_bytes(None) == "size unknown"


def test_model_page_is_up_to_date():
    path = REPOSITORY / "scripts" / "make_model_table.py"
    spec = importlib.util.spec_from_file_location("make_model_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.PAGE.read_text(encoding="utf-8")
    assert page == module.render(), "run: python scripts/make_model_table.py"


def test_looking_things_up_imports_nothing_heavy():
    code = (
        "import sys; import napari_sam.weights.catalogue, napari_sam.weights.store,"
        " napari_sam.weights.download as d;"
        "heavy = {'torch', 'pooch', 'requests', 'numpy', 'napari', 'qtpy'};"
        "print(', '.join(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
