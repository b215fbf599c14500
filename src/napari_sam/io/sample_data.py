# SPDX-License-Identifier: Apache-2.0
"""Small labelled images that come with the package.

Three are real and were not used to train the embedded model; one is drawn.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_sam.errors import ImageError
from napari_sam.io.drawn_sample import draw_cells

_FOLDER = Path(__file__).parent / "samples"
_DRAWN = "drawn"


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with its true objects.

    Attributes
    ----------
    name, title : str
        For programs and for people.
    image : (H, W) or (H, W, 3) uint8 array
    labels : (H, W) uint16 array
        0 is background.
    credit, licence : str
        Who made the image and on what terms it is passed on; ``samples.json`` says
        also where it was taken from and what was changed.
    pixel_size_um : (float, float) or None
        Height and width of a pixel where the source states them.
    """

    name: str
    title: str
    image: NDArray[np.uint8]
    labels: NDArray[np.uint16]
    credit: str
    licence: str
    pixel_size_um: tuple[float, float] | None = None


def sample_names() -> tuple[str, ...]:
    """Names that ``load_sample`` knows: real images first, the drawn one last."""
    return (*_records(), _DRAWN)


def load_sample(name: str) -> Sample:
    """Load one sample.

    Parameters
    ----------
    name : str
        One of ``sample_names()``.

    Raises
    ------
    ImageError
        If there is no such sample.

    Examples
    --------
    >>> sample = load_sample("nuclei")
    >>> sample.image.shape, int(sample.labels.max())
    ((360, 360), 43)
    """
    if name == _DRAWN:
        image, labels = draw_cells()
        credit = "drawn by napari-sam; the truth is exact"
        return Sample(_DRAWN, "Drawn cells", image, labels, credit, "CC0")
    records = _records()
    if name not in records:
        msg = f"Unknown sample {name!r}. Choose one of: {', '.join(sample_names())}."
        raise ImageError(msg)
    record = records[name]
    size = record["pixel_size_um"]
    return Sample(
        name=name,
        title=str(record["title"]),
        image=_pixels(f"{name}.png"),
        labels=_pixels(f"{name}_labels.png").astype(np.uint16),
        credit=str(record["credit"]),
        licence=str(record["licence"]),
        pixel_size_um=(size[0], size[1]) if isinstance(size, list) else None,
    )


def _records() -> dict[str, dict[str, str | list[float] | None]]:
    text = (_FOLDER / "samples.json").read_text(encoding="utf-8")
    records: dict[str, dict[str, str | list[float] | None]] = json.loads(text)
    return records


def _pixels(file_name: str) -> NDArray[np.uint8]:
    with Image.open(_FOLDER / file_name) as image:
        return np.array(image)
