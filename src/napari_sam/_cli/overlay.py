# SPDX-License-Identifier: Apache-2.0
"""A picture that shows what was found."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from napari_sam.io.atomic import written_atomically

_SCALE = 2
_CAPTION_PX = 18
_GAP_PX = 8
_COLUMNS = 2
_WHITE = (255, 255, 255)
# Okabe and Ito's colours, which the colour-blind can tell apart, without black.
_COLOURS = np.array(
    [
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (240, 228, 66),
        (0, 114, 178),
        (213, 94, 0),
        (204, 121, 167),
    ],
    dtype=np.uint8,
)


def outline_panel(
    image: NDArray[np.uint8],
    labels: NDArray[np.integer],
    points_yx: Sequence[tuple[int, int]] = (),
) -> NDArray[np.uint8]:
    """Draw coloured outlines of objects and crosses at points, twice enlarged.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8 array
        What lies below.
    labels : (H, W) integer array
        Objects; 0 is background.
    points_yx : sequence of (row, column)
        Where crosses are drawn.

    Returns
    -------
    (2 H, 2 W, 3) uint8 array
    """
    colour = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    panel = colour.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1).copy()
    big = labels.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)
    edge = _outlines(labels).repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)
    panel[edge] = _COLOURS[big[edge] % len(_COLOURS)]
    for y, x in points_yx:
        _cross(panel, _SCALE * y, _SCALE * x)
    return panel


def write_panels(path: Path, panels: Sequence[tuple[str, NDArray[np.uint8]]]) -> Path:
    """Write panels of one size, two in a row, each under its caption, as PNG.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    h, w = panels[0][1].shape[:2]
    h_step, w_step = h + _CAPTION_PX + _GAP_PX, w + _GAP_PX
    n_rows = -(-len(panels) // _COLUMNS)
    size = (_COLUMNS * w_step - _GAP_PX, n_rows * h_step - _GAP_PX)
    sheet = Image.new("RGB", size, "black")
    pen = ImageDraw.Draw(sheet)
    for number, (caption, panel) in enumerate(panels):
        row, column = divmod(number, _COLUMNS)
        left, top = column * w_step, row * h_step
        pen.text((left + 3, top + 3), caption, fill=_WHITE)
        sheet.paste(Image.fromarray(panel), (left, top + _CAPTION_PX))
    with written_atomically(path) as temporary:
        sheet.save(temporary, format="PNG")
    return path


def _outlines(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Pixels of objects with a 4-neighbour that is something else."""
    edge = np.zeros(labels.shape, dtype=np.bool_)
    down = labels[1:] != labels[:-1]
    right = labels[:, 1:] != labels[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    edge &= labels != 0
    return edge


def _cross(panel: NDArray[np.uint8], y: int, x: int) -> None:
    """Draw a white cross of 7 pixels on black, visible on any ground."""
    h, w = panel.shape[:2]
    for size, colour in ((4, (0, 0, 0)), (3, _WHITE)):
        wide = 1 if size == 4 else 0
        rows = slice(max(y - size, 0), min(y + size + 1, h))
        columns = slice(max(x - size, 0), min(x + size + 1, w))
        panel[rows, max(x - wide, 0) : x + wide + 1] = colour
        panel[max(y - wide, 0) : y + wide + 1, columns] = colour
