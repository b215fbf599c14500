# SPDX-License-Identifier: Apache-2.0
"""Write docs/reference/models.md from the catalogue of weights.

Run it after a change of the catalogue: ``python scripts/make_model_table.py``.
"""

from pathlib import Path

from napari_sam.weights.catalogue import CATALOGUE, ModelRow, format_bytes

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "models.md"

_HEAD = """\
<!-- Made by scripts/make_model_table.py from the catalogue; do not edit by hand. -->
# Models

`napari-sam models` and the model panel show what of this is on your machine.

- **in the package**: works at once, without a network.
- **download**: fetched on request; the file gets its name only after its hash was
  checked.
- **by hand**: the hash or the licence is not known for certain, so nothing is fetched
  for you. Follow the instructions below. A file placed by hand is checked when a hash
  is known.

## Folders and mirrors

| variable | meaning |
| --- | --- |
| `NAPARI_SAM_CACHE_DIR` | the weights folder; default: `weights` in the user's cache |
| `NAPARI_SAM_OFFLINE_DIR` | a folder searched first, never written |
| `NAPARI_SAM_MIRROR` | address that holds the files below, asked before the publisher |

The offline folder and the mirror can also be saved in the model panel; a variable goes
before the saved setting, and an empty one means "none". Files keep the names given
below. In each place a file is used only if its hash is right.

## Overview

SHA-256 proves that a file is the published one. XXH128 finds damage, but does not
guard against a forged file; whatever the hash, files are read without running code.

| name | architecture | trained for | size | licence | how |
| --- | --- | --- | --- | --- | --- |
"""

_HOW = {"packaged": "in the package", "download": "download", "link": "by hand"}


def table_line(row: ModelRow) -> str:
    """Return the row's line of the overview table."""
    size = "under 7 MB" if row.packaged else format_bytes(row.bytes)
    name = f"[`{row.name}`]({row.homepage})" if row.homepage else f"`{row.name}`"
    cells = (
        name,
        row.architecture,
        row.trained_for,
        size,
        row.licence or "unconfirmed",
        _HOW[row.kind],
    )
    return f"| {' | '.join(cells)} |\n"


def details(row: ModelRow) -> str:
    """Return the row's section: file, address, hash, citation, instructions."""
    addresses = "".join(f"- address: <{url}>\n" for url in (row.url, *row.alternatives))
    return (
        f"\n### {row.name}\n\n"
        + (f"{row.instructions}\n\n" if row.instructions else "")
        + f"- file: `{row.filename}`\n"
        + ("" if row.packaged else addresses)
        + ("" if row.packaged else f"- hash: `{row.hash or 'none is published'}`\n")
        + f"- cite: {row.citation}\n"
    )


def render() -> str:
    """Return the whole page."""
    return (
        _HEAD
        + "".join(map(table_line, CATALOGUE))
        + "\n## Files, hashes, citations\n"
        + "".join(map(details, CATALOGUE))
    )


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(render(), encoding="utf-8")
