# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

import napari_sam
from napari_sam._bridge.key_table import ACTIONS
from napari_sam._bridge.preferences import (
    EmbeddingSettings,
    embedding_settings,
    save_embedding_settings,
    wanted_keys,
)

PATH = Path(napari_sam.__file__).with_name("napari.yaml")


def test_keys_come_from_napari_s_preferences(plugin_settings, npe2pm):
    pytest.importorskip("napari", minversion="0.9.0")
    from napari.settings import get_plugin_settings

    with npe2pm.tmp_plugin(manifest=str(PATH)):
        assert wanted_keys() == {a.action_id: a.key for a in ACTIONS}
        get_plugin_settings("napari-sam-live").keys.accept = "F5"
        assert wanted_keys()["accept"] == "F5"


def test_what_is_kept_comes_from_napari_s_preferences(plugin_settings, npe2pm):
    pytest.importorskip("napari", minversion="0.9.0")
    from napari.settings import get_plugin_settings

    with npe2pm.tmp_plugin(manifest=str(PATH)):
        assert embedding_settings() == EmbeddingSettings()
        chosen = EmbeddingSettings(
            is_on_disk=False,
            max_gib=2.5,
            is_half=True,
            folder="elsewhere",
            is_ahead=False,
        )
        save_embedding_settings(chosen)
        assert embedding_settings() == chosen
        assert get_plugin_settings("napari-sam-live").embeddings.limit_gib == 2.5


def test_without_preferences_the_defaults_hold(monkeypatch):
    monkeypatch.setattr("napari_sam._bridge.preferences._settings", lambda: None)
    assert wanted_keys() == {}
