# SPDX-License-Identifier: Apache-2.0
"""Finished tiles of a run as a folder beside its result, so that it can go on later.

::

    NAME_tiles/
        manifest.json            what was segmented, with what: {"format", "version",
                                 "about": {...}}
        000/000012.npz           tile 12 (see `napari_sam.io.tile_file`), a thousand
                                 tiles a folder

Every file appears complete or not at all, so that whatever ends a run, the tiles that
were finished are there.
"""

import json
import shutil
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_sam.errors import ImageError, OutputError, SettingsError
from napari_sam.io.atomic import written_atomically
from napari_sam.io.tile_file import decode_tile
from napari_sam.structures.tile_result import TileResult

FORMAT = "napari-sam tiles"
VERSION = 1
_MANIFEST = "manifest.json"
_PER_FOLDER = 1000


class TileStore:
    """Results of the tiles of one plane.

    Parameters
    ----------
    folder : Path
        Where they lie; see `open_store`.
    n_cached : int
        How many results are kept in memory.
    """

    def __init__(self, folder: Path, n_cached: int = 1024) -> None:
        self._folder = folder
        self._n_cached = n_cached
        self._cache: OrderedDict[int, TileResult] = OrderedDict()

    @property
    def folder(self) -> Path:
        """Where the tiles lie."""
        return self._folder

    def finished(self) -> set[int]:
        """Return the numbers of the tiles that are there.

        A damaged one is removed, so that it is made again.
        """
        found = set()
        for path in self._folder.glob("*/*.npz"):
            if not path.stem.isdigit() or path != self._path(int(path.stem)):
                continue
            try:
                decode_tile(path.read_bytes())
            except ImageError:
                path.unlink(missing_ok=True)
            else:
                found.add(int(path.stem))
        return found

    def get(self, number: int, /) -> TileResult | None:
        """Return the result of a tile, None if it was not finished.

        Raises
        ------
        ImageError
            If its file is damaged.
        """
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        try:
            content = self._path(number).read_bytes()
        except FileNotFoundError:
            return None
        result = decode_tile(content)
        self._cache[number] = result
        if len(self._cache) > self._n_cached:
            self._cache.popitem(last=False)
        return result

    def put(self, number: int, content: bytes) -> None:
        """Keep a tile that was finished.

        Parameters
        ----------
        number : int
            Of the tile.
        content : bytes
            From `encode_tile`.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        with written_atomically(self._path(number)) as temporary:
            temporary.write_bytes(content)

    def remove(self) -> None:
        """Delete the folder: the result of the run is complete.

        Raises
        ------
        OutputError
            If that does not succeed.
        """
        self._cache.clear()
        _remove(self._folder)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number // _PER_FOLDER:03d}" / f"{number:06d}.npz"


def open_store(
    folder: Path, about: dict[str, Any], *, anew: bool = False, n_cached: int = 1024
) -> TileStore:
    """Begin a run, or go on with one that was ended.

    Parameters
    ----------
    folder : Path
        Of the tiles; made if it is missing.
    about : dict
        What decides the results: image, tiles, model, settings; plain JSON values.
    anew : bool
        Whether finished tiles of another image, model or settings are thrown away.
    n_cached : int
        How many results are kept in memory.

    Returns
    -------
    TileStore

    Raises
    ------
    SettingsError
        If the folder holds such tiles, and they are not to be thrown away.
    OutputError
        If it cannot be written, or is something else.
    """
    if folder.exists() and not _is_ours(folder):
        msg = (
            f"{folder} is needed for finished tiles, but holds something else. Move it "
            "away or choose another folder for the results."
        )
        raise OutputError(msg)
    wanted = json.loads(json.dumps(about))
    manifest = folder / _MANIFEST
    there = _read(manifest)
    if there is not None and there != wanted and not anew:
        raise SettingsError(_difference(there, wanted, folder))
    if there != wanted:
        if folder.exists():
            _remove(folder)
        content = {"format": FORMAT, "version": VERSION, "about": wanted}
        with written_atomically(manifest) as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return TileStore(folder, n_cached)


def _is_ours(folder: Path) -> bool:
    """Tell whether a folder holds tiles, or what is left of them, or nothing."""
    if (folder / _MANIFEST).is_file():
        return _read(folder / _MANIFEST) is not None
    return folder.is_dir() and all(
        path.name.startswith(".") or path.name.isdigit() for path in folder.iterdir()
    )


def _read(manifest: Path) -> dict[str, Any] | None:
    """Return what a manifest says, None if it is none of ours."""
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return None
    about = content.get("about")
    is_known = content.get("version") == VERSION and isinstance(about, dict)
    return about if is_known else None


def _difference(there: dict[str, Any], wanted: dict[str, Any], folder: Path) -> str:
    """Say why tiles of different runs cannot be mixed."""
    changes = "; ".join(
        f"{name} was {there.get(name)!r} and is {wanted.get(name)!r}"
        for name in {**there, **wanted}
        if there.get(name) != wanted.get(name)
    )
    return (
        f"{folder} holds finished tiles of another run: {changes}. Repeat that run's "
        "options to go on with it, begin anew (command line: --existing overwrite), or "
        "choose another folder for the results."
    )


def _remove(folder: Path) -> None:
    try:
        # First what makes it a run: a deletion that is cut off leaves nothing to go on.
        with suppress(FileNotFoundError):
            (folder / _MANIFEST).unlink()
        shutil.rmtree(folder)
    except OSError as error:
        msg = f"Cannot delete {folder}: {error.strerror or error}."
        raise OutputError(msg) from error
