# SPDX-License-Identifier: Apache-2.0
"""Which part of a plane is on screen, told when the camera comes to rest."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.annotation.job import Priority
from napari_sam.errors import PhaseError
from napari_sam.structures.plane_view import PlaneView

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam.annotation.ports import JobRunner, PlaneKey

REST_S = 0.15
"""The camera has come to rest when it did not move for so long."""


class ViewRegion:
    """Follows the camera of a viewer.

    Nothing but a note of the time is taken while the camera moves.

    Parameters
    ----------
    viewer : weak reference to napari.components.ViewerModel
    plane_map : PlaneMap
        The image that is looked at.
    runner : JobRunner
        Takes the end of a movement to the thread that owns the GUI.
    on_rest : callable
        Called there when the camera has moved and come to rest.
    """

    def __init__(
        self,
        viewer: weakref.ref[ViewerModel],
        plane_map: PlaneMap,
        runner: JobRunner,
        on_rest: Callable[[], None],
    ) -> None:
        self._viewer = viewer
        self._map = plane_map
        self._runner = runner
        self._on_rest = on_rest
        self._lane = f"view-{id(self)}"
        self._timer: threading.Timer | None = None
        self._moved = 0.0

    def pairs(self) -> list[tuple[Any, Any]]:
        """List the signals that are to be followed, and what follows them."""
        viewer = self._viewer()
        if viewer is None:
            return []
        camera = camera_of(viewer).events
        pairs: list[tuple[Any, Any]] = [
            (camera.zoom, self._on_move),
            (camera.center, self._on_move),
        ]
        canvas: Any = getattr(viewer, "canvas", None)
        if canvas is not None:
            pairs.append((canvas.events.size, self._on_move))
        return pairs

    def stop(self) -> None:
        """Forget a movement that has not come to rest yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._runner.forget(self._lane)

    def of(self, plane: PlaneKey) -> PlaneView | None:
        """Return what is on screen of the plane shown; None if that cannot be told."""
        viewer = self._viewer()
        return None if viewer is None else view_of(viewer, self._map, plane)

    def _on_move(self, event: Any = None) -> None:
        self._moved = time.monotonic()
        if not self._runner.has_thread:
            self._on_rest()
        elif self._timer is None:
            self._wait(REST_S)

    def _wait(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._look_whether_at_rest)
        self._timer.daemon = True
        self._timer.start()

    def _look_whether_at_rest(self) -> None:
        """Tell it in the GUI's thread, or wait on; runs in the timer's thread."""
        left = self._moved + REST_S - time.monotonic()
        if self._timer is None:
            return
        if left > 0:
            self._wait(left)
            return
        self._timer = None
        with contextlib.suppress(PhaseError):  # the session was closed meanwhile
            self._runner.submit(
                lambda _: None,
                priority=Priority.INTERACTIVE,
                lane=self._lane,
                on_result=lambda _: self._on_rest(),
            )


def view_of(
    viewer: ViewerModel, plane_map: PlaneMap, plane: PlaneKey
) -> PlaneView | None:
    """Return what is on screen of a plane; None if that cannot be told."""
    camera, size = camera_of(viewer), _canvas_size(viewer)
    if camera.zoom <= 0 or min(size) <= 0:
        return None
    offset = viewer.dims.ndim - plane_map.ndim
    axes = list(plane.axes)
    displayed = [axis - offset for axis in viewer.dims.displayed]
    if sorted(displayed) != axes:
        return None
    centre = np.asarray(camera.center, dtype=float)[-2:]
    half = np.asarray(size, dtype=float) / camera.zoom / 2
    corners = centre + half * np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)])
    if displayed != axes:  # a transposed view: rows of the plane run across
        corners = corners[:, ::-1]
    origin, down, across = (
        np.asarray(plane_map.pixel_to_world(plane.locate(y, x)))[axes]
        for y, x in ((0, 0), (1, 0), (0, 1))
    )
    steps = np.stack([down - origin, across - origin], axis=1)
    area = abs(float(np.linalg.det(steps)))
    if not np.isfinite(area) or area == 0:
        return None  # the plane is seen from its edge
    yx = np.linalg.solve(steps, (corners - origin).T).T
    (y0, x0), (y1, x1) = yx.min(axis=0), yx.max(axis=0)
    step = 1 / (camera.zoom * np.sqrt(area))
    return PlaneView((float(y0), float(x0), float(y1), float(x1)), float(step))


def camera_of(viewer: ViewerModel) -> Any:
    """Return the camera: napari 0.9 keeps it in the scene; before, in the viewer."""
    return getattr(viewer, "scene", viewer).camera


def _canvas_size(viewer: ViewerModel) -> tuple[int, int]:
    """Return height and width of the canvas in pixels of the screen."""
    canvas = getattr(viewer, "canvas", None)
    size = (
        getattr(viewer, "_canvas_size", (600, 800)) if canvas is None else canvas.size
    )
    return int(size[0]), int(size[1])
