# SPDX-License-Identifier: Apache-2.0
"""Copies of files that are about to be replaced."""

import hashlib
import itertools
import shutil
from pathlib import Path

from napari_sam.errors import OutputError
from napari_sam.io.atomic import written_atomically


def back_up(path: Path) -> Path:
    """Copy ``NAME`` to ``NAME.bak``, or ``NAME.bak2``, ...; no copy is ever replaced.

    Returns
    -------
    Path
        The copy; an older one if it has the same content.

    Raises
    ------
    OutputError
        If the file cannot be read or the copy not be written.
    """
    digest = file_digest(path)
    for number in itertools.count(1):
        ending = ".bak" if number == 1 else f".bak{number}"
        copy = path.with_name(path.name + ending)
        if not copy.exists():
            break
        if file_digest(copy) == digest:
            return copy
    with written_atomically(copy) as temporary:
        shutil.copy2(path, temporary)
    return copy


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content.

    Raises
    ------
    OutputError
        If the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        msg = (
            f"Cannot read {path}, which is about to be replaced: "
            f"{error.strerror or error}. Make it readable or move it away."
        )
        raise OutputError(msg) from error
