# SPDX-License-Identifier: Apache-2.0
"""Models that were trained on this machine, listed beside the published ones.

Each has a folder of its own under the user's data, named like the model::

    models/NAME/weights.safetensors
    models/NAME/card.json            hash, architecture, data, scores, parent
    models/NAME/card.md              the same for people

A folder appears complete or not at all, and its file is used only while its hash is the
one in the card. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import uuid
from typing import TYPE_CHECKING, Any

from napari_sam.errors import OutputError, SettingsError, WeightsError
from napari_sam.weights import digests
from napari_sam.weights.locations import user_data_folder
from napari_sam.weights.model_row import ModelRow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

WEIGHTS_NAME, CARD_NAME, TEXT_NAME = "weights.safetensors", "card.json", "card.md"
CARD_FORMAT = "napari-sam model card"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# What Windows keeps for itself, whatever the ending.
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_UNKNOWN = "sha256:" + 64 * "0"


def models_folder() -> Path:
    """Return the folder that holds a folder for each model; it need not exist."""
    return user_data_folder() / "models"


def trained_rows() -> tuple[ModelRow, ...]:
    """Return a row for each model that was trained here, by name.

    A model whose card cannot be read has a row too, so that it can be seen and deleted;
    its hash fits no file.
    """
    try:
        folders = sorted(p for p in models_folder().iterdir() if p.is_dir())
    except OSError:
        return ()
    return tuple(_row(p) for p in folders if _NAME.fullmatch(p.name))


def read_card(name: str) -> dict[str, Any]:
    """Return the card of a model that was trained here.

    Raises
    ------
    WeightsError
        If there is no such model or its card cannot be read.
    """
    return _read(models_folder() / name)


def add(
    write: Callable[[Path], None],
    card: Mapping[str, Any],
    text: str,
    *,
    name: str,
    taken: Collection[str] = (),
) -> ModelRow:
    """Keep weights and their card where models are found by name.

    Parameters
    ----------
    write : callable
        Writes the weights, as a safetensors file, to the path that it is given.
    card : mapping
        JSON values; ``architecture``, ``trained_for`` and ``licence`` are shown in
        lists. Hash and size of the file are added.
    text : str
        The card for people, Markdown.
    name : str
        What to call the model.
    taken : collection of str
        Names that published models have.

    Raises
    ------
    SettingsError
        If the name is not allowed or taken.
    OutputError
        If the folder cannot be written; nothing of it is left then.
    """
    folder = models_folder() / checked_name(name, taken)
    draft = folder.with_name(f".{name}-{uuid.uuid4().hex[:8]}")
    try:
        draft.mkdir(parents=True)
        write(draft / WEIGHTS_NAME)
        with (draft / WEIGHTS_NAME).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = (draft / WEIGHTS_NAME).stat().st_size
        whole = {
            "format": CARD_FORMAT,
            "version": 1,
            **card,
            "weights": {"sha256": sha256, "bytes": size},
        }
        (draft / CARD_NAME).write_text(json.dumps(whole, indent=1) + "\n", "utf-8")
        (draft / TEXT_NAME).write_text(text, encoding="utf-8")
        draft.rename(folder)
    except OSError as error:
        msg = (
            f"Cannot keep the model {name!r} in {folder}: {error.strerror or error}. "
            "The files of the run are still there: make room, or load its best weights "
            "as a checkpoint."
        )
        raise OutputError(msg) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    digests.remember(folder / WEIGHTS_NAME, f"sha256:{sha256}", folder)
    return _row(folder)


def rename(old: str, new: str, *, taken: Collection[str] = ()) -> ModelRow:
    """Give a model that was trained here another name.

    Raises
    ------
    SettingsError
        If the new name is not allowed or taken.
    WeightsError
        If there is no such model, or its folder cannot be renamed.
    """
    folder = models_folder() / old
    if not _NAME.fullmatch(old) or not folder.is_dir():
        names = ", ".join(row.name for row in trained_rows()) or "none"
        msg = (
            f"{old!r} is no model that was trained here, and only those have names "
            f"that can be changed: {names}."
        )
        raise WeightsError(msg)
    target = models_folder() / checked_name(new, taken)
    known = digests.recall(folder / WEIGHTS_NAME, "sha256", folder)
    try:
        folder.rename(target)
    except OSError as error:
        msg = f"Cannot rename {folder} to {target.name}: {error.strerror or error}."
        raise WeightsError(msg) from error
    digests.forget(folder / WEIGHTS_NAME, target)
    if known is not None:
        digests.remember(target / WEIGHTS_NAME, known, target)
    return _row(target)


def remove(name: str) -> int:
    """Delete a model that was trained here; return the bytes set free.

    Raises
    ------
    WeightsError
        If its folder cannot be deleted.
    """
    folder = models_folder() / name
    files = [
        folder / part
        for part in (WEIGHTS_NAME, CARD_NAME, TEXT_NAME, digests.MEMORY_NAME)
    ]
    try:
        size = sum(path.stat().st_size for path in files if path.exists())
        for path in files:
            path.unlink(missing_ok=True)
        # What somebody else put there is not ours to delete.
        folder.rmdir()
    except OSError as error:
        msg = f"Cannot delete {folder}: {error}. Close what uses it and try again."
        raise WeightsError(msg) from error
    return size


def checked_name(name: str, taken: Collection[str] = ()) -> str:
    """Return a name under which a model can be kept.

    Raises
    ------
    SettingsError
        If it is no such name or another model has it.
    """
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name) or name.endswith("."):
        msg = (
            f"{name!r} cannot be the name of a model. Use 1 to 64 letters, digits, "
            "'_', '-' or '.', beginning with a letter or a digit."
        )
        raise SettingsError(msg)
    # On some systems folders that differ in case only are the same folder.
    used = {other.lower() for other in taken}
    used |= {row.name.lower() for row in trained_rows()}
    if name.lower() in used:
        msg = (
            f"There is a model {name!r} already. Choose another name, or delete that "
            "one first (napari-sam models delete, or the panel 'Models')."
        )
        raise SettingsError(msg)
    return name


def free_name(wish: str, taken: Collection[str] = ()) -> str:
    """Return `wish`, made into a name that is allowed and that nobody has."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", wish).strip("_.-")[:56] or "model"
    if _RESERVED.fullmatch(plain):
        plain = f"model_{plain}"
    name, number = plain, 1
    while True:
        with contextlib.suppress(SettingsError):
            return checked_name(name, taken)
        number += 1
        name = f"{plain}_{number}"


def _read(folder: Path) -> dict[str, Any]:
    path = folder / CARD_NAME
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"Cannot read the card {path}: {error}. Delete the model {folder.name!r}."
        raise WeightsError(msg) from error
    if not isinstance(card, dict) or card.get("format") != CARD_FORMAT:
        msg = f"{path} is no card of a model. Delete the model {folder.name!r}."
        raise WeightsError(msg)
    return card


def _row(folder: Path) -> ModelRow:
    try:
        card = _read(folder)
    except WeightsError:
        card = {"trained_for": "unknown: its card is missing or damaged"}
    weights = card.get("weights")
    stored = weights if isinstance(weights, dict) else {}
    size, sha256 = stored.get("bytes"), stored.get("sha256")
    is_known = isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256)
    return ModelRow(
        name=folder.name,
        architecture=str(card.get("architecture", "unknown")),
        url=None,
        bytes=size if isinstance(size, int) else None,
        hash=f"sha256:{sha256}" if is_known else _UNKNOWN,
        licence=str(card.get("licence") or "") or None,
        citation=str(card.get("citation", "")) or "trained on this machine",
        trained_for=str(card.get("trained_for", "unknown")),
        instructions="",
        filename=WEIGHTS_NAME,
        folder=folder,
    )
