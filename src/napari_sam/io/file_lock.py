# SPDX-License-Identifier: Apache-2.0
"""Locks that end with the process that holds them, however it ends."""

from __future__ import annotations

import sys
from typing import IO, Any

# Windows locks bytes, and nobody else can read a locked one: this lies beyond any end.
_PLACE = 2**30


def try_lock(file: IO[Any]) -> bool:
    """Lock an open file for this process.

    Returns
    -------
    bool
        False if another process, or another open file of this one, holds the lock. On
        file systems without locks, such as some network drives, always True.
    """
    if sys.platform == "win32":
        import msvcrt

        place = file.tell()
        try:
            file.seek(_PLACE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            file.seek(place)
        return True
    import fcntl

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
