# SPDX-License-Identifier: Apache-2.0
"""The napari side of input on a real canvas: mouse, keys, previews."""

from __future__ import annotations

import time

import numpy as np
import pytest

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.mouse import Pointer
from napari_sam._bridge.preview_layer import HOVERED, PreviewLayer
from napari_sam._bridge.prompt_layers import PromptLayers
from napari_sam.annotation.ports import PlaneKey
from napari_sam.structures.drawn import ShapeKind
from napari_sam.structures.mask_window import MaskWindow

FLAT = PlaneKey()
SHAPE = (200, 300)


@pytest.fixture
def model(viewer):
    """The viewer behind the proxy, as the bridge uses it."""
    return viewer.__wrapped__


@pytest.fixture
def plane_map(model):
    image = model.add_image(np.full(SHAPE, 120, np.uint8), contrast_limits=(0, 255))
    return PlaneMap(image, SHAPE, (1.0, 1.0))


@pytest.fixture
def prompts(model, plane_map):
    prompts = PromptLayers(plane_map)
    prompts.add_to(model)
    prompts.connect()
    yield prompts
    prompts.disconnect()


@pytest.fixture
def said(model, plane_map, prompts):
    """What the pointer says; undone at the end."""
    heard = []
    pointer = Pointer(model, plane_map, prompts)
    pointer.connect()
    pointer.hovered.connect(lambda world: heard.append(("hover", world)))
    pointer.left.connect(lambda: heard.append(("left",)))
    pointer.clicked.connect(lambda *found: heard.append(("click", *found)))
    pointer.boxed.connect(lambda *found: heard.append(("box", *found)))
    pointer.picked.connect(lambda *found: heard.append(("pick", *found)))
    yield heard
    pointer.disconnect()


def send(mouse, kind, where, button, held, modifier=None):
    from qtpy.QtCore import QEvent, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    event = QMouseEvent(
        getattr(QEvent.Type, kind),
        QPointF(where),
        QPointF(mouse.native.mapToGlobal(where)),
        button,
        held,
        Qt.KeyboardModifier.NoModifier if modifier is None else modifier,
    )
    QApplication.sendEvent(mouse.native, event)
    QApplication.processEvents()


def gesture(mouse, layer, path, button, modifier=None):
    """Press on the first position, move over the others, release on the last."""
    from qtpy.QtCore import Qt

    none = Qt.MouseButton.NoButton
    points = [mouse.canvas_point(layer, yx) for yx in path]
    send(mouse, "MouseButtonPress", points[0], button, button, modifier)
    for point in points[1:]:
        time.sleep(0.02)  # napari drops moves that follow each other within 5 ms
        send(mouse, "MouseMove", point, none, button, modifier)
    send(mouse, "MouseButtonRelease", points[-1], button, none, modifier)


def near(found, expected):
    """Within a pixel of the screen, which shows about one and a half of the image."""
    return np.allclose(found, expected, atol=1.6)


def test_clicks_of_all_kinds(model, prompts, said, mouse):
    from qtpy.QtCore import Qt

    image = model.layers[0]
    left, right = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
    control = Qt.KeyboardModifier.ControlModifier
    shift = Qt.KeyboardModifier.ShiftModifier
    gesture(mouse, image, [(50, 60)], left)
    gesture(mouse, image, [(70, 90)], left, control)
    gesture(mouse, image, [(90, 120)], right)
    gesture(mouse, image, [(120, 150)], left, shift)
    heard = [entry for entry in said if entry[0] not in ("hover", "left")]
    assert [entry[0] for entry in heard] == ["click", "click", "click", "pick"]
    assert [entry[3] for entry in heard[:3]] == [1, 0, 0]
    for entry, yx in zip(
        heard, [(50, 60), (70, 90), (90, 120), (120, 150)], strict=True
    ):
        assert near(entry[2], yx)
    assert len(prompts.points.data) == 0


def test_left_drag_is_a_box_and_right_drag_zooms(model, prompts, said, mouse):
    from qtpy.QtCore import Qt

    image = model.layers[0]
    camera = model.scene.camera if hasattr(model, "scene") else model.camera
    centre, zoom = camera.center, camera.zoom
    path = [(50, 60), (60, 80), (80, 120), (100, 160)]
    gesture(mouse, image, path, Qt.MouseButton.LeftButton)
    boxes = [entry for entry in said if entry[0] == "box"]
    assert len(boxes) == 1
    assert near(boxes[0][2], (50, 60, 100, 160))
    assert (camera.center, camera.zoom) == (centre, zoom)
    assert len(prompts.shapes.data) == 0
    gesture(mouse, image, path, Qt.MouseButton.RightButton)
    assert camera.zoom != zoom
    assert not [entry for entry in said if entry[0] == "click"]


def test_another_window_over_this_one_is_no_leaving(model, said, mouse):
    """Whoever runs tests side by side has windows that open over each other."""
    from qtpy.QtCore import Qt
    from qtpy.QtGui import QCursor
    from qtpy.QtWidgets import QApplication, QWidget

    none = Qt.MouseButton.NoButton
    where = mouse.canvas_point(model.layers[0], (50, 60))
    send(mouse, "MouseMove", where, none, none)
    QCursor.setPos(mouse.native.mapToGlobal(where))
    QApplication.processEvents()
    other = QWidget()
    other.setGeometry(mouse.native.window().frameGeometry())
    other.show()
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        QApplication.processEvents()
    other.close()
    other.deleteLater()
    assert [entry[0] for entry in said] == ["hover"]


def test_hover_follows_the_pointer_and_leaves_with_it(model, prompts, said, mouse):
    from qtpy.QtCore import Qt

    none = Qt.MouseButton.NoButton
    for yx in ((50, 60), (52, 64), (400, 64)):
        time.sleep(0.02)
        where = mouse.canvas_point(model.layers[0], yx)
        send(mouse, "MouseMove", where, none, none)
    assert [entry[0] for entry in said] == ["hover", "hover", "left"]
    assert near(said[1][1], (52, 64))


def test_space_gives_the_mouse_to_the_camera(model, prompts, said, mouse):
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    camera = model.scene.camera if hasattr(model, "scene") else model.camera
    centre = camera.center
    QTest.keyPress(mouse.native, Qt.Key.Key_Space)
    path = [(50, 60), (60, 80), (80, 120)]
    gesture(mouse, model.layers[0], path, Qt.MouseButton.LeftButton)
    QTest.keyRelease(mouse.native, Qt.Key.Key_Space)
    assert camera.center != centre
    assert not [entry for entry in said if entry[0] in ("box", "click")]


def test_tools_of_napari_draw_prompts(model, prompts, said, mouse):
    from qtpy.QtCore import Qt

    changes = []
    prompts.changed.connect(lambda: changes.append(prompts.collect(FLAT).drawn))
    image, left = model.layers[0], Qt.MouseButton.LeftButton
    around = [
        (100 + 40 * np.sin(t), 150 + 50 * np.cos(t)) for t in np.linspace(0, 6, 20)
    ]
    for tool in ("box", "ellipse", "lasso", "scribble"):
        prompts.use_tool(model, tool)
        gesture(mouse, image, around if tool == "lasso" else around[:10], left)
    kinds = [shape.kind for shape in changes[-1].shapes]
    assert kinds == [
        ShapeKind.RECTANGLE,
        ShapeKind.ELLIPSE,
        ShapeKind.POLYGON,
        ShapeKind.PATH,
    ]
    assert len(changes) == 4
    assert said == []


@pytest.mark.parametrize("rgb", [False, True])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_previews_are_seen_where_they_belong(viewer, model, mouse, rgb, order):
    from qtpy.QtWidgets import QApplication

    rng = np.random.default_rng(0)
    shape = (*SHAPE, 3) if rgb else SHAPE
    image = model.add_image(rng.integers(0, 255, shape, np.uint8), rgb=rgb)
    plane_map = PlaneMap(image, SHAPE, (1.0, 1.0))
    model.dims.order = order
    previews = [PreviewLayer(plane_map), PreviewLayer(plane_map, HOVERED)]
    side = np.arange(-30, 31)
    disk = side[:, None] ** 2 + side**2 <= 900
    for preview, places in zip(previews, ((60, 70), (130, 220)), strict=True):
        for shift in (20, 0):
            y0, x0 = places[0] - 30 + shift, places[1] - 30
            QApplication.processEvents()
            before = viewer.screenshot(canvas_only=True, flash=False).astype(int)
            preview.show(model, FLAT, MaskWindow(y0, x0, disk))
        QApplication.processEvents()
        after = viewer.screenshot(canvas_only=True, flash=False).astype(int)
        change = np.abs(after - before).max(axis=-1)
        edge = mouse.canvas_point(
            image, np.array((places[0] - 29, places[1]))[list(order)]
        )
        ratio = after.shape[1] / mouse.native.width()
        y, x = round(edge.y() * ratio), round(edge.x() * ratio)
        color = after[y - 2 : y + 3, x - 2 : x + 3, :3].reshape(-1, 3) / 255
        wanted = np.array(preview._style.color)
        assert np.abs(color - wanted).max(axis=1).min() < 0.3
        # Where the mask before was and this one is not, there is nothing left.
        gone = mouse.canvas_point(
            image, np.array((places[0] + 45, places[1]))[list(order)]
        )
        assert change[round(gone.y() * ratio), round(gone.x() * ratio)] > 0


def test_cost_of_a_preview_on_the_real_canvas(model, mouse):
    from qtpy.QtWidgets import QApplication

    image = model.add_image(np.zeros((1024, 1024), np.uint8))
    preview = PreviewLayer(PlaneMap(image, (1024, 1024), (1.0, 1.0)))
    side = np.arange(-60, 61)
    disk = side[:, None] ** 2 + side**2 <= 3600
    times = []
    for shift in range(12):
        QApplication.processEvents()
        start = time.perf_counter()
        preview.show(model, FLAT, MaskWindow(300 + shift, 400, disk))
        times.append(time.perf_counter() - start)
    assert np.median(times[1:]) < 0.01


def test_keys_on_the_real_canvas(model, plane_map, prompts, mouse):
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    from napari_sam._bridge.keybindings import KeyBindings

    done = []
    bindings = KeyBindings(done.append)
    labels = model.add_labels(np.zeros(SHAPE, np.uint32))
    layers = [model.layers[0], labels, prompts.points, prompts.shapes]
    bindings.bind(model, layers)
    control = Qt.KeyboardModifier.ControlModifier
    shift = Qt.KeyboardModifier.ShiftModifier
    for active in layers:
        model.layers.selection.active = active
        QTest.keyClick(mouse.native, Qt.Key.Key_N)
        QTest.keyClick(mouse.native, Qt.Key.Key_D, shift)
        QTest.keyClick(mouse.native, Qt.Key.Key_Z, control)
        QTest.keyClick(mouse.native, Qt.Key.Key_Z, control | shift)
    assert done == ["next_candidate", "delete", "undo", "redo"] * 4
    bindings.unbind()
    QTest.keyClick(mouse.native, Qt.Key.Key_N)
    assert len(done) == 16
