# SPDX-License-Identifier: Apache-2.0
"""What one click gave before training and gives now, beside the user's own mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_sam.structures.arrays import RgbPlane
    from napari_sam.training.task import Example

SIDE_PX = 92
_TITLES = ("your mask", "before", "now")
_TRUTH, _ANSWER = (0, 200, 130), (255, 160, 0)
_FILL = 0.35
_MARGIN, _LEAST = 0.4, 6.0  # around an object: parts of its size; pixels of the mask


class ExampleMasks(QWidget):
    """A few objects that the model does not learn from, three pictures of each."""

    def __init__(self) -> None:
        super().__init__()
        self._before: dict[tuple[str, bytes], npt.NDArray[np.bool_]] = {}
        self._ious: dict[tuple[str, bytes], float] = {}
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(3)
        self.pictures: list[list[RgbPlane]] = []
        self.setToolTip(
            "Objects that the model does not learn from. Green: your mask. Orange: "
            "what it answers to one click in the middle."
        )

    def clear(self) -> None:
        """Forget the pictures of a run."""
        self._before.clear()
        self._ious.clear()
        self.pictures.clear()
        while (item := self._grid.takeAt(0)) is not None:
            widget: Any = item.widget()
            widget.deleteLater()

    def show_examples(self, examples: Sequence[Example]) -> None:
        """Show examples; the first ones of a run are those before it."""
        if not examples:
            return
        is_first = not self._before
        if is_first:
            for example in examples:
                self._before[_key(example)] = example.predicted
                self._ious[_key(example)] = example.iou
        before, ious = dict(self._before), dict(self._ious)
        self.clear()
        self._before, self._ious = before, ious
        for column, title in enumerate(_TITLES):
            self._grid.addWidget(_caption(title), 0, column)
        for row, example in enumerate(examples):
            key = _key(example)
            first = before.get(key, example.predicted)
            pictures = [
                picture(example, None),
                picture(example, first),
                picture(example, example.predicted),
            ]
            self.pictures.append(pictures)
            texts = (
                "",
                f"IoU {ious.get(key, example.iou):.2f}",
                f"IoU {example.iou:.2f}",
            )
            for column, (rgb, text) in enumerate(zip(pictures, texts, strict=True)):
                self._grid.addWidget(_shown(rgb), 2 * row + 1, column)
                self._grid.addWidget(_caption(text), 2 * row + 2, column)


def picture(example: Example, answer: npt.NDArray[np.bool_] | None) -> RgbPlane:
    """Draw an object with the outline of its mask, and of an answer if there is one.

    Parameters
    ----------
    example : Example
        Its picture and true mask.
    answer : (h', w') bool array or None
        Of the size of ``example.truth``.

    Returns
    -------
    (SIDE_PX, SIDE_PX, 3) uint8 array
    """
    rows, columns = np.nonzero(example.truth)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    half = max(height, width) * (0.5 + _MARGIN) + _LEAST / 2
    y, x = rows.min() + height / 2, columns.min() + width / 2
    box = (y - half, x - half, y + half, x + half)
    # The mask's longer side is the frame's, which the picture fills on one side.
    stride = max(example.rgb.shape[:2]) / max(example.truth.shape)
    rgb = _cut(Image.fromarray(example.rgb), tuple(stride * side for side in box))
    if answer is not None:
        inside = _cut_mask(answer, box)
        rgb[inside] = (1 - _FILL) * rgb[inside] + _FILL * np.array(_ANSWER)
        rgb[_rim(inside)] = _ANSWER
    rgb[_rim(_cut_mask(example.truth, box))] = _TRUTH
    return rgb


def _key(example: Example) -> tuple[str, bytes]:
    """Tell an object: its image, and its mask."""
    return example.name, np.packbits(example.truth).tobytes()


def _cut(image: Image.Image, box: tuple[float, ...]) -> Any:
    """Cut (y0, x0, y1, x1) out, black beside the picture, and make it SIDE_PX wide."""
    y0, x0, y1, x1 = box
    scale = (x1 - x0) / SIDE_PX, (y1 - y0) / SIDE_PX
    found = image.transform(
        (SIDE_PX, SIDE_PX),
        Image.Transform.AFFINE,
        (scale[0], 0, x0, 0, scale[1], y0),
        Image.Resampling.BILINEAR,
    )
    return np.array(found)


def _cut_mask(mask: npt.NDArray[np.bool_], box: tuple[float, ...]) -> Any:
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    return _cut(grey, box) > 127


def _rim(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return np.asarray(mask & ~ndimage.binary_erosion(mask, iterations=1))


def _caption(text: str) -> QLabel:
    label = QLabel(text)
    label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
    return label


def _shown(rgb: RgbPlane) -> QLabel:
    pixels = np.ascontiguousarray(rgb)
    height, width = pixels.shape[:2]
    image = QImage(
        pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888
    )
    label = QLabel()
    # QImage does not keep the bytes; the pixmap is a copy.
    label.setPixmap(QPixmap.fromImage(image))
    label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
    return label
