# SPDX-License-Identifier: Apache-2.0
"""Real viewers, real mouse events, the tiny model on the blobs picture."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real mouse events are mapped by what is drawn, so they need a display."""
    for item in items:
        if "mouse" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.render)


MINI = Path(__file__).parents[1] / "data" / "parity" / "mini.safetensors"


@pytest.fixture
def viewer(make_napari_viewer_proxy) -> Any:
    """Hand out the proxy that plugins get; the window is shown, so docks are too."""
    return make_napari_viewer_proxy(show=True)


@pytest.fixture
def image(viewer, blobs) -> Any:
    return viewer.add_image(blobs.image, rgb=True, name="blobs")


@pytest.fixture
def wait() -> Callable[..., None]:
    """Let Qt live until a condition holds."""
    from qtpy.QtWidgets import QApplication

    def until(condition: Callable[[], Any], timeout: float = 30.0) -> None:
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, "the condition did not come true in time"
            QApplication.processEvents()
            time.sleep(0.005)

    return until


@pytest.fixture
def docked(viewer, wait, monkeypatch) -> Callable[[type], Any]:
    """Dock a widget, with the tiny model as the one it begins with."""
    # The package's own model is not needed here and takes its time to load.
    monkeypatch.setattr(
        "napari_sam._widgets.model_choice.ModelChoice.is_packaged",
        property(lambda _: False),
    )

    def dock(kind: type) -> Any:
        widget = kind(viewer)
        viewer.window.add_dock_widget(widget, name=kind.__name__)
        wait(widget.isVisible)
        if hasattr(widget, "model"):
            spec = widget.session.add_checkpoint(MINI)
            index = widget.model.models.count() - 1
            assert widget.model.models.itemData(index) == (spec.name, str(MINI))
            widget.model.models.setCurrentIndex(index)
            widget.model.devices.setCurrentText("cpu")
        return widget

    return dock


class Mouse:
    """Presses, drags and clicks on the canvas at positions of a layer's data.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer.__wrapped__

    @property
    def native(self) -> Any:
        return self._viewer.window._qt_viewer.canvas.native

    def canvas_point(self, layer: Any, yx: tuple[float, float]) -> Any:
        from qtpy.QtCore import QPoint

        # Not kept: napari's fixture fails a test that holds on to its QtViewer.
        visuals = self._viewer.window._qt_viewer.layer_to_visual
        visual = visuals[getattr(layer, "__wrapped__", layer)]
        transform = visual.node.transforms.get_transform("visual", "canvas")
        x, y, _, w = transform.map([yx[1], yx[0]])
        return QPoint(round(x / w), round(y / w))

    def click(self, layer: Any, yx: tuple[float, float]) -> None:
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        QTest.mouseClick(
            self.native,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
            self.canvas_point(layer, yx),
        )

    def drag(
        self, layer: Any, start: tuple[float, float], stop: tuple[float, float]
    ) -> None:
        from qtpy.QtCore import QEvent, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtTest import QTest
        from qtpy.QtWidgets import QApplication

        left, plain = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QTest.mousePress(self.native, left, plain, self.canvas_point(layer, start))
        for part in np.linspace(0, 1, 6):
            between = tuple(np.array(start) * (1 - part) + np.array(stop) * part)
            where = self.canvas_point(layer, between)
            move = QMouseEvent(
                QEvent.Type.MouseMove,
                QPointF(where),
                QPointF(self.native.mapToGlobal(where)),
                Qt.MouseButton.NoButton,
                left,
                plain,
            )
            QApplication.sendEvent(self.native, move)
            QApplication.processEvents()
        QTest.mouseRelease(self.native, left, plain, self.canvas_point(layer, stop))


@pytest.fixture
def mouse(viewer) -> Iterator[Mouse]:
    """Hand out the only mouse: what the display's own pointer does is kept away.

    Other tests share the display. Their windows open over this one, and the pointer,
    which nobody moves, is then reported to have left it.
    """
    from qtpy.QtCore import QEvent, QObject
    from qtpy.QtWidgets import QApplication

    kinds = {QEvent.Type.Enter, QEvent.Type.Leave, QEvent.Type.MouseMove}

    class WithoutPointer(QObject):
        def eventFilter(self, _: QObject, event: QEvent) -> bool:
            return event.spontaneous() and event.type() in kinds

    application, without = QApplication.instance(), WithoutPointer()
    application.installEventFilter(without)
    yield Mouse(viewer)
    application.removeEventFilter(without)


@pytest.fixture
def notices(monkeypatch) -> list[str]:
    """Texts of the warnings that the user gets to see."""
    shown: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", shown.append)
    return shown


@pytest.fixture(scope="session")
def centres(blobs) -> list[tuple[int, int, int]]:
    """(y, x, label) of a pixel in the middle of every blob."""
    from scipy.ndimage import distance_transform_edt

    found = []
    for label in np.unique(blobs.labels)[1:].tolist():
        distance = distance_transform_edt(np.pad(blobs.labels == label, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(distance.argmax(), distance.shape)
        found.append((int(y), int(x), label))
    return found


@pytest.fixture(scope="session")
def iou() -> Callable[[np.ndarray, np.ndarray], float]:
    def measure(first: np.ndarray, second: np.ndarray) -> float:
        return float((first & second).sum() / (first | second).sum())

    return measure


class Hand:
    """A user's hand on the mouse and the keys, over the image being prompted.

    Positions are pixels of the image.

    Parameters
    ----------
    viewer : napari.Viewer
    widget : PromptWidget
        After Start.
    mouse : Mouse
    wait : callable
    """

    def __init__(self, viewer: Any, widget: Any, mouse: Mouse, wait: Any) -> None:
        self.viewer = viewer
        self.widget = widget
        self._mouse = mouse
        self._wait = wait

    @property
    def controller(self) -> Any:
        return self.widget.session.controller

    @property
    def annotator(self) -> Any:
        return self.controller.annotator

    @property
    def labels(self) -> Any:
        return self.controller.labels_layer

    @property
    def shown(self) -> np.ndarray:
        """Mask on offer, as large as a plane."""
        shape = self.controller.plane_map.plane_shape(self.controller.plane)
        return self.annotator.shown.mask.on_plane(shape)

    def settle(self) -> None:
        """Wait until the model has answered everything."""
        from qtpy.QtWidgets import QApplication

        QApplication.processEvents()
        self._wait(lambda: not self.widget.session.is_busy)
        QApplication.processEvents()

    def move(self, *path: Any, button: str = "", modifier: str = "") -> None:
        """Move over positions, with a button held or without."""
        for yx in path:
            time.sleep(0.02)  # napari drops moves that follow each other within 5 ms
            self._send("MouseMove", yx, "", button, modifier)

    def click(self, yx: Any, button: str = "Left", modifier: str = "") -> None:
        """Press, release, and wait for the answer."""
        self._send("MouseButtonPress", yx, button, button, modifier)
        self._send("MouseButtonRelease", yx, button, "", modifier)
        self.settle()

    def drag(self, *path: Any, button: str = "Left", modifier: str = "") -> None:
        """Press, move over the other positions, release, and wait for the answer."""
        self._send("MouseButtonPress", path[0], button, button, modifier)
        self.move(*path[1:], button=button, modifier=modifier)
        self._send("MouseButtonRelease", path[-1], button, "", modifier)
        self.settle()

    def enter(self) -> None:
        """Bring the pointer over the canvas."""
        self._cross("Enter")

    def leave(self) -> None:
        """Take the pointer off the canvas."""
        self._cross("Leave")

    def _cross(self, kind: str) -> None:
        from qtpy.QtCore import QEvent
        from qtpy.QtWidgets import QApplication

        QApplication.sendEvent(self._mouse.native, QEvent(getattr(QEvent.Type, kind)))
        QApplication.processEvents()

    def key(self, name: str, *modifiers: str) -> None:
        """Press a key over the canvas, and wait for the answer."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        held = Qt.KeyboardModifier.NoModifier
        for modifier in modifiers:
            held |= getattr(Qt.KeyboardModifier, f"{modifier}Modifier")
        QTest.keyClick(self._mouse.native, getattr(Qt.Key, f"Key_{name}"), held)
        self.settle()

    def press(self, button: Any) -> None:
        """Press a button of a panel."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        assert button.isEnabled(), button.text()
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        self.settle()

    def activate(self, layer: Any) -> None:
        """Make a layer the active one, as a click in the layer list does."""
        self.viewer.layers.selection.active = layer

    def _send(
        self, kind: str, yx: Any, button: str, held: str, modifier: str = ""
    ) -> None:
        from qtpy.QtCore import QEvent, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtWidgets import QApplication

        where = self._mouse.canvas_point(self.controller.image, yx)
        buttons = Qt.MouseButton
        native = self._mouse.native
        event = QMouseEvent(
            getattr(QEvent.Type, kind),
            QPointF(where),
            QPointF(native.mapToGlobal(where)),
            getattr(buttons, f"{button or 'No'}Button"),
            getattr(buttons, f"{held or 'No'}Button"),
            getattr(Qt.KeyboardModifier, f"{modifier or 'No'}Modifier"),
        )
        QApplication.sendEvent(native, event)
        QApplication.processEvents()


@pytest.fixture
def hand(viewer, docked, mouse, wait, monkeypatch, tmp_path) -> Callable[..., Hand]:
    """Start prompting an image; hands out the hand that annotates it."""
    from napari_sam._widgets.prompt_widget import PromptWidget

    monkeypatch.setenv("NAPARI_SAM_DATA_DIR", str(tmp_path / "user-data"))

    def begin(*_: Any, is_started: bool = False) -> Hand:
        widget = docked(PromptWidget)
        if not is_started:
            widget.start.click()
            wait(lambda: "Ready" in widget.message.text())
        hand = Hand(viewer, widget, mouse, wait)
        hand.settle()
        hand.enter()
        return hand

    return begin
