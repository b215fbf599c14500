# SPDX-License-Identifier: Apache-2.0
"""A real napari that a script uses as a person does: menus, buttons, mouse, keys.

Needs a display, for instance ``xvfb-run -a -s "-screen 0 1600x1200x24" python ...``.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.settings import get_plugin_settings, get_settings
from npe2 import PluginManager, PluginManifest
from PIL import Image, ImageDraw
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QKeyEvent, QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

import napari_sam
from napari_sam.io.journal_reader import discard_journal, find_unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLUGIN = "napari-sam-live"
TIMEOUT_S = 120.0
LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
PLAIN = Qt.KeyboardModifier.NoModifier
CONTROL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier
N_COLOURS = 255
"""Of a picture: few enough for a small file, enough for the eye."""
MARGIN_PX = 8
ARROW = ((0, 0), (0, 17), (4, 13), (7, 20), (10, 19), (7, 12), (12, 12))
"""Corners of a mouse pointer, (x, y) in pixels."""


@contextmanager
def own_settings() -> Iterator[None]:
    """Keep settings and data in an empty folder: nobody's own are used or changed."""
    manager = PluginManager.instance()
    manager.discover()
    if PLUGIN not in manager:  # run from a checkout that is not installed
        manifest = Path(napari_sam.__file__).parent / "napari.yaml"
        manager.register(PluginManifest.from_file(manifest))
    with tempfile.TemporaryDirectory() as folder:
        get_settings(Path(folder) / "settings.yaml").appearance.theme = "dark"
        get_plugin_settings(path_dir=Path(folder))
        os.environ["NAPARI_SAM_DATA_DIR"] = str(Path(folder) / "data")
        yield


def forget_journals() -> None:
    """Delete what earlier viewers left to be restored."""
    for info in find_unfinished():
        discard_journal(info.path)


class DrivenViewer:
    """One viewer and the person in front of it.

    Parameters
    ----------
    width_px, height_px : int
        Of the window.
    """

    def __init__(self, width_px: int = 1360, height_px: int = 900) -> None:
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(width_px, height_px)
        self._started: set[int] = set()

    def close(self) -> None:
        """Close the window."""
        self.viewer.close()
        self.settle()

    def open_sample(self, name: str) -> tuple[Any, Any]:
        """File > Open Sample > Segment Anything; returns image and hidden truth."""
        image, truth = self.viewer.open_sample(PLUGIN, name)
        self.settle(0.3)
        return image, truth

    def open_panel(self, title: str, width_px: int | None = None) -> Any:
        """Plugins > Segment Anything > title; returns the panel."""
        dock, panel = self.viewer.window.add_plugin_dock_widget(PLUGIN, title)
        if width_px is not None:
            self.main.resizeDocks([dock], [width_px], Qt.Orientation.Horizontal)
        self.wait(panel.isVisible)
        self.settle(0.3)
        return panel

    def close_panel(self, panel: Any) -> None:
        """Press the cross in a panel's title."""
        self.viewer.window.remove_dock_widget(panel)
        self.settle(0.3)

    def start(self, panel: Any) -> Any:
        """Press Start and wait until the model has looked at the image."""
        self.wait(panel.start.isEnabled)
        panel.start.click()
        session = panel.session
        self.wait(lambda: session.controller is not None and not session.is_busy)
        self.settle(0.3)
        return session.controller

    def reset_view(self) -> None:
        """Press the house."""
        self.viewer.reset_view()
        self.settle(0.3)

    def click(
        self, layer: Any, yx: Any, button: Any = LEFT, modifiers: Any = PLAIN
    ) -> None:
        """Move to a position of a layer and click there."""
        self.move(layer, yx, modifiers)
        QTest.mouseClick(self.canvas, button, modifiers, self._canvas_point(layer, yx))

    def move(self, layer: Any, yx: Any, modifiers: Any = PLAIN) -> None:
        """Move the pointer to a position of a layer, no button held."""
        self._send_move(self._canvas_point(layer, yx), Qt.MouseButton.NoButton)

    def drag(self, layer: Any, *path: Any) -> None:
        """Press at the first position, release at the last."""
        QTest.mousePress(self.canvas, LEFT, PLAIN, self._canvas_point(layer, path[0]))
        for start, stop in pairwise(path):
            for part in np.linspace(0, 1, 6):
                between = np.asarray(start) * (1 - part) + np.asarray(stop) * part
                self._send_move(self._canvas_point(layer, between), LEFT)
        QTest.mouseRelease(
            self.canvas, LEFT, PLAIN, self._canvas_point(layer, path[-1])
        )

    def press(self, key: Any, modifiers: Any = PLAIN) -> None:
        """Press the key of a letter; it goes where the focus is."""
        focused = self.main.focusWidget() or self.canvas
        letter = chr(key)
        if modifiers & CONTROL:  # as X11 says it, unlike Qt's own test functions
            letter = chr(ord(letter) - ord("@"))
        elif not modifiers & SHIFT:
            letter = letter.lower()
        for kind in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease):
            QApplication.sendEvent(focused, QKeyEvent(kind, key, modifiers, letter))
        QApplication.processEvents()

    def type_into(self, field: Any, text: str) -> None:
        """Click a field and type."""
        QTest.mouseClick(field, LEFT)
        QTest.keyClicks(field, text)
        QApplication.processEvents()

    def click_row(self, table: Any, row: int) -> None:
        """Click the first cell of a row."""
        place = table.visualRect(table.model().index(row, 0)).center()
        QTest.mouseClick(table.viewport(), LEFT, PLAIN, place)
        QApplication.processEvents()

    def picture(
        self, path: Path, *parts: Any, pointer: tuple[Any, Any] | None = None
    ) -> None:
        """Save the window as a small PNG.

        Parameters
        ----------
        path : Path
            Of the PNG.
        *parts : QWidget
            What is wanted of the window; all of it by default.
        pointer : (layer, (y, x)), optional
            Where to draw an arrow, since a screenshot has none.
        """
        self.settle()
        pixels = self.viewer.screenshot(canvas_only=False, flash=False)
        image = Image.fromarray(pixels).convert("RGB")
        if pointer is not None:
            where = self._in_window(self.canvas, self._canvas_point(*pointer))
            arrow = [(where.x() + x, where.y() + y) for x, y in ARROW]
            ImageDraw.Draw(image).polygon(arrow, fill="white", outline="black")
        if parts:
            image = image.crop(self._around(parts))
        image.quantize(N_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        size = path.stat().st_size // 1000
        print(f"wrote {path}, {image.width} x {image.height}, {size} kB", flush=True)

    def wait(self, condition: Callable[[], object]) -> None:
        """Let Qt live until a condition holds."""
        end = time.monotonic() + TIMEOUT_S
        while not condition():
            if time.monotonic() > end:
                msg = "The viewer did not get there in time."
                raise TimeoutError(msg)
            QApplication.processEvents()
            time.sleep(0.005)

    def settle(self, seconds: float = 0.5) -> None:
        """Let everything be drawn."""
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > end)

    @property
    def main(self) -> Any:
        """The window as Qt knows it."""
        return self.viewer.window._qt_window  # noqa: SLF001  there is no public way

    @property
    def canvas(self) -> Any:
        """The widget that shows the layers."""
        return self._qt_viewer.canvas.native

    def _in_window(self, widget: Any, point: QPoint) -> QPoint:
        return widget.mapTo(self.main, point)

    def _around(self, parts: Any) -> tuple[int, int, int, int]:
        """Box around some widgets with a margin, (left, top, right, bottom)."""
        first = [self._in_window(part, QPoint(0, 0)) for part in parts]
        last = [
            self._in_window(part, QPoint(part.width(), part.height())) for part in parts
        ]
        return (
            max(min(point.x() for point in first) - MARGIN_PX, 0),
            max(min(point.y() for point in first) - MARGIN_PX, 0),
            min(max(point.x() for point in last) + MARGIN_PX, self.main.width()),
            min(max(point.y() for point in last) + MARGIN_PX, self.main.height()),
        )

    @property
    def _qt_viewer(self) -> Any:
        return self.viewer.window._qt_viewer  # noqa: SLF001  there is no public way

    def _send_move(self, where: QPoint, buttons: Any) -> None:
        event = QMouseEvent(
            QEvent.Type.MouseMove,
            QPointF(where),
            QPointF(self.canvas.mapToGlobal(where)),
            Qt.MouseButton.NoButton,
            buttons,
            PLAIN,
        )
        QApplication.sendEvent(self.canvas, event)
        QApplication.processEvents()

    def _canvas_point(self, layer: Any, yx: Any) -> QPoint:
        visual = self._qt_viewer.layer_to_visual[layer]
        transform = visual.node.transforms.get_transform("visual", "canvas")
        x, y, _, w = transform.map([yx[1], yx[0]])
        return QPoint(round(x / w), round(y / w))
