# SPDX-License-Identifier: Apache-2.0
"""Models trained here are listed, loaded, renamed and deleted like others."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

import napari_sam
from napari_sam.errors import (
    CheckpointError,
    OutputError,
    SettingsError,
    UnknownModelError,
    WeightsError,
)
from napari_sam.weights import store, trained
from napari_sam.weights.catalogue import CATALOGUE, get_row, list_models

MINI = Path(__file__).parents[1] / "data" / "parity" / "mini.safetensors"
PUBLISHED = [row.name for row in CATALOGUE]
CARD = {"architecture": "vit_48x4_256", "trained_for": "blobs", "licence": "CC0"}


def add(name="blobs", **card):
    return trained.add(
        lambda path: shutil.copyfile(MINI, path) and None,
        CARD | card,
        "# Card",
        name=name,
        taken=PUBLISHED,
    )


def test_a_model_is_found_and_loaded_by_name():
    assert trained.trained_rows() == ()
    row = add()
    assert get_row("blobs") == row
    assert list_models()[-1] == "blobs"
    assert store.installed()[-1] == "blobs"
    status = store.status_rows()[-1]
    assert status.row == row
    assert status.state == "installed"
    assert status.text == "trained here, 1.5 MB"
    assert status.is_removable
    assert (row.kind, row.licence, row.trained_for) == ("trained", "CC0", "blobs")
    sam = napari_sam.load_model("blobs", device="cpu")
    assert sam.name == "blobs"
    assert sam.digest == hashlib.sha256(MINI.read_bytes()).hexdigest()
    assert store.verify("blobs").ok
    card = trained.read_card("blobs")
    assert card["weights"] == {"sha256": sam.digest, "bytes": MINI.stat().st_size}
    assert (trained.models_folder() / "blobs" / "card.md").read_text() == "# Card"


def test_changed_weights_are_not_used():
    row = add()
    with (row.folder / row.filename).open("ab") as file:
        file.write(b"x")
    status = store.status("blobs", check=True)
    assert status.state == "mismatch"
    assert "changed since" in status.text
    with pytest.raises(WeightsError, match="unchanged"):
        napari_sam.load_model("blobs")
    assert not store.verify("blobs").ok


def test_lost_weights_say_so():
    row = add()
    (row.folder / row.filename).unlink()
    status = store.status("blobs")
    assert status.state == "absent"
    assert "its file is gone" in status.text
    with pytest.raises(WeightsError, match="trained on this machine"):
        napari_sam.load_model("blobs")
    store.delete("blobs")
    assert "blobs" not in list_models()


def test_another_architecture_than_the_card_says_is_refused():
    add(architecture="vit_b")
    with pytest.raises(CheckpointError, match="vit_b"):
        napari_sam.load_model("blobs")


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"format": "x"}', "\xff\xfe"])
def test_damaged_cards_are_seen_and_can_be_deleted(content):
    row = add()
    (row.folder / "card.json").write_text(content, encoding="latin-1")
    (row,) = trained.trained_rows()
    assert "damaged" in row.trained_for
    assert store.find("blobs") is None
    with pytest.raises(WeightsError, match=r"card\.json"):
        trained.read_card("blobs")
    assert store.delete("blobs") > MINI.stat().st_size
    assert trained.trained_rows() == ()
    assert not row.folder.exists()


def test_rename():
    add()
    row = trained.rename("blobs", "cells-2", taken=PUBLISHED)
    assert list_models()[-1] == row.name == "cells-2"
    assert store.status("cells-2").state == "installed"
    assert napari_sam.load_model("cells-2", device="cpu").name == "cells-2"
    with pytest.raises(UnknownModelError, match="cells-2"):
        get_row("blobs")
    for old in ("blobs", "embedded", "../x", ""):
        with pytest.raises(WeightsError, match="cells-2"):
            trained.rename(old, "y", taken=PUBLISHED)
    for new in ("embedded", "EMBEDDED", "cells-2", "a/b", ""):
        with pytest.raises(SettingsError):
            trained.rename("cells-2", new, taken=PUBLISHED)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "../a",
        "a/b",
        ".hidden",
        "-x",
        "nul",
        "CON.x",
        "a" * 65,
        "é",
        "a.",
    ],
)
def test_names_that_are_not_allowed(name):
    with pytest.raises(SettingsError, match="cannot be the name"):
        add(name)
    assert trained.trained_rows() == ()


def test_names_are_taken_whatever_their_case():
    add()
    for name in ("blobs", "Blobs", "vit_b", "VIT_B"):
        with pytest.raises(SettingsError, match="already"):
            add(name)
    assert trained.free_name("blobs", PUBLISHED) == "blobs_2"
    assert trained.free_name("my cells (new)", PUBLISHED) == "my_cells_new"
    assert trained.free_name("nul", PUBLISHED) == "model_nul"
    assert trained.free_name("", PUBLISHED) == "model"


def test_a_write_that_fails_leaves_nothing():
    def fail(path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"No space left.*still there"):
        trained.add(fail, CARD, "", name="blobs")
    assert list(trained.models_folder().iterdir()) == []


def test_foreign_files_stay():
    row = add()
    (row.folder / "notes.txt").write_text("mine")
    (trained.models_folder() / ".draft").mkdir()
    (trained.models_folder() / "a file").write_text("x")
    assert [r.name for r in trained.trained_rows()] == ["blobs"]
    with pytest.raises(WeightsError, match="Cannot delete"):
        store.delete("blobs")
    assert (row.folder / "notes.txt").read_text() == "mine"


def test_the_offline_folder_does_not_stand_in(weights_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM_OFFLINE_DIR", str(tmp_path))
    row = add()
    (tmp_path / row.filename).write_bytes(b"other weights")
    assert store.find("blobs") == row.folder / row.filename


def test_card_is_plain_json():
    add()
    text = (trained.models_folder() / "blobs" / "card.json").read_text("utf-8")
    assert json.loads(text)["format"] == "napari-sam model card"
