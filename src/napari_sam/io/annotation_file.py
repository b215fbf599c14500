# SPDX-License-Identifier: Apache-2.0
"""Annotation files: one JSON text with prompts, provenance and compressed labels.

Text, so that people and other programs can read the prompts; the layout is described in
``docs/reference/annotation-file.md``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari_sam
from napari_sam.errors import AnnotationFileError
from napari_sam.io.atomic import written_atomically
from napari_sam.io.json_fields import JsonObject, plain, take
from napari_sam.io.state_json import (
    label_plane_from_json,
    label_plane_to_json,
    state_from_json,
    state_to_json,
)

if TYPE_CHECKING:
    from napari_sam.annotation.state import AnnotationState

SUFFIX = ".sam.json"
FORMAT = "napari-sam annotation"
VERSION = 1
"""Raised when an older reader would misunderstand; new fields alone do not raise it."""

_LISTS = ("objects", "planes")
"""Fields that are written one entry per line."""
_BEGINNING = f'{{\n "format": "{FORMAT}"'
"""What a file of ours begins with."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file says about itself.

    Attributes
    ----------
    created, modified : str
        Times in UTC, such as ``2026-01-31T12:00:00Z``.
    napari_sam : str
        Version of the package that wrote it.
    """

    created: str
    modified: str
    napari_sam: str


def save_annotation(
    path: Path, state: AnnotationState, *, is_other_replaced: bool = False
) -> Path:
    """Write an annotation; an older file stays whole until the new one is.

    Parameters
    ----------
    path : Path
        Best with the ending `SUFFIX`.
    state : AnnotationState
        What is written.
    is_other_replaced : bool
        Whether a file there that is not an annotation of the same image (or not one
        that this version understands) may be replaced.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    AnnotationFileError
        If such a file is there and may not be replaced.
    OutputError
        If the file cannot be written.
    """
    path = Path(path)
    now = utc_now()
    created = _created_before(path, state, is_other_replaced=is_other_replaced) or now
    content: JsonObject = {
        "format": FORMAT,
        "version": VERSION,
        "napari_sam": napari_sam.__version__,
        "created": created,
        "modified": now,
        **state_to_json(state),
        "planes": [
            label_plane_to_json(plane, labels)
            for plane, labels in state.labels.items()
            if labels.any()
        ],
    }
    # Through JSON and back: the checksum is that of what a reader will have.
    content = json.loads(json.dumps(content, default=plain, allow_nan=False))
    content["checksum"] = _checksum(content)
    with written_atomically(path) as temporary:
        temporary.write_text(_layout(content), encoding="utf-8", newline="\n")
    return path


def load_annotation(path: Path, image_identity: str | None = None) -> AnnotationState:
    """Read an annotation.

    Parameters
    ----------
    path : Path
        The file.
    image_identity : str or None
        The image that it has to belong to; None takes the file of any.

    Returns
    -------
    AnnotationState

    Raises
    ------
    AnnotationFileError
        If there is no such file, it is no annotation file, is damaged, comes from a
        newer version or belongs to another image.
    """
    path = Path(path)
    content = _read(path)
    try:
        state = state_from_json(content)
        labels = dict(
            label_plane_from_json(plane, state.shape)
            for plane in take(content, "planes", list)
        )
    except AnnotationFileError as error:
        msg = f"{path} cannot be used: {error}"
        raise AnnotationFileError(msg) from error
    if image_identity is not None and image_identity != state.image_identity:
        msg = (
            f"{path} belongs to another image: it was made on {state.image_name!r} "
            f"({short(state.image_identity)}), the image here is "
            f"{short(image_identity)}. Open the image that it belongs to."
        )
        raise AnnotationFileError(msg)
    return replace(state, labels=labels)


def read_facts(path: Path) -> FileFacts:
    """Read who wrote a file and when; raises as `load_annotation`."""
    content = _read(Path(path))
    return FileFacts(
        created=take(content, "created", str, ""),
        modified=take(content, "modified", str, ""),
        napari_sam=take(content, "napari_sam", str, ""),
    )


def utc_now() -> str:
    """Return the present time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def short(identity: str) -> str:
    """Return the beginning of an identity, for messages."""
    return identity if len(identity) <= 32 else f"{identity[:24]}..."


def check_version(found: Any, newest: int, what: str) -> None:
    """Raise AnnotationFileError unless a version can be read here."""
    if type(found) is not int or found < 1:
        msg = f"{what} has no valid version number ({found!r}); it is damaged."
        raise AnnotationFileError(msg)
    if found > newest:
        msg = (
            f"{what} has version {found}; this napari-sam ({napari_sam.__version__}) "
            f"reads up to {newest}. Update napari-sam."
        )
        raise AnnotationFileError(msg)


def _created_before(
    path: Path, state: AnnotationState, *, is_other_replaced: bool
) -> str | None:
    """Return when the file that is replaced was created; None for a new one.

    Raises
    ------
    AnnotationFileError
        If the file there is another one, which may not be replaced.
    """
    if not path.exists():
        return None
    # For people in front of a viewer and for scripts alike.
    way_out = "Choose another name, or move that file away first."
    try:
        content = _read(path)
        image = take(content, "image", dict)
        identity = take(image, "identity", str)
        created: str = take(content, "created", str, "")
    except AnnotationFileError as error:
        if is_other_replaced:
            return None
        msg = f"A file is there already and would be lost. {error} {way_out}"
        raise AnnotationFileError(msg) from error
    if identity == state.image_identity:
        return created
    if is_other_replaced:
        return None
    msg = (
        f"{path} holds the annotation of another image, {image.get('name')!r} "
        f"({short(identity)}); this one is of {state.image_name!r} "
        f"({short(state.image_identity)}). {way_out}"
    )
    raise AnnotationFileError(msg)


def _read(path: Path) -> JsonObject:
    """Read the JSON of a file and check format, version and checksum."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        msg = f"Cannot read {path}: {error.strerror or error}."
        raise AnnotationFileError(msg) from error
    if len(raw) <= 1:
        # What a full disk leaves of a file of ours, not anybody's work.
        msg = f"{path} is damaged: it has {len(raw)} bytes. Use a copy of it."
        raise AnnotationFileError(msg)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        msg = f"{path} is no annotation file of napari-sam: it holds no text."
        raise AnnotationFileError(msg) from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        is_ours = FORMAT in text[:200] or _BEGINNING.startswith(text)
        msg = (
            f"{path} is damaged or cut off: {error}. Use a copy of it."
            if is_ours
            else f"{path} is no annotation file of napari-sam: it holds no JSON."
        )
        raise AnnotationFileError(msg) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        msg = f"{path} is no annotation file of napari-sam: it does not say so."
        raise AnnotationFileError(msg)
    check_version(content.get("version"), VERSION, str(path))
    checksum = content.pop("checksum", None)
    # Whoever edits a file by hand takes the line out.
    if checksum is not None and checksum != _checksum(content):
        msg = (
            f"{path} is damaged: its checksum is wrong. Use a copy of it. If it was "
            "changed on purpose, take out the line 'checksum'."
        )
        raise AnnotationFileError(msg)
    return content


def _checksum(content: JsonObject) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode("ascii")).hexdigest()


def _layout(content: JsonObject) -> str:
    """Write a field per line, and an object or a plane of labels per line."""
    lines = []
    for name, value in content.items():
        text = json.dumps(value)
        if name in _LISTS and value:
            entries = ",\n  ".join(json.dumps(entry) for entry in value)
            text = f"[\n  {entries}\n ]"
        lines.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
