# SPDX-License-Identifier: Apache-2.0
"""A small picture of what the model gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QLabel

from napari_sam.annotation.job import Priority
from napari_sam.errors import NapariSamError

if TYPE_CHECKING:
    from napari_sam._bridge.image_source import LayerImageSource
    from napari_sam.annotation.job import JobContext
    from napari_sam.annotation.ports import JobRunner, PlaneKey
    from napari_sam.structures.arrays import RgbPlane

SIDE_PX = 144


class ViewThumbnail(QLabel):
    """Shows a plane, read elsewhere if a runner is given.

    Parameters
    ----------
    runner : JobRunner or None
        Where planes are read; None reads them at once.
    """

    def __init__(self, runner: JobRunner | None) -> None:
        super().__init__()
        self._runner = runner
        self._lane = lane = f"thumbnail {id(self)}"
        self.setFixedSize(SIDE_PX, SIDE_PX)
        self.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignHCenter)
        self.setWordWrap(True)
        self.setToolTip("What the model sees of this plane, made smaller.")
        if runner is not None:
            self.destroyed.connect(lambda *_: runner.forget(lane))

    def show_plane(self, source: LayerImageSource, plane: PlaneKey) -> None:
        """Show what a source gives for a plane; the newest call wins."""

        def read(_: JobContext | None) -> RgbPlane:
            return source.read_thumbnail(plane, SIDE_PX)

        if self._runner is None:
            try:
                self.show_picture(read(None))
            except NapariSamError as error:
                self.show_text(str(error))
            return
        self._runner.submit(
            read,
            priority=Priority.INTERACTIVE,
            lane=self._lane,
            on_result=self.show_picture,
            on_error=lambda error: self.show_text(str(error)),
        )

    def show_picture(self, rgb: RgbPlane) -> None:
        """Show an (h, w, 3) uint8 picture; small ones are enlarged."""
        pixels = np.ascontiguousarray(rgb)
        height, width = pixels.shape[:2]
        image = QImage(
            pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888
        )
        # QImage does not keep the bytes; the pixmap is a copy.
        self.setPixmap(
            QPixmap.fromImage(image).scaled(
                self.size(),
                Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
        )

    def show_text(self, text: str) -> None:
        """Say why there is nothing to see."""
        self._forget()
        self.setText(text)

    def clear_picture(self) -> None:
        """Show nothing."""
        self._forget()
        self.clear()

    def picture(self) -> Any:
        """Return the pixels shown as (h, w, 3) uint8, None without a picture."""
        pixmap = self.pixmap()
        if pixmap is None or pixmap.isNull():
            return None
        image = pixmap.toImage().convertToFormat(QImage.Format.Format_RGB888)
        bits: Any = image.constBits()
        bits.setsize(image.sizeInBytes())
        rows = np.frombuffer(bits, np.uint8).reshape(image.height(), -1)
        return rows[:, : 3 * image.width()].reshape(image.height(), -1, 3).copy()

    def _forget(self) -> None:
        if self._runner is not None:
            self._runner.forget(self._lane)
