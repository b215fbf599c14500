# SPDX-License-Identifier: Apache-2.0
"""The dock "Models", with a server of our own instead of the internet."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from dataclasses import replace

import pytest

from napari_sam._widgets.models_widget import ModelsWidget
from napari_sam.weights import catalogue, store
from napari_sam.weights.catalogue import get_row

CONTENT = b"weights" * 100_000


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Row vit_t, served from this machine with the right hash."""
    folder = tmp_path / "server"
    folder.mkdir()
    row = get_row("vit_t")
    (folder / row.filename).write_bytes(CONTENT)
    monkeypatch.setenv("NAPARI_SAM_CACHE_DIR", str(tmp_path / "weights"))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Stay silent."""

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    row = replace(
        row,
        url=f"http://127.0.0.1:{server.server_port}/{row.filename}",
        alternatives=(),
        bytes=len(CONTENT),
        hash=f"sha256:{hashlib.sha256(CONTENT).hexdigest()}",
    )
    rows = tuple(row if one.name == row.name else one for one in catalogue.CATALOGUE)
    monkeypatch.setattr(store, "CATALOGUE", rows)
    monkeypatch.setitem(catalogue._BY_NAME, row.name, row)
    yield row
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def widget(served, docked):
    widget = docked(ModelsWidget)
    widget.select("vit_t")
    return widget


def test_download_verify_delete(widget, served, wait):
    assert widget.download.isEnabled()
    assert not widget.delete.isEnabled()
    told = []
    widget.session.weights_changed.connect(lambda: told.append(1))
    widget.download.click()
    assert widget.cancel.isEnabled()
    assert not widget.download.isEnabled()
    wait(lambda: "Saved as" in widget.message.text())
    assert told
    assert store.status("vit_t").state == "installed"
    widget.verify.click()
    wait(lambda: "genuine" in widget.message.text())
    assert widget.delete.isEnabled()
    widget.delete.click()
    assert store.status("vit_t").state == "absent"
    assert widget.download.isEnabled()


def test_wrong_file_is_told_and_leaves_nothing(widget, served, wait, notices, tmp_path):
    (tmp_path / "server" / served.filename).write_bytes(b"something else")
    widget.download.click()
    wait(lambda: notices)
    assert served.filename in notices[0]
    assert store.status("vit_t").state == "absent"
    assert widget.download.isEnabled()


def test_cancelled_download_leaves_nothing(widget, wait, notices):
    widget.download.click()
    widget.cancel.click()
    wait(lambda: widget.download.isEnabled() or widget.delete.isEnabled())
    text = widget.message.text()
    assert "Cancelled" in text or "Saved" in text  # it may have been too fast
    assert notices == []


def test_every_row_is_listed_with_its_licence(widget):
    assert widget.rows.topLevelItemCount() == len(store.CATALOGUE)
    for row in store.CATALOGUE:
        widget.select(row.name)
        assert (row.licence or "unconfirmed") in widget.details.text()
        if row.kind == "link":
            assert not widget.download.isEnabled()
            assert row.filename in widget.details.text()


def test_offline_folder(widget, wait, notices, tmp_path, monkeypatch, served):
    monkeypatch.setattr(
        "napari_sam.weights.locations.settings_path", lambda: tmp_path / "s.json"
    )
    folder = tmp_path / "offline"
    widget.places.folder.setText(str(folder))
    widget.places.folder.editingFinished.emit()
    assert "does not exist" in notices[-1]
    folder.mkdir()
    (folder / served.filename).write_bytes(CONTENT)
    widget.places.folder.setText(str(folder))
    widget.places.folder.editingFinished.emit()
    widget.select("vit_t")
    assert str(folder) in widget.details.text()
    assert not widget.delete.isEnabled()  # not ours to remove


def test_own_file_becomes_a_model(widget, wait):
    from pathlib import Path

    from napari_sam._bridge.model_holder import LoadedModel

    mini = Path(__file__).parents[1] / "data" / "parity" / "mini.safetensors"
    widget.use_file(mini)
    wait(lambda: isinstance(widget.session.models.status, LoadedModel))
    assert widget.session.checkpoints == [mini]
