# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

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


def finished(folder, about=ABOUT, **options):
    with open_store(folder, about, **options) as store:
        return store.finished()


def keep(folder, *numbers):
    with open_store(folder, ABOUT) as store:
        for number in numbers:
            store.put(number, content(number))


def test_finished_tiles_are_there_again(folder):
    assert finished(folder) == set()
    keep(folder, 0, 5, 1234)
    assert finished(folder) == {0, 5, 1234}
    with open_store(folder, ABOUT) as again:
        assert again.get(1234).box == (1234, 0, 1242, 8)
        assert again.get(1) is None


def test_only_some_results_stay_in_memory(folder):
    keep(folder, *range(4))
    with open_store(folder, ABOUT, n_cached=2) as store:
        kept = store.get(3)
        assert store.get(3) is kept
        store.get(0), store.get(1)
        assert store.get(3) is not kept


def test_the_manifest_says_what_was_done(folder):
    keep(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format"] == "napari-sam tiles"
    assert manifest["version"] == 1
    assert manifest["about"]["points_per_side"] == 16


def test_another_setting_is_refused_and_named(folder):
    keep(folder, 0)
    with pytest.raises(SettingsError, match="points_per_side was 16 and is 32"):
        open_store(folder, ABOUT | {"points_per_side": 32})
    assert finished(folder) == {0}


def test_anew_throws_away_only_what_is_different(folder):
    keep(folder, 0)
    (folder / "a_labels.zarr").mkdir()  # of a result that was not complete
    assert finished(folder, anew=True) == {0}
    other = ABOUT | {"points_per_side": 32}
    assert finished(folder, other, anew=True) == set()
    assert finished(folder, other) == set()
    assert not (folder / "a_labels.zarr").exists()


def test_damaged_tiles_are_made_again(folder):
    keep(folder, 3, 4)
    (folder / "000" / "000003.npz").write_bytes(b"half")
    assert finished(folder) == {4}
    with open_store(folder, ABOUT) as store:
        assert store.get(3) is None


def test_foreign_folders_are_left_alone(folder):
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    for anew in (False, True):
        with pytest.raises(OutputError, match="something else"):
            open_store(folder, ABOUT, anew=anew)
    assert (folder / "thesis.txt").read_text() == "mine"


def test_what_a_deletion_left_is_cleared(folder):
    keep(folder, 0)
    (folder / "manifest.json").unlink()  # a deletion that was cut off
    assert finished(folder) == set()


def test_removed_is_gone(folder):
    store = open_store(folder, ABOUT)
    store.put(0, content(0))
    store.remove()
    assert not folder.exists()
    assert store.get(0) is None
    assert finished(folder) == set()  # and free for others


def test_a_newer_format_is_not_touched(folder):
    keep(folder)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(OutputError):
        open_store(folder, ABOUT, anew=True)


@pytest.mark.parametrize("anew", [False, True])
def test_tiles_belong_to_one_run_at_a_time(folder, anew):
    with open_store(folder, ABOUT) as store:
        store.put(0, content(0))
        other = ABOUT | {"points_per_side": 32} if anew else ABOUT
        with pytest.raises(OutputError, match="another process works on the same"):
            open_store(folder, other, anew=anew)
        assert store.finished() == {0}
    assert finished(folder) == {0}


def test_what_another_run_begins_during_a_deletion_is_its_own(folder, monkeypatch):
    """The folder is free, and taken, between the deletion of its lock and its own."""
    store = open_store(folder, ABOUT)
    real, others = Path.rmdir, []

    def rmdir(path):
        if path == folder and not others:
            others.append(open_store(folder, ABOUT))
            others[0].put(7, content(7))
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rmdir", rmdir)
        store.remove()
    with others[0] as other:
        assert other.finished() == {7}


def test_a_refused_run_leaves_the_tiles_free(folder):
    keep(folder, 0)
    with pytest.raises(SettingsError):
        open_store(folder, {"image": "b.tif"})
    assert finished(folder) == {0}
