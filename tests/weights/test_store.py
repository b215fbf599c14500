# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import os

import pytest
import xxhash

from napari_sam.errors import (
    NapariSamError,
    SettingsError,
    UnknownModelError,
    WeightsError,
)
from napari_sam.weights import digests, locations, store
from napari_sam.weights.catalogue import CATALOGUE, ModelRow, get_row

CONTENT = b"weights " * 1000


def make_row(**changes) -> ModelRow:
    values = {
        "name": "tiny",
        "architecture": "vit_t",
        "url": "https://example.org/tiny.pt",
        "bytes": len(CONTENT),
        "hash": "sha256:" + hashlib.sha256(CONTENT).hexdigest(),
        "licence": "CC0-1.0",
        "citation": "nobody",
        "trained_for": "tests",
        "instructions": "",
        "filename": "tiny.pt",
    }
    return ModelRow(**{**values, **changes})


@pytest.fixture
def row():
    return make_row()


@pytest.fixture
def placed(weights_folder, row):
    weights_folder.mkdir()
    path = weights_folder / row.filename
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def n_hashed(monkeypatch):
    """Counts how often a file was read in full."""
    calls = []
    compute = digests.compute
    monkeypatch.setattr(
        digests, "compute", lambda *args: calls.append(args) or compute(*args)
    )
    return calls


def test_nothing_is_found_in_a_folder_that_does_not_exist(weights_folder, row):
    assert store.find(row) is None
    assert store.status(row).state == "absent"
    assert not weights_folder.exists()


def test_file_is_found_where_the_program_says_to_put_it(weights_folder, row):
    path = store.place_by_hand_path(row)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert store.find(row) == path == weights_folder / "tiny.pt"


def test_hash_is_computed_once(placed, row, n_hashed):
    assert store.find(row) == placed
    assert store.find(row) == placed
    assert len(n_hashed) == 1


def test_changed_file_is_read_again_and_refused(placed, row, n_hashed):
    assert store.find(row) == placed
    placed.write_bytes(CONTENT[::-1])
    os.utime(placed, ns=(1, 1))
    assert store.find(row) is None
    assert store.status(row).state == "mismatch"
    assert len(n_hashed) == 2


def test_wrong_file_is_not_trusted_and_not_read_again(placed, n_hashed):
    wanted = make_row(hash="sha256:" + "0" * 64)
    assert store.find(wanted) is None
    assert store.find(wanted) is None
    assert len(n_hashed) == 1
    assert "its hash is another" in store.hand_instructions(wanted)


def test_a_corrected_catalogue_needs_no_new_reading(placed, row, n_hashed):
    assert store.find(make_row(hash="sha256:" + "0" * 64)) is None
    assert store.find(row) == placed
    assert len(n_hashed) == 1


def test_hash_by_another_algorithm(placed):
    row = make_row(hash="xxh128:" + xxhash.xxh128(CONTENT).hexdigest().upper())
    assert store.find(row) == placed
    assert store.find(make_row(hash="xxh128:" + "0" * 32)) is None


def test_row_without_hash_is_taken_as_it_is_and_says_so(placed):
    row = make_row(hash=None)
    assert store.find(row) == placed
    assert "no published hash" in store.status(row).text


@pytest.mark.parametrize("memory", ["", "[]", "{", '{"x": 3}'])
def test_broken_memory_is_no_obstacle(placed, row, weights_folder, memory):
    (weights_folder / digests.MEMORY_NAME).write_text(memory)
    assert store.find(row) == placed


def test_entry_of_foreign_form_is_ignored(placed, row, weights_folder):
    content = json.dumps({str(placed.resolve()): row.hash})
    (weights_folder / digests.MEMORY_NAME).write_text(content)
    assert store.find(row) == placed


def test_unwritable_memory_is_no_obstacle(placed, row, monkeypatch):
    def refuse(path, content):
        raise PermissionError(13, "read-only", str(path))

    monkeypatch.setattr(digests, "write_json", refuse)
    assert store.find(row) == placed


def test_offline_folder_is_searched_first_and_checked(
    placed, row, tmp_path, monkeypatch
):
    offline = tmp_path / "share"
    offline.mkdir()
    monkeypatch.setenv(locations.OFFLINE_DIR_VARIABLE, str(offline))
    assert store.find(row) == placed
    copy = offline / row.filename
    copy.write_bytes(b"damaged")
    assert store.find(row) == placed
    copy.write_bytes(CONTENT)
    assert store.find(row) == copy
    assert list(offline.iterdir()) == [copy], "the offline folder is never written"


def test_quick_status_reads_no_file(placed, row, n_hashed):
    assert store.status(row).state == "unverified"
    assert n_hashed == []
    assert store.status(row, check=True).state == "installed"
    assert store.status(row).state == "installed"


def test_status_tells_size_path_and_whose_file_it_is(
    placed, row, tmp_path, monkeypatch
):
    found = store.status(row, check=True)
    assert (found.path, found.size) == (placed, len(CONTENT))
    assert found.is_removable
    assert found.text == "installed, 8.0 kB"
    offline = tmp_path / "share"
    offline.mkdir()
    placed.rename(offline / row.filename)
    monkeypatch.setenv(locations.OFFLINE_DIR_VARIABLE, str(offline))
    assert not store.status(row, check=True).is_removable


def test_status_of_what_is_absent(weights_folder):
    assert "40.7 MB to download" in store.status("vit_t").text
    assert "by hand" in store.status("vit_b_lm").text


def test_status_rows_cover_the_catalogue(weights_folder, n_hashed):
    rows = store.status_rows()
    assert [found.row for found in rows] == list(CATALOGUE)
    assert n_hashed == []


def test_installed_lists_what_can_be_loaded(weights_folder, tmp_path, monkeypatch):
    package_file = tmp_path / "embedded.safetensors"
    package_file.write_bytes(CONTENT)
    monkeypatch.setattr(store, "_package_path", lambda row: package_file)
    weights_folder.mkdir()
    (weights_folder / get_row("medsam_vit_b").filename).write_bytes(CONTENT)
    (weights_folder / get_row("vit_b").filename).write_bytes(CONTENT)  # wrong hash
    assert store.installed() == ("embedded", "medsam_vit_b")


def test_packaged_weights(weights_folder, tmp_path, monkeypatch):
    package_file = tmp_path / "package" / "embedded.safetensors"
    monkeypatch.setattr(store, "_package_path", lambda row: package_file)
    assert store.find("embedded") is None
    assert "install it again" in store.status("embedded").text
    package_file.parent.mkdir()
    package_file.write_bytes(CONTENT)
    assert store.find("embedded") == package_file
    assert store.place_by_hand_path("embedded") == package_file
    assert not store.status("embedded").is_removable
    outcome = store.verify("embedded")
    assert outcome.ok
    assert outcome.actual == "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    assert list(package_file.parent.iterdir()) == [package_file]
    with pytest.raises(WeightsError, match="part of the package"):
        store.delete("embedded")
    assert package_file.exists()


def test_embedded_is_found_even_with_broken_settings(weights_folder):
    locations.settings_path().parent.mkdir()
    locations.settings_path().write_text("{")
    store.find("embedded")
    with pytest.raises(SettingsError, match=r"weights\.json"):
        store.find("vit_b")


def test_verify_reads_even_what_is_remembered(placed, row, n_hashed):
    store.find(row)
    stamp = placed.stat().st_mtime_ns
    placed.write_bytes(b"X" + CONTENT[1:])
    os.utime(placed, ns=(stamp, stamp))
    assert store.find(row) == placed, "size and time vouch for the file"
    outcome = store.verify(row)
    assert not outcome
    assert "WRONG" in outcome.text
    assert row.hash in outcome.text
    assert store.find(row) is None


def test_verify_genuine_and_missing(placed, row):
    outcome = store.verify(row)
    assert outcome
    assert outcome.path == placed
    assert "genuine" in outcome.text
    placed.unlink()
    with pytest.raises(WeightsError, match="nothing to verify") as caught:
        store.verify(row)
    assert str(placed) in str(caught.value)


def test_verify_of_unreadable_file(placed, row, monkeypatch):
    def fail(path, algorithm):
        raise OSError(5, "I/O error", str(path))

    monkeypatch.setattr(digests, "compute", fail)
    with pytest.raises(WeightsError, match="Cannot read"):
        store.verify(row)
    assert store.find(row) is None


def test_delete_frees_the_space_and_forgets(placed, row, weights_folder):
    store.find(row)
    assert store.delete(row) == len(CONTENT)
    assert not placed.exists()
    assert json.loads((weights_folder / digests.MEMORY_NAME).read_text()) == {}
    with pytest.raises(WeightsError, match="nothing was deleted"):
        store.delete(row)


def test_delete_leaves_the_offline_folder_alone(
    weights_folder, row, tmp_path, monkeypatch
):
    path = tmp_path / row.filename
    path.write_bytes(CONTENT)
    monkeypatch.setenv(locations.OFFLINE_DIR_VARIABLE, str(tmp_path))
    with pytest.raises(WeightsError, match="offline"):
        store.delete(row)
    assert path.exists()


def test_delete_of_a_file_in_use(placed, row, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "in use", str(self))

    monkeypatch.setattr(type(placed), "unlink", refuse)
    with pytest.raises(WeightsError, match="Close what uses the file"):
        store.delete(row)


@pytest.mark.parametrize(
    "ask",
    [store.find, store.status, store.verify, store.delete, store.place_by_hand_path],
)
def test_unknown_names_are_refused(weights_folder, ask):
    with pytest.raises(UnknownModelError, match="Did you mean 'vit_b'"):
        ask("vit-b")


def test_hand_instructions_name_everything_needed(weights_folder):
    """Lesson 22: weights: a local file is enough, hashes count, nothing is fetched
    in silence.
    """
    for row in CATALOGUE[1:]:
        text = store.hand_instructions(row)
        assert row.url in text
        assert str(weights_folder / row.filename) in text
        assert (row.hash or "none is published") in text
        assert locations.OFFLINE_DIR_VARIABLE in text
        assert (locations.MIRROR_VARIABLE in text) == (row.kind == "download")


def test_defaults_lie_in_the_users_cache(monkeypatch, weights_folder):
    monkeypatch.delenv(locations.CACHE_DIR_VARIABLE)
    root = locations.current_locations().root
    assert locations.APP_NAME in root.parts
    assert root.name == "weights"


def test_saved_settings_hold_until_a_variable_says_otherwise(
    weights_folder, tmp_path, monkeypatch
):
    folder = tmp_path / "share"
    folder.mkdir()
    locations.save_settings(offline_dir=folder, mirror="https://mirror.example/sam")
    places = locations.current_locations()
    assert places.offline_dir == folder
    assert places.mirror == "https://mirror.example/sam"
    monkeypatch.setenv(locations.OFFLINE_DIR_VARIABLE, "")
    monkeypatch.setenv(locations.MIRROR_VARIABLE, "http://other.example")
    places = locations.current_locations()
    assert places.offline_dir is None
    assert places.mirror == "http://other.example"
    monkeypatch.delenv(locations.MIRROR_VARIABLE)
    locations.save_settings(offline_dir=None, mirror=None)
    assert locations.current_locations().mirror is None


def test_senseless_settings_are_refused(weights_folder, tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match="does not exist"):
        locations.save_settings(offline_dir=tmp_path / "no", mirror=None)
    with pytest.raises(SettingsError, match="no web address"):
        locations.save_settings(offline_dir=None, mirror="/mnt/share")
    assert not locations.settings_path().exists()
    monkeypatch.setenv(locations.MIRROR_VARIABLE, "mirror.example")
    with pytest.raises(SettingsError, match="begins with http"):
        locations.current_locations()


def test_settings_that_cannot_be_saved(weights_folder, tmp_path):
    (tmp_path / "config").write_text("a file where a folder is needed")
    with pytest.raises(NapariSamError, match="Cannot save the settings"):
        locations.save_settings(offline_dir=None, mirror=None)
