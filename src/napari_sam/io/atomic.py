# SPDX-License-Identifier: Apache-2.0
"""Files that appear complete or not at all."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_sam.errors import OutputError


@contextmanager
def written_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; rename it at the end.

    The folder is made if it is missing. Whatever interrupts the writing, an older file
    at ``path`` stays as it was and no half file is left.

    Raises
    ------
    OutputError
        If the folder or file cannot be written.
    """
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(_text(path, error)) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _text(path: Path, error: OSError) -> str:
    return (
        f"Cannot write {path}: {error.strerror or error}. Choose a folder that exists "
        "or can be made, is writable and has space left."
    )
