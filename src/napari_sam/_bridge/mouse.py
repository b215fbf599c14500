# SPDX-License-Identifier: Apache-2.0
"""What the mouse means while points are being added.

The points layer must be the active one and in its mode "add": then hovering asks for a
preview, a click is a point, a drag is a box. With every other tool, and while Space
gives the mouse back to the camera, nothing here interferes.

napari's own tool would add a point to the layer at each click as well. It is taken off
the layer for the length of a press, so that points come from one source only.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from psygnal import Signal

from napari_sam._bridge.prompt_layers import NEGATIVE
from napari_sam._bridge.prompt_shapes import MIN_BOX_PX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.components import ViewerModel

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam._bridge.prompt_layers import PromptLayers
    from napari_sam.annotation.ports import PlaneKey

LEFT, RIGHT = 1, 2
DRAG_PX = 5.0
"""How far the pointer moves on the screen before a click becomes a drag."""


class Pointer:
    """Turns what the mouse does over the canvas into prompts.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Held weakly.
    plane_map : PlaneMap
        The image that is prompted.
    prompts : PromptLayers
        Tells whether points are being added, and shows the box being dragged.

    Attributes
    ----------
    hovered : Signal(world)
        Where the pointer is over the image, while no button is held.
    left : Signal()
        The pointer is no longer over the image, or in another tool's hand; once.
    clicked : Signal(PlaneKey, (y, x), label)
        Label 1 for a point on the object, 0 for one beside it: with Ctrl (Cmd on
        macOS), with the right button, or when the next point is to be negative.
    boxed : Signal(PlaneKey, (y0, x0, y1, x1))
        Sides as drawn: whole numbers are pixel centres.
    picked : Signal(PlaneKey, (y, x))
        A click with Shift: the object there is meant.
    """

    hovered: ClassVar[Signal] = Signal(object)
    left: ClassVar[Signal] = Signal()
    clicked: ClassVar[Signal] = Signal(object, object, int)
    boxed: ClassVar[Signal] = Signal(object, object)
    picked: ClassVar[Signal] = Signal(object, object)

    def __init__(
        self, viewer: ViewerModel, plane_map: PlaneMap, prompts: PromptLayers
    ) -> None:
        self._viewer = weakref.ref(viewer)
        self._map = plane_map
        self._prompts = prompts
        self._is_connected = False
        self._is_over = False
        self._end_gesture: Callable[[], None] | None = None

    def connect(self) -> None:
        """Begin to listen to the mouse; harmless when connected."""
        viewer = self._viewer()
        if self._is_connected or viewer is None:
            return
        self._is_connected = True
        viewer.mouse_move_callbacks.append(self._on_move)
        viewer.mouse_drag_callbacks.append(self._on_press)
        viewer.events.mouse_over_canvas.connect(self._on_canvas)

    def disconnect(self) -> None:
        """Stop listening, in the middle of a gesture too; harmless when not."""
        viewer = self._viewer()
        if not self._is_connected or viewer is None:
            return
        self._is_connected = False
        viewer.mouse_move_callbacks.remove(self._on_move)
        viewer.mouse_drag_callbacks.remove(self._on_press)
        viewer.events.mouse_over_canvas.disconnect(self._on_canvas)
        if self._end_gesture is not None:
            self._end_gesture()
        self._leave()

    def _on_move(self, viewer: ViewerModel, event: Any) -> None:
        """Report the pointer; napari calls this while no button is held."""
        is_over = (
            self._prompts.is_point_tool(viewer)
            and self._map.pointer_yx(viewer.dims, event.position) is not None
        )
        if is_over:
            self._is_over = True
            self.hovered.emit(tuple(event.position))
        else:
            self._leave()

    def _on_canvas(self, event: Any = None) -> None:
        viewer = self._viewer()
        if viewer is not None and not viewer.mouse_over_canvas:
            self._leave()

    def _leave(self) -> None:
        if self._is_over:
            self._is_over = False
            self.left.emit()

    def _on_press(self, viewer: ViewerModel, event: Any) -> Iterator[None]:
        """Follow one gesture from press to release."""
        if not self._prompts.is_point_tool(viewer):
            return
        press = _Press(self._map, viewer, event)
        restore_tool = _take_tool(self._prompts.points)
        self._end_gesture = restore_tool
        is_left = event.button == LEFT
        # The right button goes on to the camera, which zooms when it is dragged.
        event.handled = is_left and press.key is not None
        yield
        restore_tool()
        if press.key is None or event.button not in (LEFT, RIGHT):
            self._end_gesture = None
            return
        self._end_gesture = lambda: self._prompts.show_rubber_band(press.key, None)
        while event.type == "mouse_move":
            event.handled = is_left
            if press.has_moved(event) and press.draws_box and self._is_connected:
                self._prompts.show_rubber_band(press.key, press.box(event))
            yield
        is_cut_short = not self._is_connected
        self._end_gesture()
        self._end_gesture = None
        if not is_cut_short:
            event.handled = is_left
            self._finish(press, event)

    def _finish(self, press: _Press, event: Any) -> None:
        if not press.has_moved(event):
            self._click(press)
        elif press.draws_box:
            y0, x0, y1, x1 = box = press.box(event)
            if min(y1 - y0, x1 - x0) >= MIN_BOX_PX:
                self.boxed.emit(press.key, box)
            else:  # far zoomed in, a hand that shook
                self._click(press)

    def _click(self, press: _Press) -> None:
        if press.picks:
            self.picked.emit(press.key, press.yx)
            return
        is_negative = press.is_negative or self._prompts.polarity == NEGATIVE
        self.clicked.emit(press.key, press.yx, 0 if is_negative else 1)


class _Press:
    """Where and how a gesture began."""

    def __init__(self, plane_map: PlaneMap, viewer: ViewerModel, event: Any) -> None:
        found = plane_map.pointer_yx(viewer.dims, event.position)
        self.key: PlaneKey | None = None if found is None else found[0]
        self.yx: tuple[float, float] = (0.0, 0.0) if found is None else found[1]
        # vispy and Qt call the Command key of macOS "Control".
        self.picks = event.button == LEFT and "Shift" in event.modifiers
        has_control = "Control" in event.modifiers
        self.is_negative = event.button == RIGHT or has_control
        self.draws_box = event.button == LEFT and not (self.picks or has_control)
        self._map = plane_map
        self._world = np.asarray(event.position, dtype=float)
        self._pos = np.asarray(event.pos, dtype=float)
        self._has_moved = False

    def has_moved(self, event: Any) -> bool:
        """Whether the pointer was dragged, be it back again."""
        distance = np.linalg.norm(np.asarray(event.pos, dtype=float) - self._pos)
        self._has_moved = self._has_moved or bool(distance >= DRAG_PX)
        return self._has_moved

    def box(self, event: Any) -> tuple[float, float, float, float]:
        """Box from the press to the pointer, (y0, x0, y1, x1), cut at the image."""
        if self.key is None:
            return 0.0, 0.0, 0.0, 0.0
        axes, ndim = list(self.key.axes), self._map.ndim
        corners = [
            np.asarray(self._map.pixel_to_world(self.key.locate(y, x)))
            for y, x in ((0, 0), (1, 0), (0, 1))
        ]
        steps = np.stack([corners[1] - corners[0], corners[2] - corners[0]])[:, axes]
        way = (np.asarray(event.position, dtype=float) - self._world)[-ndim:][axes]
        there = np.asarray(self.yx) + np.linalg.solve(steps.T, way)
        last = np.asarray(self._map.plane_shape(self.key)) - 0.5
        y, x = np.clip(there, -0.5, last)
        return (
            float(min(self.yx[0], y)),
            float(min(self.yx[1], x)),
            float(max(self.yx[0], y)),
            float(max(self.yx[1], x)),
        )


def _take_tool(points: Any) -> Callable[[], None]:
    """Take napari's own tool for adding points off a layer; returns how to put back."""
    callbacks = points.mouse_drag_callbacks
    taken = [
        function
        for function in callbacks
        if getattr(function, "__name__", "") == "add"
        and getattr(function, "__module__", "").startswith("napari.layers.points")
    ]
    for function in taken:
        callbacks.remove(function)

    def put_back() -> None:
        # The mode may have been changed meanwhile, which removes the tool for good.
        if str(points.mode) == "add":
            callbacks.extend(f for f in taken if f not in callbacks)
        taken.clear()

    return put_back
