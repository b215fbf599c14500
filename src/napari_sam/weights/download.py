# SPDX-License-Identifier: Apache-2.0
"""Fetch weights by pooch: temporary name, hash, then the real name.

Nothing that is not whole and genuine ever gets the name under which weights are found.
"""

import contextlib
import errno
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from napari_sam.errors import Cancelled, DownloadError, WeightsError
from napari_sam.weights import digests, store
from napari_sam.weights.catalogue import ModelRow, format_bytes
from napari_sam.weights.locations import (
    CACHE_DIR_VARIABLE,
    Locations,
    current_locations,
)

Progress = Callable[[int, int], None]

TIMEOUT_S = (10.0, 30.0)
"""Seconds to wait for a connection, and for the next bytes of an open one."""

PARTIAL_DIR = "partial"
"""Sub-folder of the weights folder for unfinished downloads."""

_CHUNK_BYTES = 1 << 16
_PROGRESS_INTERVAL_S = 0.1
# A running download writes at least every TIMEOUT_S[1] seconds, and its hash takes
# seconds; what was not touched for this long belongs to a process that died.
_STALE_S = 900.0
# Room that stays free beyond the file, so that a download never fills the disk.
_SPARE_BYTES = 50_000_000


def fetch(
    row: ModelRow,
    *,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    locations: Locations | None = None,
) -> Path:
    """Return the path of a row's weights, downloading them if they are not here.

    The offline folder and the weights folder are searched first. A download tries the
    mirror, if one is set, then the publisher's addresses; each answer must match the
    hash. An interrupted download starts anew the next time.

    Parameters
    ----------
    row
        A row of the catalogue.
    progress
        Called as ``progress(done, total)`` in bytes, at most ten times a second and
        once at the end. ``total`` is 0 while unknown. Called in the calling thread.
    cancel
        Stops the download between two chunks when set; on a line that has gone dead
        that takes up to ``TIMEOUT_S``.
    locations
        Folders and mirror; the current settings if None.

    Returns
    -------
    pathlib.Path
        A file whose hash was verified.

    Raises
    ------
    WeightsError
        If the row is a link and its file is not here; the text says how to get it.
    DownloadError
        If no address gave the file, or it could not be written; the text names the
        addresses, the hash and the path for a file fetched by hand.
    Cancelled
        If ``cancel`` was set. Nothing is left behind.
    """
    if row.packaged:
        return _packaged(row)
    locations = locations or current_locations()
    found = store.find(row, locations)
    if found is not None:
        return found
    if row.kind in ("link", "trained"):
        msg = (
            f"The weights {row.name!r} are not downloaded by this program.\n"
            f"{store.hand_instructions(row, locations)}"
        )
        raise WeightsError(msg)
    _stop_if(cancel, row)
    try:
        return _download(row, locations, _Meter(row, progress, cancel))
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(_failure(row, locations, [_reason(error)])) from error


def addresses(row: ModelRow, locations: Locations) -> tuple[str, ...]:
    """Return the addresses of a row in the order in which they are tried."""
    mirror = locations.mirror
    first = () if mirror is None else (f"{mirror.rstrip('/')}/{row.filename}",)
    own = () if row.url is None else (row.url,)
    return (*first, *own, *row.alternatives)


class _Meter:
    """A progress bar as pooch wants it, which also carries the wish to stop."""

    def __init__(
        self, row: ModelRow, progress: Progress | None, cancel: threading.Event | None
    ) -> None:
        self.total = 0  # set by pooch from the answer's header, 0 if it has none
        self._row = row
        self._progress = progress
        self._cancel = cancel
        self._done = 0
        self._told_at = float("-inf")

    def begin(self) -> None:
        """Start anew with the next address."""
        _stop_if(self._cancel, self._row)
        self.total = 0
        self._told_at = float("-inf")
        self.reset()

    def update(self, n_bytes: int) -> None:
        """Count bytes; raise Cancelled if asked to, which removes what was written."""
        _stop_if(self._cancel, self._row)
        self._done += n_bytes
        now = time.monotonic()
        if n_bytes and now - self._told_at >= _PROGRESS_INTERVAL_S:
            self._told_at = now
            total = self.total or self._row.bytes or 0
            # pooch counts whole chunks, also for the last, shorter one
            self._tell(min(self._done, total) if total else self._done, total)

    def finish(self, n_bytes: int) -> None:
        """Report the whole file as done."""
        self._tell(n_bytes, n_bytes)

    def reset(self) -> None:
        """Forget the count; pooch does so at the end, before it adds the total."""
        self._done = 0

    def close(self) -> None:
        """Do nothing: the caller owns what shows the progress."""

    def _tell(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(done, total)


def _download(row: ModelRow, locations: Locations, meter: _Meter) -> Path:
    partial = locations.root / PARTIAL_DIR
    partial.mkdir(parents=True, exist_ok=True)
    _sweep(partial)
    _check_space(row, locations)
    reasons = []
    # A folder per call: two processes may fetch the same weights at once.
    with tempfile.TemporaryDirectory(
        dir=partial, prefix=f"{row.name}-", ignore_cleanup_errors=True
    ) as folder:
        for url in addresses(row, locations):
            meter.begin()
            try:
                arrived = _retrieve(url, row, Path(folder), meter)
            except (OSError, ValueError) as error:
                if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                    raise
                reasons.append(f"{url}\n    {_reason(error)}")
                continue
            path = _put_in_place(arrived, row, locations)
            meter.finish(path.stat().st_size)
            return path
    raise DownloadError(_failure(row, locations, reasons))


def _retrieve(url: str, row: ModelRow, folder: Path, meter: _Meter) -> Path:
    import pooch

    downloader = pooch.HTTPDownloader(
        progressbar=meter, chunk_size=_CHUNK_BYTES, timeout=TIMEOUT_S
    )
    with _quiet(pooch.get_logger()):
        path = pooch.retrieve(
            url,
            known_hash=row.hash,
            fname=row.filename,
            path=folder,
            downloader=downloader,
        )
    return Path(path)


def _put_in_place(arrived: Path, row: ModelRow, locations: Locations) -> Path:
    target = locations.root / row.filename
    arrived.replace(target)
    if row.hash is not None:
        digests.remember(target, row.hash, locations.root)
    return target


def _packaged(row: ModelRow) -> Path:
    path = store.find(row)
    if path is None:
        raise WeightsError(store.hand_instructions(row))
    return path


def _stop_if(cancel: threading.Event | None, row: ModelRow) -> None:
    if cancel is not None and cancel.is_set():
        msg = f"The download of {row.name!r} was cancelled; nothing was kept."
        raise Cancelled(msg)


def _check_space(row: ModelRow, locations: Locations) -> None:
    free = shutil.disk_usage(locations.root).free
    if row.bytes is not None and free < row.bytes + _SPARE_BYTES:
        raise OSError(
            errno.ENOSPC, f"only {format_bytes(free)} free", str(locations.root)
        )


def _sweep(partial: Path) -> None:
    """Remove what killed processes left; a running download is never that old."""
    for folder in partial.iterdir():
        with contextlib.suppress(OSError):
            touched = [path.stat().st_mtime for path in (folder, *folder.glob("*"))]
            if time.time() - max(touched) > _STALE_S:
                shutil.rmtree(folder)


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    # pooch announces each download on stderr; here progress and errors do that. A
    # filter of our own leaves the level alone, which other threads may be changing too.
    def only_warnings(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING

    logger.addFilter(only_warnings)
    try:
        yield
    finally:
        logger.removeFilter(only_warnings)


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError) or error.errno is None:
        return str(error) or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full ({error}). Free some space, or choose another folder "
            f"with {CACHE_DIR_VARIABLE}."
        )
    return (
        f"{error}. If the folder cannot be written, choose another one with "
        f"{CACHE_DIR_VARIABLE}."
    )


def _failure(row: ModelRow, locations: Locations, reasons: list[str]) -> str:
    tried = "\n".join(f"  {reason}" for reason in reasons)
    return (
        f"Could not download {row.name!r}:\n{tried}\n"
        f"{store.hand_instructions(row, locations)}"
    )
