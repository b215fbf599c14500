# SPDX-License-Identifier: Apache-2.0
import hashlib

import pytest

from napari_sam.weights.catalogue import CATALOGUE, get_row
from napari_sam.weights.locations import current_locations


@pytest.fixture
def placed_vit_t():
    """A file at the place of a published one; its content is wrong."""
    path = current_locations().root / get_row("vit_t").filename
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"these are no weights")
    yield path
    path.unlink(missing_ok=True)


def test_list_names_every_model(run):
    short, long = run("models"), run("models", "list")
    assert short.code == long.code == 0
    assert short.out == long.out
    for row in CATALOGUE:
        assert row.name in short.out
    assert "not installed, 375.0 MB to download" in short.out


def test_info_tells_what_is_known(run):
    outcome = run("models", "info", "vit_b")
    assert outcome.code == 0
    for text in ("375.0 MB", "Apache-2.0", "sha256:ec2df62", "arXiv:2304.02643"):
        assert text in outcome.out.replace("\n" + " " * 17, "")


def test_unknown_name_lists_the_known(run):
    for word in ("info", "download", "verify", "delete", "path"):
        outcome = run("models", word, "vit_z")
        assert outcome.code == 2, word
        assert "Choose one of: embedded, vit_t" in outcome.err


def test_path_of_folder_and_file(run, monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_SAM_CACHE_DIR", str(tmp_path / "w"))
    monkeypatch.setenv("NAPARI_SAM_OFFLINE_DIR", str(tmp_path / "off"))
    outcome = run("models", "path")
    assert str(tmp_path / "w") in outcome.out
    assert str(tmp_path / "off") in outcome.out
    outcome = run("models", "path", "vit_b")
    assert outcome.out.strip() == str(tmp_path / "w" / get_row("vit_b").filename)


def test_verify_refuses_a_false_file(run, placed_vit_t):
    outcome = run("models", "verify", "vit_t")
    assert outcome.code == 2
    assert "WRONG" in outcome.out
    assert hashlib.sha256(placed_vit_t.read_bytes()).hexdigest() in outcome.out
    assert "download it again" in outcome.err
    assert run("models", "verify", "vit_b").code == 2


def test_delete(run, placed_vit_t):
    outcome = run("models", "delete", "vit_t")
    assert outcome.code == 0
    assert not placed_vit_t.exists()
    assert run("models", "delete", "vit_t").code == 2
    assert run("models", "delete", "embedded").code == 2


def test_download_that_fails_tells_what_to_do(run, monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_SAM_CACHE_DIR", str(tmp_path / "w"))
    link = next(row for row in CATALOGUE if row.kind == "link")
    outcome = run("models", "download", link.name)
    assert outcome.code == 2
    assert "by hand" in outcome.err
    assert str(tmp_path / "w" / link.filename) in outcome.err


def test_download_from_a_mirror(run, monkeypatch, tmp_path):
    import http.server
    import threading

    content = b"weights" * 1000
    row = get_row("vit_t")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / row.filename).write_bytes(content)
    changed = _with_hash(row, content)
    monkeypatch.setattr("napari_sam._cli.models.get_row", lambda _name: changed)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "served"))

        def log_message(self, *_args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("NAPARI_SAM_MIRROR", address)
        monkeypatch.setenv("NAPARI_SAM_CACHE_DIR", str(tmp_path / "w"))
        outcome = run("models", "download", "vit_t")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "w" / row.filename).read_bytes() == content
    assert str(tmp_path / "w" / row.filename) in outcome.out


def _with_hash(row, content):
    import dataclasses

    digest = hashlib.sha256(content).hexdigest()
    return dataclasses.replace(row, hash=f"sha256:{digest}", bytes=len(content))
