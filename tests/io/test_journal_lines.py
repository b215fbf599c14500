# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import zlib

import numpy as np
import pytest

from napari_sam.io.journal_lines import Line, format_line, read_lines


def test_line_is_as_documented():
    line = format_line({"kind": "do", "count": np.int64(3)}, 7)
    crc, body = line.rstrip(b"\n").split(b" ", 1)
    assert int(crc, 16) == zlib.crc32(body)
    assert json.loads(body) == {"n": 7, "kind": "do", "count": 3}


def test_text_stays_in_its_line(tmp_path):
    content = {"text": "Zelle ä\nnext\u2028line"}
    (tmp_path / "a").write_bytes(format_line(content, 0) + format_line({}, 1))
    first, second = read_lines(tmp_path / "a")
    assert first.content == {"n": 0, **content}
    assert second.content == {"n": 1}


@pytest.mark.parametrize(
    ("end", "is_torn"),
    [(b"", False), (b"12", True), (b"0000000 {}\n", False), (b"\0" * 99, True)],
)
def test_reading_ends_with_what_is_not_whole(tmp_path, end, is_torn):
    path = tmp_path / "a"
    path.write_bytes(format_line({}, 0) + end + (format_line({}, 1) if end else b""))
    lines = list(read_lines(path))
    assert lines[0].content == {"n": 0}
    if end:
        # A torn line that something follows is one long line.
        assert lines[1:] == [Line(None, is_torn=False)]
        path.write_bytes(format_line({}, 0) + end)
        assert list(read_lines(path))[1:] == [Line(None, is_torn=is_torn)]


@pytest.mark.parametrize("number", [0, 2, "1", None])
def test_lines_are_counted(tmp_path, number):
    body = json.dumps({"n": number}).encode()
    second = b"%08x %s\n" % (zlib.crc32(body), body)
    (tmp_path / "a").write_bytes(format_line({}, 0) + second)
    assert list(read_lines(tmp_path / "a"))[1:] == [Line(None)]


@pytest.mark.parametrize("body", [b"[1]", b"no JSON", b"\xff"])
def test_only_objects_count(tmp_path, body):
    (tmp_path / "a").write_bytes(b"%08x %s\n" % (zlib.crc32(body), body))
    assert list(read_lines(tmp_path / "a")) == [Line(None)]
