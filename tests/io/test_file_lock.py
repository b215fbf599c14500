# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

from napari_sam.io.file_lock import try_lock

HOLD = """
import sys
from napari_sam.io.file_lock import try_lock
file = open(sys.argv[1], "rb+")
print(try_lock(file), flush=True)
sys.stdin.read()
"""


def test_second_file_object_gets_no_lock(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"some text")
    with path.open("rb+") as first:
        assert try_lock(first)
        first.write(b"more")
        first.flush()
        with path.open("rb+") as second:
            assert not try_lock(second)
            assert second.read() == b"more text"
    with path.open("rb+") as third:
        assert try_lock(third)
        assert third.tell() == 0


def test_lock_ends_with_its_process(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"some text")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "True\n"
        with path.open("rb+") as file:
            assert not try_lock(file)
        other.kill()
        other.wait()
    with path.open("rb+") as file:
        assert try_lock(file)
