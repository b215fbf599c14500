# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam._bridge import preferences
from napari_sam._bridge.embeddings import chosen_folder, count_kept, shared_library
from napari_sam._bridge.preferences import embedding_settings
from napari_sam._widgets.models_widget import ModelsWidget
from napari_sam.structures.embedding import ImageEmbedding


@pytest.fixture(autouse=True)
def _without_preferences(monkeypatch):
    monkeypatch.setattr(preferences, "_settings", lambda: None)
    preferences._CHOSEN.clear()
    yield
    preferences._CHOSEN.clear()


def put(*numbers: int) -> None:
    for number in numbers:
        values = np.full((1, 256, 32, 32), number, np.float32)  # 1 MiB
        shared_library().put(
            ImageEmbedding(values, (), (9, 9), (9, 9), "m", f"{number:064x}", "d")
        )
    assert shared_library().flush()


@pytest.fixture
def panel(docked, wait):
    widget = docked(ModelsWidget)
    widget.kept.expand(animate=False)
    wait(lambda: "On disk" in widget.embeddings.text.text())
    return widget.embeddings


def shows(panel, text):
    return lambda: text in panel.text.text()


def test_it_says_how_much_there_is_and_clears_it(panel, wait):
    assert panel.text.text() == "In memory: none. On disk: none."
    put(1, 2)
    panel.refresh()
    wait(shows(panel, "In memory: 2 embeddings, 2.1 MB."))
    assert "On disk: 2 embeddings, 2.1 MB." in panel.text.text()
    panel.clear.click()
    assert not panel.clear.isEnabled()
    wait(shows(panel, "In memory: none. On disk: none."))
    assert panel.clear.isEnabled()
    assert list(chosen_folder().iterdir()) == []


def test_it_counts_from_time_to_time_while_it_is_shown(panel, wait):
    assert panel._timer.isActive()
    panel._timer.setInterval(20)
    put(1)
    wait(shows(panel, "On disk: 1 embedding"))
    panel.hide()
    assert not panel._timer.isActive()


def test_nothing_is_counted_while_it_is_folded_away(docked, wait):
    widget = docked(ModelsWidget)
    wait(lambda: not widget.session.is_busy)
    assert widget.embeddings.text.text() == "Counting ..."
    widget.kept.expand(animate=False)
    wait(shows(widget.embeddings, "On disk: none"))
    put(1)
    widget.kept.collapse(animate=False)
    widget.kept.expand(animate=False)
    wait(shows(widget.embeddings, "On disk: 1 embedding, 1.0 MB"))


def test_on_and_off(panel):
    panel.on_disk.click()
    assert not embedding_settings().is_on_disk
    assert shared_library().store is None
    assert not panel.limit.isEnabled()
    panel.on_disk.click()
    assert shared_library().store is not None
    assert panel.limit.isEnabled()


def test_half_precision_and_planes_ahead(panel):
    panel.half.click()
    assert shared_library().store.is_half
    assert embedding_settings().is_ahead
    panel.ahead.click()
    assert not embedding_settings().is_ahead


def test_a_lower_limit_removes_files(panel, wait):
    wanted = int(0.1 * 1024)
    put(*range(wanted + 10))
    panel.limit.setValue(0.1)
    panel.limit.editingFinished.emit()
    assert embedding_settings().max_gib == 0.1
    wait(lambda: count_kept().on_disk.n_bytes <= 0.1 * 2**30)
    assert count_kept().on_disk.n_embeddings > 80


def test_another_folder(panel, wait, tmp_path, monkeypatch):
    assert not panel.folder.isEnabled()  # the environment has said which
    monkeypatch.delenv("NAPARI_SAM_EMBEDDINGS_DIR")
    panel.refresh()
    assert panel.folder.isEnabled()
    put(1)
    monkeypatch.setattr(
        "qtpy.QtWidgets.QFileDialog.getExistingDirectory",
        lambda *_: str(tmp_path / "elsewhere"),
    )
    panel.choose.click()
    assert panel.folder.text() == str(tmp_path / "elsewhere")
    put(2)
    wait(shows(panel, "On disk"))
    assert [p.suffix for p in (tmp_path / "elsewhere").iterdir()] == [".safetensors"]
    panel.folder.setText("")
    panel.folder.editingFinished.emit()
    assert embedding_settings().folder == ""
    assert panel.folder.text() == str(chosen_folder())


def test_the_folder_is_opened_in_the_file_manager(panel, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "napari_sam._widgets.embeddings_panel.QDesktopServices.openUrl",
        lambda url: opened.append(url.toLocalFile()),
    )
    chosen_folder().rmdir()
    panel.show_folder.click()
    assert "Nothing was written" in panel.text.text()
    put(1)
    panel.show_folder.click()
    assert opened == [str(chosen_folder())]
