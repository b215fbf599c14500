# SPDX-License-Identifier: Apache-2.0
"""Weights on this machine: which are here, are they genuine, remove them.

A file counts only when its hash is the catalogue's (rows without a published hash are
taken as they are). The offline folder is searched before the weights folder and is
never written.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from napari_sam.errors import WeightsError
from napari_sam.weights import digests, trained
from napari_sam.weights.catalogue import (
    CATALOGUE,
    ModelRow,
    format_bytes,
    get_row,
)
from napari_sam.weights.locations import (
    MIRROR_VARIABLE,
    OFFLINE_DIR_VARIABLE,
    Locations,
    current_locations,
)

State = Literal["installed", "unverified", "mismatch", "absent"]
_PREFERENCE: tuple[State, ...] = ("installed", "unverified", "mismatch", "absent")


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What is on this machine of one catalogue row.

    Attributes
    ----------
    row
        The catalogue row.
    state
        ``installed``: usable. ``unverified``: a file is there whose hash was not read
        yet (only without ``check``). ``mismatch``: a file is there, but it is not the
        published one and is not used. ``absent``: nothing is there.
    path
        The file spoken of, None when absent.
    size
        Its size in bytes, 0 when absent.
    is_removable
        Whether ``delete`` may remove it: only files of the weights folder.
    """

    row: ModelRow
    state: State
    path: Path | None = None
    size: int = 0
    is_removable: bool = False

    @property
    def text(self) -> str:
        """One line for people."""
        size = format_bytes(self.size)
        published = format_bytes(self.row.bytes)
        match self.state, self.row.kind:
            case "installed", "packaged":
                return f"part of the package, {size}"
            case "installed", "trained":
                return f"trained here, {size}"
            case "mismatch", "trained":
                return f"trained here, {size}, but changed since: not used"
            case "absent", "trained":
                return "trained here, but its file is gone"
            case "installed", _:
                note = "" if self.row.hash else ", no published hash to check it by"
                return f"installed, {size}{note}"
            case "unverified", _:
                return f"found, {size}, not yet verified"
            case "mismatch", _:
                return f"found, {size}, but not the published file: not used"
            case "absent", "packaged":
                return "missing from the package: install it again"
            case "absent", "download":
                return f"not installed, {published} to download"
            case _:
                return "not installed, to be fetched by hand"


@dataclass(frozen=True, slots=True)
class Verification:
    """Outcome of reading a weight file in full; true unless the hashes differ.

    Attributes
    ----------
    path
        The file that was read.
    expected
        The catalogue's hash, None where none is published.
    actual
        The file's hash by the same algorithm (SHA-256 where none is published).
    """

    path: Path
    expected: str | None
    actual: str

    @property
    def ok(self) -> bool:
        """False when the file is not the published one."""
        return self.expected is None or self.expected == self.actual

    def __bool__(self) -> bool:
        """Return ``ok``."""
        return self.ok

    @property
    def text(self) -> str:
        """One line for people."""
        if self.expected is None:
            return f"{self.path}: {self.actual} (no published hash to compare with)"
        if self.ok:
            return f"{self.path}: genuine, {self.actual}"
        return f"{self.path}: WRONG, is {self.actual}, should be {self.expected}"


def place_by_hand_path(model: str | ModelRow) -> Path:
    """Return where a file fetched by hand has to lie to be found as this model.

    For weights inside the package, or trained here, this is where they lie.

    Raises
    ------
    UnknownModelError
        If the catalogue has no such row.
    """
    row = _row(model)
    return _locations_for(row).root / row.filename


def find(model: str | ModelRow, locations: Locations | None = None) -> Path | None:
    """Return the usable file of a model, or None.

    A file seen for the first time is read in full to check its hash; afterwards size
    and modification time vouch for it.

    Parameters
    ----------
    model
        A catalogue name or a row.
    locations
        Where to look; the current settings if None.

    Raises
    ------
    UnknownModelError
        If the catalogue has no such row.
    """
    found = status(model, check=True, locations=locations)
    return found.path if found.state == "installed" else None


def installed() -> tuple[str, ...]:
    """Return the names that can be loaded without a download, in `known_rows` order."""
    return tuple(row.name for row in known_rows() if find(row) is not None)


def known_rows() -> tuple[ModelRow, ...]:
    """Return the rows of the catalogue, then those of models trained here."""
    return (*CATALOGUE, *trained.trained_rows())


def status(
    model: str | ModelRow, *, check: bool = False, locations: Locations | None = None
) -> ModelStatus:
    """Return what is here of a model; quick unless ``check`` reads unknown files.

    Raises
    ------
    UnknownModelError
        If the catalogue has no such row.
    """
    row = _row(model)
    locations = _locations_for(row, locations)
    found = [
        ModelStatus(
            row=row,
            state=_state(row, path, locations.root, check=check),
            path=path,
            size=path.stat().st_size,
            is_removable=not row.packaged and path.parent == locations.root,
        )
        for path in _present(row, locations)
    ]
    return min(
        found,
        key=lambda candidate: _PREFERENCE.index(candidate.state),
        default=ModelStatus(row, "absent"),
    )


def status_rows(*, check: bool = False) -> tuple[ModelStatus, ...]:
    """Return the status of every known model, in `known_rows` order."""
    return tuple(status(row, check=check) for row in known_rows())


def verify(model: str | ModelRow) -> Verification:
    """Read the file of a model in full, whatever is remembered, and compare its hash.

    Raises
    ------
    UnknownModelError
        If the catalogue has no such row.
    WeightsError
        If no file is there or it cannot be read.
    """
    row = _row(model)
    locations = _locations_for(row)
    path = status(row, locations=locations).path
    if path is None:
        msg = f"There is nothing to verify.\n{hand_instructions(row, locations)}"
        raise WeightsError(msg)
    algorithm = digests.split_hash(row.hash)[0] if row.hash else "sha256"
    try:
        actual = digests.compute(path, algorithm)
    except OSError as error:
        msg = f"Cannot read {path}: {error}."
        raise WeightsError(msg) from error
    if row.hash is not None:
        digests.remember(path, actual, locations.root)
    return Verification(path=path, expected=row.hash, actual=actual)


def delete(model: str | ModelRow) -> int:
    """Remove the file of a model from the weights folder; return the bytes set free.

    A model that was trained here goes with its card.

    Raises
    ------
    UnknownModelError
        If the catalogue has no such row.
    WeightsError
        If the weights are part of the package, are not in the weights folder (files of
        an offline folder are not ours to remove), or cannot be removed.
    """
    row = _row(model)
    if row.packaged:
        msg = f"The weights {row.name!r} are part of the package and cannot be deleted."
        raise WeightsError(msg)
    if row.folder is not None:
        return trained.remove(row.name)
    path = place_by_hand_path(row)
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError as error:
        msg = (
            f"There are no weights of {row.name!r} in {path.parent}: nothing was "
            "deleted. Files of an offline folder are left alone."
        )
        raise WeightsError(msg) from error
    except OSError as error:
        msg = f"Cannot delete {path}: {error}. Close what uses the file and try again."
        raise WeightsError(msg) from error
    digests.forget(path, _root())
    return size


def hand_instructions(row: ModelRow, locations: Locations | None = None) -> str:
    """Return how to get the weights of a row without a download by this program.

    The text names address, hash, size and the path where the file has to lie.
    """
    if row.packaged:
        return (
            f"The weights {row.name!r} belong to the package and should lie at "
            f"{_package_path(row)}. Install napari-sam-live again."
        )
    if row.folder is not None:
        return (
            f"The weights {row.name!r} were trained on this machine and should lie, "
            f"unchanged, at {row.folder / row.filename}. Put a copy there, or delete "
            "the model and train it again."
        )
    root = (locations or current_locations()).root
    path = root / row.filename
    lines = [
        f"To get {row.name!r} by hand:",
        *([f"  {row.instructions}"] if row.instructions else []),
        f"  address: {row.url}",
        *(f"  or:      {url}" for url in row.alternatives),
        f"  size:    {format_bytes(row.bytes)}",
        f"  hash:    {row.hash or 'none is published'}",
        f"  licence: {row.licence or 'unconfirmed'}",
        f"  save as: {path}",
        f"  or put {row.filename} into a folder named by {OFFLINE_DIR_VARIABLE}.",
    ]
    if row.kind == "download":
        lines.append(f"  A mirror of the file can be named by {MIRROR_VARIABLE}.")
    if path.is_file() and _state(row, path, root, check=False) == "mismatch":
        lines.append(f"  A file lies at {path}, but its hash is another: not used.")
    return "\n".join(lines)


def _row(model: str | ModelRow) -> ModelRow:
    return model if isinstance(model, ModelRow) else get_row(model)


def _root() -> Path:
    return current_locations().root


def _package_path(row: ModelRow) -> Path:
    return Path(__file__).parent / "data" / row.filename


def _locations_for(row: ModelRow, asked: Locations | None = None) -> Locations:
    # The default model must load even when the saved settings are broken.
    if row.packaged:
        return Locations(root=_package_path(row).parent)
    if row.folder is not None:
        return Locations(root=row.folder)
    return asked or current_locations()


def _present(row: ModelRow, locations: Locations) -> Iterator[Path]:
    """Yield the files of the right name, best place first."""
    if row.packaged:
        candidates = [_package_path(row)]
    else:
        folders = (locations.offline_dir, locations.root)
        candidates = [folder / row.filename for folder in folders if folder is not None]
    yield from (path for path in candidates if path.is_file())


def _state(row: ModelRow, path: Path, root: Path, *, check: bool) -> State:
    if row.hash is None:
        return "installed"
    algorithm, expected = digests.split_hash(row.hash)
    try:
        digest = (
            digests.digest_of(path, algorithm, root)
            if check
            else digests.recall(path, algorithm, root)
        )
    except OSError:
        # Unreadable is as good as wrong: it cannot be used, and is said so.
        return "mismatch"
    if digest is None:
        return "unverified"
    return "installed" if digests.split_hash(digest)[1] == expected else "mismatch"
