# SPDX-License-Identifier: Apache-2.0
"""How far the images of a folder are, kept in one small JSON file among the results."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from napari_sam.errors import OutputError
from napari_sam.io.atomic import written_atomically
from napari_sam.io.backup import back_up

STATE_FILE = "napari-sam-folder.json"
FORMAT = "napari-sam-folder"
VERSION = 1


class ImageState(StrEnum):
    """How far an image is."""

    TODO = "todo"
    STARTED = "started"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What is remembered of one image.

    Attributes
    ----------
    state : ImageState
    stem : str
        What the names of its results begin with; empty before there are any.
    written : mapping of str to str
        SHA-256 of each result as it was written last, by file name. A file with another
        hash is somebody else's.
    """

    state: ImageState = ImageState.TODO
    stem: str = ""
    written: Mapping[str, str] = field(default_factory=dict)


class FolderState:
    """The records of all images, on disk at every moment.

    Two viewers may work on one folder: every change reads the file again and replaces
    only the record that it is about.

    Parameters
    ----------
    path : Path
        The JSON file; it is made at once, so that a folder that cannot be written is
        found out before the work.

    Attributes
    ----------
    notices : list of str
        What the user should know about how the file was read.

    Raises
    ------
    OutputError
        If the file cannot be read or written, or is of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notices: list[str] = []
        self._current = ""
        self._records: dict[str, ImageRecord] = {}
        self._read()
        self._write()

    @property
    def current(self) -> str:
        """Name of the image that was opened last, or empty."""
        return self._current

    def __getitem__(self, name: str) -> ImageRecord:
        """Return what is known of an image, whether anything is or not."""
        return self._records.get(name, ImageRecord())

    def set_current(self, name: str) -> None:
        """Remember which image is open."""
        self._read()
        self._current = name
        self._write()

    def change(self, name: str, record: ImageRecord) -> None:
        """Replace the record of one image.

        Hashes of results that `record` does not name are kept.
        """
        self._read()
        written = {**self[name].written, **record.written}
        self._records[name] = replace(record, written=written)
        self._write()

    def _read(self) -> None:
        """Take over what is on disk; a damaged file is put aside."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            msg = f"Cannot read {self.path}: {reason}. Choose another output folder."
            raise OutputError(msg) from error
        try:
            found: Any = json.loads(text)
            is_ours = isinstance(found, dict) and found.get("format") == FORMAT
            version = int(found["version"]) if is_ours else 0
        except (ValueError, KeyError, TypeError):
            is_ours, version = False, 0
        if version > VERSION:
            msg = (
                f"{self.path} was written by a newer napari-sam (version {version}; "
                f"this one knows {VERSION}). Update napari-sam, or choose another "
                "output folder."
            )
            raise OutputError(msg)
        if not is_ours:
            kept = back_up(self.path)
            self.notices.append(
                f"{self.path} is damaged; it was kept as {kept.name}, and the state of "
                "the images is taken from the label files."
            )
            return
        self._current = str(found.get("current", ""))
        images = found.get("images", {})
        self._records = {
            str(name): _record(entry)
            for name, entry in (images.items() if isinstance(images, dict) else ())
        }

    def _write(self) -> None:
        images = {
            name: {
                "state": record.state.value,
                "stem": record.stem,
                "written": dict(record.written),
            }
            for name, record in self._records.items()
        }
        content = {
            "format": FORMAT,
            "version": VERSION,
            "current": self._current,
            "images": images,
        }
        with written_atomically(self.path) as temporary:
            text = json.dumps(content, indent=1, ensure_ascii=False)
            temporary.write_text(text + "\n", encoding="utf-8")


def _record(entry: Any) -> ImageRecord:
    """Read one record; what makes no sense in it counts as not said."""
    if not isinstance(entry, dict):
        return ImageRecord()
    states = {state.value: state for state in ImageState}
    written = entry.get("written")
    return ImageRecord(
        state=states.get(str(entry.get("state")), ImageState.TODO),
        stem=str(entry.get("stem", "")),
        written={str(k): str(v) for k, v in written.items()}
        if isinstance(written, dict)
        else {},
    )
