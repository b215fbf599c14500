# SPDX-License-Identifier: Apache-2.0
"""Models trained on this machine, where models are listed and chosen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from napari_sam._bridge.model_holder import LoadedModel
from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam._widgets.model_choice import ModelChoice
from napari_sam._widgets.models_widget import ModelsWidget
from napari_sam.weights import store, trained

MINI = Path(__file__).parents[1] / "data" / "parity" / "mini.safetensors"


def keep(name: str) -> None:
    card = {"architecture": "vit_48x4_256", "trained_for": "my blobs", "licence": "CC0"}
    trained.add(lambda path: shutil.copyfile(MINI, path) and None, card, "", name=name)


@pytest.fixture
def widget(docked):
    return docked(ModelsWidget)


def texts(choice):
    return [choice.models.itemText(i) for i in range(choice.models.count())]


def test_model_is_listed_described_verified_and_deleted(widget, wait):
    keep("blobs")
    widget.refresh()
    assert widget.rows.topLevelItemCount() == len(store.CATALOGUE) + 1
    widget.select("blobs")
    assert widget.rows.currentItem().text(1) == "yes"
    for text in ("my blobs", "CC0", "vit_48x4_256", "weights.safetensors"):
        assert text in widget.details.text()
    assert not widget.download.isEnabled()
    widget.verify.click()
    wait(lambda: "genuine" in widget.message.text())
    widget.delete.click()
    assert "blobs" in widget.message.text()
    assert trained.trained_rows() == ()
    assert widget.rows.topLevelItemCount() == len(store.CATALOGUE)


def test_lost_file_is_told(widget):
    keep("blobs")
    (trained.models_folder() / "blobs" / "weights.safetensors").unlink()
    widget.refresh()
    widget.select("blobs")
    assert widget.rows.currentItem().text(1) == "its file is gone"
    assert not widget.download.isEnabled()


def test_model_can_be_chosen_by_name_as_soon_as_it_is_told(widget, wait):
    choice = ModelChoice(widget.session)
    choice.connect()
    assert "blobs" not in texts(choice)
    keep("blobs")
    widget.session.weights_changed.emit()
    assert "blobs" in texts(choice)
    widget.session.use_model(ModelSpec("blobs", None, "cpu"))
    wait(lambda: isinstance(widget.session.models.status, LoadedModel))
    assert choice.spec == ModelSpec("blobs", None, "cpu")
    choice.disconnect()
