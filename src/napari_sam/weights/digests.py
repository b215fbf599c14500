# SPDX-License-Identifier: Apache-2.0
"""Digests of weight files, remembered by path, size and modification time.

Reading 2.5 GB to compute a hash takes seconds; it is done once per file, not at each
start. The memory is a small JSON file in the weights folder. It is a convenience: when
it cannot be read or written, digests are computed again.
"""

import contextlib
import json
from pathlib import Path
from typing import Any

from napari_sam.weights.locations import write_json

MEMORY_NAME = "digests.json"


def split_hash(known_hash: str) -> tuple[str, str]:
    """Split ``"algorithm:hexdigest"``; the digest comes back in lower case."""
    algorithm, _, digest = known_hash.partition(":")
    return algorithm, digest.lower()


def compute(path: Path, algorithm: str) -> str:
    """Read the whole file and return ``"algorithm:hexdigest"``."""
    import pooch

    return f"{algorithm}:{pooch.file_hash(str(path), alg=algorithm)}"


def digest_of(path: Path, algorithm: str, root: Path) -> str:
    """Return ``"algorithm:hexdigest"`` of a file, from memory where it still holds."""
    known = recall(path, algorithm, root)
    if known is not None:
        return known
    digest = compute(path, algorithm)
    remember(path, digest, root)
    return digest


def recall(path: Path, algorithm: str, root: Path) -> str | None:
    """Return the remembered digest, or None if the file changed or was never read."""
    entry = _read(root).get(str(path.resolve()))
    if not isinstance(entry, dict):
        return None
    digest = entry.get("digest")
    if not isinstance(digest, str) or split_hash(digest)[0] != algorithm:
        return None
    return digest if {**_stamp(path), "digest": digest} == entry else None


def remember(path: Path, digest: str, root: Path) -> None:
    """Note the digest of the file as it is now."""
    _update(root, str(path.resolve()), {**_stamp(path), "digest": digest})


def forget(path: Path, root: Path) -> None:
    """Drop what is known of a file."""
    _update(root, str(path.resolve()), None)


def _stamp(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _read(root: Path) -> dict[str, Any]:
    try:
        memory = json.loads((root / MEMORY_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return memory if isinstance(memory, dict) else {}


def _update(root: Path, key: str, entry: dict[str, Any] | None) -> None:
    memory = _read(root)
    memory.pop(key, None)
    if entry is not None:
        memory[key] = entry
    # A read-only or full weights folder costs time, never the model.
    with contextlib.suppress(OSError):
        root.mkdir(parents=True, exist_ok=True)
        write_json(root / MEMORY_NAME, memory)
