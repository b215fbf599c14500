# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from napari_sam.io.user_data import journal_folder, user_data_folder


def test_variable_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM_DATA_DIR", str(tmp_path / "data"))
    assert user_data_folder() == tmp_path / "data"
    assert journal_folder() == tmp_path / "data" / "journals"
    assert not (tmp_path / "data").exists()


def test_folder_without_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM_DATA_DIR", "")
    monkeypatch.setattr("platformdirs.user_data_path", lambda name: tmp_path / name)
    assert user_data_folder() == tmp_path / "napari-sam-live"


def test_home_is_understood(monkeypatch):
    monkeypatch.setenv("NAPARI_SAM_DATA_DIR", "~/sam")
    assert user_data_folder() == Path.home() / "sam"
