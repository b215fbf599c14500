# SPDX-License-Identifier: Apache-2.0
"""Downloads against a server on this machine that misbehaves on request."""

import errno
import hashlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pooch
import pytest
import xxhash

from napari_sam.errors import Cancelled, DownloadError, WeightsError
from napari_sam.weights import download, locations, store
from napari_sam.weights.model_row import ModelRow

CONTENT = bytes(range(256)) * 2000  # 512 kB, several chunks


@pytest.fixture
def make_row(server):
    server.content = CONTENT

    def make(kind="good", **changes) -> ModelRow:
        values = {
            "name": "tiny",
            "architecture": "vit_t",
            "url": f"{server.base}/{kind}/tiny.pt",
            "bytes": len(CONTENT),
            "hash": "sha256:" + hashlib.sha256(CONTENT).hexdigest(),
            "licence": "CC0-1.0",
            "citation": "nobody",
            "trained_for": "tests",
            "instructions": "",
            "filename": "tiny.pt",
        }
        return ModelRow(**{**values, **changes})

    return make


@pytest.fixture(autouse=True)
def root(weights_folder):
    return weights_folder


def left_behind(root):
    """Everything but finished weights and the digest memory."""
    return [path for path in root.rglob("*") if path.is_file() or "tiny" in path.name]


def assert_clean_failure(caught, root, row):
    text = str(caught.value)
    assert row.url in text
    assert row.hash in text
    assert str(root / row.filename) in text
    assert left_behind(root) == []


def test_file_arrives_once(make_row, root, server, capfd):
    row = make_row()
    path = download.fetch(row)
    assert path == root / "tiny.pt"
    assert path.read_bytes() == CONTENT
    assert list((root / download.PARTIAL_DIR).iterdir()) == []
    assert download.fetch(row) == path
    assert server.requested == ["/good/tiny.pt"]
    assert capfd.readouterr() == ("", "")
    assert not pooch.get_logger().filters, "pooch's own logging is left as it was"


def test_downloaded_file_is_not_hashed_a_second_time(make_row, monkeypatch):
    row = make_row()
    download.fetch(row)
    monkeypatch.setattr(store.digests, "compute", None)
    assert store.status(row).state == "installed"


@pytest.mark.parametrize("kind", ["good", "unsized", "redirect"])
def test_progress_runs_to_the_end(make_row, monkeypatch, kind):
    monkeypatch.setattr(download, "_PROGRESS_INTERVAL_S", 0.0)
    told = []
    download.fetch(make_row(kind), progress=lambda *now: told.append(now))
    done = [now[0] for now in told]
    assert len(told) > 5
    assert done == sorted(done)
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert {total for _, total in told} == {len(CONTENT)}


def test_progress_is_told_in_moderation(make_row):
    told = []
    start = time.monotonic()
    download.fetch(make_row(), progress=lambda *now: told.append(now))
    assert len(told) <= 3 + 10 * (time.monotonic() - start)


def test_xxh128_guards_as_well(make_row):
    good = make_row(hash="xxh128:" + xxhash.xxh128(CONTENT).hexdigest())
    assert download.fetch(good).is_file()
    with pytest.raises(DownloadError, match="XXH128"):
        download.fetch(make_row(hash="xxh128:" + "0" * 32, filename="other.pt"))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("wrong", "does not match"),
        ("cut", "(?i)connection broken|incomplete"),
        ("missing", "404"),
        ("broken", "500"),
    ],
)
def test_failure_leaves_nothing_and_the_next_try_starts_clean(
    make_row, root, kind, reason
):
    row = make_row(kind)
    with pytest.raises(DownloadError, match=reason) as caught:
        download.fetch(row)
    assert_clean_failure(caught, root, row)
    assert store.find(row) is None
    assert download.fetch(make_row("good")).read_bytes() == CONTENT


def test_wrong_hash_is_shown_beside_the_right_one(make_row):
    """Lesson 22: weights: a local file is enough, hashes count, nothing is fetched
    in silence.
    """
    wrong = hashlib.sha256(CONTENT[::-1]).hexdigest()
    with pytest.raises(DownloadError, match=wrong):
        download.fetch(make_row("wrong"))


def test_dead_line_times_out(make_row, root, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_S", (2.0, 0.3))
    row = make_row("dead")
    with pytest.raises(DownloadError, match="timed out") as caught:
        download.fetch(row)
    assert_clean_failure(caught, root, row)


def test_nobody_answers(make_row, root, server):
    server.shutdown()
    server.server_close()
    row = make_row()
    with pytest.raises(DownloadError) as caught:
        download.fetch(row)
    assert_clean_failure(caught, root, row)


def test_senseless_address(make_row):
    with pytest.raises(DownloadError):
        download.fetch(make_row(url="http://[not-an-address/tiny.pt"))


def test_cancel_midway_keeps_nothing(make_row, root, server):
    cancel = threading.Event()
    row = make_row("slow")
    with pytest.raises(Cancelled, match="'tiny' was cancelled"):
        download.fetch(row, progress=lambda done, total: cancel.set(), cancel=cancel)
    server.released.set()
    assert left_behind(root) == []
    assert download.fetch(make_row("good"), cancel=threading.Event()).is_file()


def test_cancel_before_the_start_asks_nobody(make_row, root, server):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        download.fetch(make_row(), cancel=cancel)
    assert server.requested == []
    assert not root.exists()


class FullDisk(io.BytesIO):
    def write(self, data):
        if self.tell() + len(data) > 100_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


def test_disk_that_fills_up(make_row, root, server, monkeypatch):
    monkeypatch.setattr(
        pooch.downloaders, "open", lambda *args: FullDisk(), raising=False
    )
    row = make_row(alternatives=(f"{server.base}/good/again.pt",))
    with pytest.raises(DownloadError, match="disk is full") as caught:
        download.fetch(row)
    assert locations.CACHE_DIR_VARIABLE in str(caught.value)
    assert_clean_failure(caught, root, row)
    assert server.requested == ["/good/tiny.pt"], "another address does not help"


def test_too_little_space_is_noticed_before(make_row, root, server):
    row = make_row(bytes=10**18)
    with pytest.raises(DownloadError, match=r"disk is full.*only .* free") as caught:
        download.fetch(row)
    assert_clean_failure(caught, root, row)
    assert server.requested == []


def test_folder_that_cannot_be_made(make_row, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    blocked = tmp_path / "file" / "weights"
    monkeypatch.setenv(locations.CACHE_DIR_VARIABLE, str(blocked))
    with pytest.raises(DownloadError, match=locations.CACHE_DIR_VARIABLE) as caught:
        download.fetch(make_row())
    assert str(blocked) in str(caught.value)


def test_read_only_folder(make_row, root, monkeypatch, server):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", kwargs["dir"])

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(DownloadError, match="Permission denied") as caught:
        download.fetch(make_row())
    assert locations.CACHE_DIR_VARIABLE in str(caught.value)
    assert server.requested == []


def test_mirror_is_asked_first(make_row, server, monkeypatch):
    monkeypatch.setenv(locations.MIRROR_VARIABLE, f"{server.base}/mirror/")
    assert download.fetch(make_row()).read_bytes() == CONTENT
    assert server.requested == ["/mirror/tiny.pt"]


@pytest.mark.parametrize("kind", ["missing", "wrong", "cut"])
def test_publisher_is_asked_when_the_mirror_fails(make_row, server, root, kind):
    places = locations.Locations(root=root, mirror=f"{server.base}/{kind}")
    assert download.fetch(make_row(), locations=places).read_bytes() == CONTENT
    assert server.requested == [f"/{kind}/tiny.pt", "/good/tiny.pt"]


def test_every_address_is_tried_and_named(make_row, server, root):
    row = make_row("missing", alternatives=(f"{server.base}/broken/copy.pt",))
    with pytest.raises(DownloadError) as caught:
        download.fetch(row)
    assert server.requested == ["/missing/tiny.pt", "/broken/copy.pt"]
    assert "404" in str(caught.value)
    assert "500" in str(caught.value)
    good = make_row("missing", alternatives=(f"{server.base}/good/copy.pt",))
    assert download.fetch(good) == root / "tiny.pt"


def test_progress_starts_anew_with_the_next_address(make_row, monkeypatch, server):
    monkeypatch.setattr(download, "_PROGRESS_INTERVAL_S", 0.0)
    told = []
    row = make_row("wrong", alternatives=(f"{server.base}/good/copy.pt",))
    download.fetch(row, progress=lambda *now: told.append(now))
    done = [now[0] for now in told]
    restart = next(i for i in range(1, len(done)) if done[i] < done[i - 1])
    assert done[restart:] == sorted(done[restart:])


def test_offline_folder_needs_no_network(make_row, server, root, tmp_path):
    """Lesson 22: weights: a local file is enough, hashes count, nothing is fetched
    in silence.
    """
    offline = tmp_path / "share"
    offline.mkdir()
    (offline / "tiny.pt").write_bytes(CONTENT)
    places = locations.Locations(root=root, offline_dir=offline)
    assert download.fetch(make_row(), locations=places) == offline / "tiny.pt"
    assert server.requested == []


def test_damaged_offline_file_is_not_taken(make_row, server, root, tmp_path):
    (tmp_path / "tiny.pt").write_bytes(CONTENT[:-1])
    places = locations.Locations(root=root, offline_dir=tmp_path)
    assert download.fetch(make_row(), locations=places) == root / "tiny.pt"
    assert (tmp_path / "tiny.pt").read_bytes() == CONTENT[:-1]


def test_wrong_file_under_the_name_is_replaced_only_by_the_right_one(make_row, root):
    root.mkdir()
    target = root / "tiny.pt"
    target.write_bytes(b"something else")
    with pytest.raises(DownloadError, match="its hash is another"):
        download.fetch(make_row("cut"))
    assert target.read_bytes() == b"something else"
    assert download.fetch(make_row()).read_bytes() == CONTENT


@pytest.mark.parametrize("unknown", ["hash", "licence"])
def test_link_is_never_downloaded(make_row, server, root, monkeypatch, unknown):
    monkeypatch.setenv(locations.MIRROR_VARIABLE, f"{server.base}/mirror")
    row = make_row(**{unknown: None}, instructions="Ask the authors for tiny.pt.")
    with pytest.raises(WeightsError, match="Ask the authors") as caught:
        download.fetch(row)
    assert str(root / "tiny.pt") in str(caught.value)
    assert server.requested == []
    root.mkdir()
    (root / "tiny.pt").write_bytes(CONTENT)
    assert download.fetch(row) == root / "tiny.pt"


def test_packaged_weights_are_never_downloaded(make_row, tmp_path, monkeypatch, server):
    monkeypatch.setattr(store, "_package_path", lambda row: tmp_path / row.filename)
    row = make_row(packaged=True)
    with pytest.raises(WeightsError, match=r"Install napari-sam-live again"):
        download.fetch(row)
    (tmp_path / "tiny.pt").write_bytes(CONTENT)
    assert download.fetch(row) == tmp_path / "tiny.pt"
    assert server.requested == []


def test_two_at_once(make_row, root):
    paths = []
    threads = [
        threading.Thread(target=lambda: paths.append(download.fetch(make_row())))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [root / "tiny.pt"] * 4
    assert paths[0].read_bytes() == CONTENT


def test_remains_of_the_dead_are_swept_and_the_living_spared(make_row, root):
    dead = root / download.PARTIAL_DIR / "tiny-dead"
    alive = root / download.PARTIAL_DIR / "tiny-alive"
    for folder in (dead, alive):
        folder.mkdir(parents=True)
        (folder / "part").write_bytes(CONTENT)
    long_ago = time.time() - 10_000
    for path in (dead / "part", dead, alive):
        os.utime(path, (long_ago, long_ago))
    download.fetch(make_row())
    assert not dead.exists()
    assert (alive / "part").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a way to kill")
def test_killed_process_leaves_no_file_under_the_name(make_row, root, server):
    row = make_row("slow")
    code = (
        "from napari_sam.weights.download import fetch\n"
        "from napari_sam.weights.model_row import ModelRow\n"
        f"fetch({row!r}, progress=lambda *now: print(now, flush=True))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    server.released.set()
    assert left_behind(root), "it was killed in the middle"
    assert store.find(row) is None
    assert download.fetch(make_row("good")).read_bytes() == CONTENT
