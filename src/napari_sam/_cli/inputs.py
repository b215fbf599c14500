# SPDX-License-Identifier: Apache-2.0
"""Which files a command reads, and where their results go."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from napari_sam.errors import ImageError, OutputError
from napari_sam.io.images import IMAGE_SUFFIXES, check_image_file


class Existing(StrEnum):
    """What to do where a result is there already."""

    ERROR = "error"
    SKIP = "skip"
    OVERWRITE = "overwrite"


@dataclass(frozen=True, slots=True)
class Work:
    """One input file with the two files made from it."""

    source: Path
    labels: Path
    table: Path


def find_inputs(words: Sequence[Path]) -> list[Path]:
    """Image files that the user means: files, folders, patterns the shell left alone.

    Raises
    ------
    ImageError
        If a file is missing or empty, or a folder or pattern holds no image.
    """
    found: list[Path] = []
    for word in words:
        if word.is_dir():
            matches = _images_in(word)
        elif not word.exists() and any(sign in word.name for sign in "*?["):
            matches = sorted(word.parent.glob(word.name))
        else:
            # What is named is checked at once; of many, bad ones are told at the end.
            check_image_file(word)
            matches = [word]
        if not matches:
            msg = f"{word} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})."
            raise ImageError(msg)
        found += matches
    return found


def plan_outputs(inputs: Sequence[Path], out: Path, existing: Existing) -> list[Work]:
    """Name the results and refuse, before any work, what would lose a file.

    Raises
    ------
    OutputError
        If two inputs would be written to one file, or a result is there already and
        ``existing`` is ``error``.
    """
    plan: dict[str, Work] = {}
    for source in inputs:
        stem = source.stem.removesuffix(".ome")
        if stem in plan:
            msg = (
                f"{plan[stem].source} and {source} would both be written to "
                f"{stem}_labels.tif. Segment them into different folders."
            )
            raise OutputError(msg)
        labels, table = out / f"{stem}_labels.tif", out / f"{stem}_objects.csv"
        plan[stem] = Work(source, labels, table)
    works = list(plan.values())
    if existing is Existing.OVERWRITE:
        return works
    done = [w for w in works if w.labels.exists() or w.table.exists()]
    if done and existing is Existing.ERROR:
        first = done[0].labels if done[0].labels.exists() else done[0].table
        msg = (
            f"{first} is there already. Choose another folder, or --existing skip or "
            "overwrite."
        )
        raise OutputError(msg)
    return [w for w in works if w not in done]


def check_writable(folder: Path) -> None:
    """Make the folder and write a byte, to fail before the work and not after it.

    Raises
    ------
    OutputError
        If that does not succeed.
    """
    from napari_sam.io.atomic import written_atomically

    probe = folder / ".napari-sam-probe"
    try:
        with written_atomically(probe) as temporary:
            temporary.write_bytes(b"0")
    except OutputError as error:
        raise OutputError(str(error).replace(str(probe), str(folder))) from error
    probe.unlink(missing_ok=True)


def _images_in(folder: Path) -> list[Path]:
    paths = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]
    # Results of an earlier run in the same folder are no new images.
    stems = {path.stem.removesuffix(".ome") for path in paths}
    return [p for p in paths if p.stem.removesuffix("_labels") not in stems - {p.stem}]
