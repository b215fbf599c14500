# SPDX-License-Identifier: Apache-2.0
"""Folders of runs are worked in by one process and do not grow without end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_sam.errors import OutputError
from napari_sam.training.run_folder import (
    delete_run,
    locked,
    mark_begun,
    mark_finished,
    tidy_runs,
)

FEATURE = f"features/{'0123abcd' * 4}.safetensors"
HOLD = """
import sys
from pathlib import Path
from napari_sam.training.run_folder import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def make_run(folder, age=None):
    """What a run leaves; finished if it has an age."""
    (folder / "features").mkdir(parents=True)
    names = ("state.pt", "best.safetensors", "log.csv", "card.json", "card.md")
    for name in (*names, FEATURE, ".state-0123abcd.pt"):
        (folder / name).write_text("x")
    if age is not None:
        mark_finished(folder, "steps")
        os.utime(folder / "finished.txt", (1e9 - age, 1e9 - age))
    return folder


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_second_run_in_a_folder_is_refused_and_a_later_one_is_not(tmp_path):
    folder = tmp_path / "run"
    with (
        locked(folder),
        pytest.raises(OutputError, match="this program itself trains there"),
        locked(folder),
    ):
        pass
    assert left(folder) == []
    with locked(folder):
        assert left(folder) == [".lock"]


def test_the_other_process_is_named_and_its_run_is_not_deleted(tmp_path):
    folder = make_run(tmp_path / "run", age=3)
    words = [sys.executable, "-c", HOLD, str(folder)]
    other = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"locked\n"
        with (
            pytest.raises(OutputError, match=f"in use: process {other.pid} on"),
            locked(folder),
        ):
            pass
        with pytest.raises(OutputError, match=f"process {other.pid} "):
            delete_run(folder)
        tidy_runs(tmp_path, keep=0)
        assert "state.pt" in left(folder)
        # A lock ends with its process, however that ends.
        other.kill()
        other.wait(10)
        with locked(folder):
            pass
        tidy_runs(tmp_path, keep=0)
        assert not folder.exists()
    finally:
        other.kill()
        other.communicate()


def test_the_newest_finished_runs_stay_and_all_unfinished_ones(tmp_path):
    for age in range(6):
        make_run(tmp_path / f"finished-{age}", age)
    for number in range(4):
        make_run(tmp_path / f"stopped-{number}")
    mark_begun(tmp_path / "finished-5")  # it goes on
    tidy_runs(tmp_path, keep=2)
    stopped = [f"stopped-{n}" for n in range(4)]
    assert left(tmp_path) == ["finished-0", "finished-1", "finished-5", *stopped]
    assert "best.safetensors" in left(tmp_path / "finished-5")


def test_what_a_user_made_is_never_deleted(tmp_path):
    mine = make_run(tmp_path / "a", age=9)
    (mine / "my notes.txt").write_text("x")
    kept = left(mine)
    copied = make_run(tmp_path / "b", age=9)
    (copied / "best copy.safetensors").write_text("x")
    (tmp_path / "c").mkdir()
    elsewhere = make_run(tmp_path.parent / f"{tmp_path.name}-elsewhere", age=9)
    (tmp_path / "d").symlink_to(elsewhere)
    (tmp_path / "file").write_text("x")
    tidy_runs(tmp_path, keep=0)
    assert left(tmp_path) == ["a", "b", "c", "d", "file"]
    assert left(mine) == kept
    assert "state.pt" in left(copied)
    assert "state.pt" in left(elsewhere)
    # To begin anew is the user's word, but means the run alone.
    delete_run(mine)
    assert left(mine) == ["my notes.txt"]


def test_what_a_user_put_among_the_features_stays(tmp_path):
    run = make_run(tmp_path / "run", age=9)
    for name in ("notes.txt", "mine.safetensors"):
        (run / "features" / name).write_text("x")
    tidy_runs(tmp_path, keep=0)
    assert "state.pt" in left(run)
    assert len(left(run / "features")) == 3
    delete_run(run)
    assert left(run) == ["features"]
    assert left(run / "features") == ["mine.safetensors", "notes.txt"]


def test_what_file_managers_leave_keeps_no_run(tmp_path):
    run = make_run(tmp_path / "run", age=9)
    (run / ".DS_Store").write_text("x")
    (run / "features" / "Thumbs.db").write_text("x")
    (run / "features" / f".{'0123abcd' * 4}-0123abcd.safetensors").write_text("x")
    tidy_runs(tmp_path, keep=0)
    assert left(tmp_path) == []


def test_a_folder_that_cannot_be_read_stays_and_stops_nothing(tmp_path, monkeypatch):
    for name in "ab":
        make_run(tmp_path / name, age=9)
    whole = Path.iterdir

    def unreadable(path):
        if path.name == "a":
            raise PermissionError(13, "Permission denied")
        return whole(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "iterdir", unreadable)
        tidy_runs(tmp_path, keep=0)
    assert left(tmp_path) == ["a"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk_at_the_lock_takes_only_the_name_from_it(tmp_path):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # no byte can be written
    try:
        with (
            locked(tmp_path),
            pytest.raises(OutputError, match="another process trains there"),
            locked(tmp_path),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert left(tmp_path) == []


def test_a_lock_that_cannot_be_deleted_while_it_is_open_goes_afterwards(
    tmp_path, monkeypatch
):
    whole, tries = Path.unlink, []

    def busy(path, **more):
        tries.append(path)
        if len(tries) == 1:
            raise PermissionError(13, "used by another process")
        whole(path, **more)

    monkeypatch.setattr(Path, "unlink", busy)
    with locked(tmp_path):
        pass
    assert left(tmp_path) == []


def test_to_delete_what_is_not_there_does_nothing(tmp_path):
    delete_run(tmp_path / "no")
    tidy_runs(tmp_path / "no", keep=0)
    assert left(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(OutputError, match="Cannot write"),
        locked(tmp_path / "file" / "r"),
    ):
        pass
