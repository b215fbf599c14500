# SPDX-License-Identifier: Apache-2.0
"""Lines of a journal: each knows its place and whether it is whole.

A line is eight digits of CRC-32, a space and a JSON object in ASCII whose field ``n``
counts up from 0. A process that dies while it writes leaves at most one line torn.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, NamedTuple

from napari_sam.io.json_fields import JsonObject, plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Line(NamedTuple):
    """One line as it was read; `content` is None if it is not whole.

    Attributes
    ----------
    content : dict or None
    is_torn : bool
        Whether its end is missing: whoever wrote it was stopped.
    """

    content: JsonObject | None
    is_torn: bool = False


def format_line(content: JsonObject, n: int) -> bytes:
    """Write the `n`-th line, with its end."""
    text = json.dumps({"n": n, **content}, default=plain, allow_nan=False)
    body = text.encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(body), body)


def read_lines(path: Path) -> Iterator[Line]:
    """Read lines up to the first that is not whole or not the next one.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        for n, raw in enumerate(file):
            content = _parse(raw)
            if content is None or content.get("n") != n:
                yield Line(None, is_torn=not raw.endswith(b"\n"))
                return
            yield Line(content)


def _parse(raw: bytes) -> JsonObject | None:
    crc, _, body = raw.removesuffix(b"\n").partition(b" ")
    if not raw.endswith(b"\n") or crc != b"%08x" % zlib.crc32(body):
        return None
    try:
        content = json.loads(body)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
