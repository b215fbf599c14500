# SPDX-License-Identifier: Apache-2.0
"""The table of known weights: where they lie, what proves them, under which terms.

Only rows whose hash *and* licence are known can be downloaded. Every other row is a
link with instructions; a file fetched by hand is still checked when a hash is known.
Hashes come from the publishers or agree across several public registries.
"""

import difflib

from napari_sam.errors import UnknownModelError
from napari_sam.weights.catalogue_microscopy import MICROSCOPY_ROWS
from napari_sam.weights.model_row import (
    MOBILE_SAM_CITATION,
    SAM_CITATION,
    Kind,
    ModelRow,
    format_bytes,
)
from napari_sam.weights.trained import trained_rows

__all__ = [
    "CATALOGUE",
    "Kind",
    "ModelRow",
    "format_bytes",
    "get_row",
    "list_models",
]

_META = "https://dl.fbaipublicfiles.com/segment_anything"
_SAM_PAGE = "https://github.com/facebookresearch/segment-anything"


def _official(name: str, filename: str, n_bytes: int, sha256: str) -> ModelRow:
    """Return a row for one of the three checkpoints of the SAM authors."""
    return ModelRow(
        name=name,
        architecture=name,
        url=f"{_META}/{filename}",
        bytes=n_bytes,
        hash=f"sha256:{sha256}",
        licence="Apache-2.0",
        citation=SAM_CITATION,
        trained_for="natural images (SA-1B)",
        instructions="",
        filename=filename,
        homepage=_SAM_PAGE,
    )


_EMBEDDED = ModelRow(
    name="embedded",
    architecture="embedded_v2",
    url=None,
    bytes=None,
    # The digest is computed when the file is loaded: it ships with this very code, so
    # a pinned one could only ever repeat the package's own checksum.
    hash=None,
    licence="Apache-2.0",
    citation="napari-sam (this package); start weights: Tan and Le 2019, EfficientNet, "
    "arXiv:1905.11946",
    trained_for="microscopy: nuclei (fluorescence, stained tissue), axons (scanning "
    "EM) and drawn scenes; see the model card",
    instructions="",
    filename="embedded.safetensors",
    packaged=True,
)

_BASE = (
    ModelRow(
        name="vit_t",
        architecture="vit_t",
        url="https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
        bytes=40_728_226,
        hash="sha256:6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        licence="Apache-2.0",
        citation=f"{MOBILE_SAM_CITATION}; {SAM_CITATION}",
        trained_for="natural images (SA-1B), distilled from vit_h",
        instructions="",
        filename="mobile_sam.pt",
        alternatives=("https://owncloud.gwdg.de/index.php/s/TuDzuwVDHd1ZDnQ/download",),
        homepage="https://github.com/ChaoningZhang/MobileSAM",
    ),
    _official(
        "vit_b",
        "sam_vit_b_01ec64.pth",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    _official(
        "vit_l",
        "sam_vit_l_0b3195.pth",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    _official(
        "vit_h",
        "sam_vit_h_4b8939.pth",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
)

CATALOGUE: tuple[ModelRow, ...] = (_EMBEDDED, *_BASE, *MICROSCOPY_ROWS)
"""All rows, the default model first."""

_BY_NAME = {row.name: row for row in CATALOGUE}


def list_models() -> tuple[str, ...]:
    """Return the names of all known weights, the default ``embedded`` first.

    Models that were trained on this machine stand at the end. Listed does not mean
    installed: see ``napari-sam models`` or the model panel.

    Examples
    --------
    >>> list_models()[:5]
    ('embedded', 'vit_t', 'vit_b', 'vit_l', 'vit_h')
    """
    return (*_BY_NAME, *(row.name for row in trained_rows()))


def get_row(name: str) -> ModelRow:
    """Return the row called ``name``, of the catalogue or trained on this machine.

    Raises
    ------
    UnknownModelError
        If there is none; the text lists the names and the closest one.
    """
    row = _BY_NAME.get(name) if isinstance(name, str) else None
    if row is not None:
        return row
    trained = {row.name: row for row in trained_rows()}
    if name in trained:
        return trained[name]
    known = (*_BY_NAME, *trained)
    close = difflib.get_close_matches(str(name).lower(), known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    msg = (
        f"Unknown model {name!r}.{hint} Choose one of: {', '.join(known)}. Weights "
        "of your own are loaded by their path, as a checkpoint."
    )
    raise UnknownModelError(msg)
