# SPDX-License-Identifier: Apache-2.0
"""One row of the catalogue of weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SAM_CITATION = "Kirillov et al. 2023, Segment Anything, arXiv:2304.02643"
MOBILE_SAM_CITATION = (
    "Zhang et al. 2023, Faster Segment Anything (MobileSAM), arXiv:2306.14289"
)

Kind = Literal["packaged", "trained", "download", "link"]


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One set of weights.

    Attributes
    ----------
    name
        The name users give to ``load_model``; unique.
    architecture
        The registered builder that these weights fit.
    url
        Address of the file (``download``) or of the page to start from (``link``);
        None for weights inside the package.
    bytes
        Size of the file where it is published, for progress and the free-space check.
        Never a reason to refuse a file: the hash decides.
    hash
        ``"algorithm:hexdigest"``, or None where no hash is published. ``sha256`` guards
        against tampering, ``xxh128`` only against damage.
    licence
        Licence of the weights as their publisher states it; None while unconfirmed.
    citation
        What to cite when results are published.
    trained_for
        The images the weights were trained on.
    instructions
        How a ``link`` file is obtained by hand; empty for the other kinds.
    filename
        Name of the file in the weights folder, in an offline folder and on a mirror.
    alternatives
        Further addresses of the same bytes, tried in order after ``url``.
    homepage
        The publisher's page about the model.
    packaged
        True when the file is part of the installed package.
    folder
        Where the file lies, if the model was trained on this machine.
    """

    name: str
    architecture: str
    url: str | None
    bytes: int | None
    hash: str | None
    licence: str | None
    citation: str
    trained_for: str
    instructions: str
    filename: str
    alternatives: tuple[str, ...] = ()
    homepage: str = ""
    packaged: bool = False
    folder: Path | None = None

    @property
    def kind(self) -> Kind:
        """``packaged``, ``trained``, ``download`` (hash, licence known) or ``link``."""
        if self.packaged:
            return "packaged"
        if self.folder is not None:
            return "trained"
        if self.url is not None and self.hash is not None and self.licence is not None:
            return "download"
        return "link"


def format_bytes(n_bytes: int | None) -> str:
    """Return a size for people, in decimal units as download pages use them.

    Examples
    --------
    >>> format_bytes(375_042_383), format_bytes(2_564_550_879), format_bytes(None)
    ('375.0 MB', '2.56 GB', 'size unknown')
    """
    if n_bytes is None:
        return "size unknown"
    if n_bytes >= 10**9:
        return f"{n_bytes / 10**9:.2f} GB"
    if n_bytes >= 10**6:
        return f"{n_bytes / 10**6:.1f} MB"
    return f"{n_bytes / 1000:.1f} kB"
