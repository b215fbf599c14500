# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManifest

import napari_sam
from napari_sam.io.sample_data import sample_names

PATH = Path(napari_sam.__file__).with_name("napari.yaml")


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_file(PATH)


def test_every_python_name_imports(manifest):
    manifest.validate_imports()


def test_keys_that_break_older_or_newer_napari_are_absent():
    text = PATH.read_text("utf-8")
    for key in ("default_dock_area", "tabify", "keybindings"):
        assert key not in text


def test_commands_are_named_after_the_plugin(manifest):
    assert manifest.name == "napari-sam-live"
    ids = [command.id for command in manifest.contributions.commands]
    assert all(one.startswith("napari-sam-live.") and ":" not in one for one in ids)
    assert len(ids) == len(set(ids))


def test_every_sample_is_offered_and_opens(manifest):
    keys = [sample.key for sample in manifest.contributions.sample_data]
    assert keys == list(sample_names())
    from napari.layers import Layer

    from napari_sam._bridge import sample_data

    for key in keys:
        image, truth = (Layer.create(*data) for data in getattr(sample_data, key)())
        assert image.data.shape[:2] == truth.data.shape
        assert np.unique(truth.data).size > 2
        np.testing.assert_array_equal(image.scale, truth.scale)
        assert image.metadata["napari-sam-live"]["licence"]


def test_preferences_page(plugin_settings, npe2pm):
    """napari 0.9 and later keeps the default model for us."""
    pytest.importorskip("napari", minversion="0.9.0")
    from napari.settings import get_plugin_settings

    from napari_sam._bridge.preferences import default_model

    with npe2pm.tmp_plugin(manifest=str(PATH)):
        assert default_model() == "embedded"
        get_plugin_settings("napari-sam-live").model.default = "vit_b"
        assert default_model() == "vit_b"
        get_plugin_settings("napari-sam-live").model.default = "no such model"
        assert default_model() == "embedded"
