# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from napari_sam.errors import OutputError, SettingsError
from napari_sam.io.tile_file import encode_tile
from napari_sam.io.tile_store import open_store
from napari_sam.structures.tile_result import TileResult

ABOUT = {"image": "a.tif", "points_per_side": 16, "tile_size": (8, 8)}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "a_tiles"


def content(number):
    return encode_tile(TileResult((number, 0, number + 8, 8)))


def test_finished_tiles_are_there_again(folder):
    store = open_store(folder, ABOUT)
    assert store.finished() == set()
    for number in (0, 5, 1234):
        store.put(number, content(number))
    again = open_store(folder, ABOUT)
    assert again.finished() == {0, 5, 1234}
    assert again.get(1234).box == (1234, 0, 1242, 8)
    assert again.get(1) is None


def test_only_some_results_stay_in_memory(folder):
    store = open_store(folder, ABOUT, n_cached=2)
    for number in range(4):
        store.put(number, content(number))
    kept = store.get(3)
    assert store.get(3) is kept
    store.get(0), store.get(1)
    assert store.get(3) is not kept


def test_the_manifest_says_what_was_done(folder):
    open_store(folder, ABOUT)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format"] == "napari-sam tiles"
    assert manifest["version"] == 1
    assert manifest["about"]["points_per_side"] == 16


def test_another_setting_is_refused_and_named(folder):
    open_store(folder, ABOUT).put(0, content(0))
    with pytest.raises(SettingsError, match="points_per_side was 16 and is 32"):
        open_store(folder, ABOUT | {"points_per_side": 32})
    assert open_store(folder, ABOUT).finished() == {0}


def test_anew_throws_away_only_what_is_different(folder):
    open_store(folder, ABOUT).put(0, content(0))
    assert open_store(folder, ABOUT, anew=True).finished() == {0}
    other = ABOUT | {"points_per_side": 32}
    assert open_store(folder, other, anew=True).finished() == set()
    assert open_store(folder, other).finished() == set()


def test_damaged_tiles_are_made_again(folder):
    store = open_store(folder, ABOUT)
    store.put(3, content(3))
    store.put(4, content(4))
    (folder / "000" / "000003.npz").write_bytes(b"half")
    assert open_store(folder, ABOUT).finished() == {4}
    assert open_store(folder, ABOUT).get(3) is None


def test_foreign_folders_are_left_alone(folder):
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    for anew in (False, True):
        with pytest.raises(OutputError, match="something else"):
            open_store(folder, ABOUT, anew=anew)
    assert (folder / "thesis.txt").read_text() == "mine"


def test_what_a_deletion_left_is_cleared(folder):
    store = open_store(folder, ABOUT)
    store.put(0, content(0))
    (folder / "manifest.json").unlink()  # a deletion that was cut off
    assert open_store(folder, ABOUT).finished() == set()


def test_removed_is_gone(folder):
    store = open_store(folder, ABOUT)
    store.put(0, content(0))
    store.remove()
    assert not folder.exists()
    assert store.get(0) is None


def test_a_newer_format_is_not_touched(folder):
    open_store(folder, ABOUT)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(OutputError):
        open_store(folder, ABOUT, anew=True)
