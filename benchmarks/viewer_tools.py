# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks of the real viewer share: a window, a pointer, numbers."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.settings import get_settings
from paired import busy_cores
from qtpy.QtCore import QEvent, QEventLoop, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_sam._widgets.prompt_widget import PromptWidget
from napari_sam.io.sample_data import load_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

WINDOW_PX = (1280, 800)
IMAGE_PX = 512
TIMEOUT_S = 120.0


def open_viewer() -> napari.Viewer:
    """Show a window that neither reads nor changes the user's settings."""
    _use_own_settings()
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*WINDOW_PX)
    settle(1.0)
    return viewer


@cache
def _use_own_settings() -> tempfile.TemporaryDirectory[str]:
    """Keep settings and journals in a folder that goes with the program."""
    folder = tempfile.TemporaryDirectory()
    os.environ["NAPARI_SAM_DATA_DIR"] = folder.name
    os.environ["NAPARI_SAM_EMBEDDINGS_DIR"] = str(Path(folder.name) / "embeddings")
    get_settings(Path(folder.name) / "settings.yaml")
    return folder


def sample_image(n_planes: int = 0) -> np.ndarray:
    """Return real nuclei, mirrored outwards to 512 x 512 pixels.

    Parameters
    ----------
    n_planes : int
        0 for a flat image; otherwise a stack of planes, each rolled further.
    """
    image = load_sample("nuclei").image
    margins = [(n // 2, n - n // 2) for n in (IMAGE_PX - side for side in image.shape)]
    flat = np.pad(image, margins, mode="reflect")
    if not n_planes:
        return flat
    return np.stack([np.roll(flat, 23 * i, axis=(0, 1)) for i in range(n_planes)])


def start_prompts(viewer: napari.Viewer) -> PromptWidget:
    """Open the panel on the image and wait until the model has looked at it."""
    widget = PromptWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment with prompts")
    settle(0.5)
    wait(lambda: not widget.session.is_busy)
    widget.start.click()
    wait(lambda: not widget.session.is_busy)
    settle(1.0)
    return widget


class Pointer:
    """The mouse over the canvas, moved by real Qt events.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        # By name: vispy makes its canvas from whichever Qt binding it has found.
        self.canvas = next(
            widget
            for widget in QApplication.allWidgets()
            if type(widget).__name__ == "CanvasBackendDesktop" and widget.isVisible()
        )

    def place(self, yx: tuple[float, float]) -> QPointF:
        """Return the canvas pixel of a position in the world, in 2-D display."""
        camera = self._viewer.camera
        y, x = (
            (world - centre) * camera.zoom + size / 2
            for world, centre, size in zip(
                yx,
                camera.center[-2:],
                (self.canvas.height(), self.canvas.width()),
                strict=True,
            )
        )
        return QPointF(round(x), round(y))

    def move(self, yx: tuple[float, float]) -> float:
        """Move there without a button; returns the time just before the event."""
        where = self.place(yx)
        event = QMouseEvent(
            QEvent.Type.MouseMove,
            where,
            QPointF(self.canvas.mapToGlobal(where.toPoint())),
            Qt.MouseButton.NoButton,
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
        )
        begin = time.perf_counter()
        QApplication.sendEvent(self.canvas, event)
        return begin

    def click(self, yx: tuple[float, float]) -> None:
        """Click with the left button."""
        QTest.mouseClick(
            self.canvas,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
            self.place(yx).toPoint(),
        )


def positions(n: int, seed: int = 1) -> list[tuple[float, float]]:
    """Positions well inside the image, the same in every run."""
    rng = np.random.default_rng(seed)
    found = rng.uniform(0.1 * IMAGE_PX, 0.9 * IMAGE_PX, (n, 2))
    return [(float(y), float(x)) for y, x in found]


def wait(condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> bool:
    """Let Qt live until a condition holds; whether it came to hold."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        QApplication.processEvents()
        time.sleep(0.0005)
    return True


def settle(seconds: float) -> None:
    """Let Qt live for a while, in an event loop as the user's."""
    loop = QEventLoop()
    QTimer.singleShot(round(1000 * seconds), loop.quit)
    loop.exec()


def summary(seconds: Iterable[float]) -> dict[str, float | int]:
    """Return number, median, 95th and 99th percentile, maximum, in milliseconds."""
    values = 1000 * np.asarray(list(seconds), dtype=float)
    if not values.size:
        return {"n": 0}
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return {
        "n": int(values.size),
        "median_ms": round(float(p50), 2),
        "p95_ms": round(float(p95), 2),
        "p99_ms": round(float(p99), 2),
        "max_ms": round(float(values.max()), 2),
    }


def environment() -> dict[str, Any]:
    """Return what a number depends on."""
    import torch

    names = ("napari", "vispy", "torch", "numpy", "PyQt6")
    return {
        "time": time.strftime("%Y-%m-%d %H:%M"),
        "machine": platform.platform(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "load after": busy_cores(),
        "platform": QApplication.platformName(),
        "versions": {name: _version(name) for name in names},
    }


def report(text: str) -> None:
    """Write a line to the terminal at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def save(path: Path | None, results: dict[str, Any]) -> None:
    """Write results and environment as JSON, if a path is given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"environment": environment(), **results}, indent=1)
        path.write_text(text + "\n", encoding="utf-8")
        report(f"wrote {path}")


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return "none"
