# SPDX-License-Identifier: Apache-2.0
"""A headless viewer with the blobs picture and the tiny model, nothing in threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.components import ViewerModel

    from napari_sam._bridge.sessions import ViewerSession
    from napari_sam.prediction.model_segmenter import ModelSegmenter


@pytest.fixture(scope="session")
def segmenter(tiny_sam) -> ModelSegmenter:
    from napari_sam.prediction.model_segmenter import ModelSegmenter

    return ModelSegmenter(tiny_sam)


@pytest.fixture
def viewer() -> ViewerModel:
    from napari.components import ViewerModel

    return ViewerModel()


@pytest.fixture
def session(viewer, segmenter) -> Iterator[ViewerSession]:
    from napari_sam._bridge.sessions import ViewerSession
    from napari_sam.annotation.jobs import InlineRunner

    session = ViewerSession(viewer, InlineRunner(), lambda spec: segmenter)
    yield session
    session.close()


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


@pytest.fixture
def warnings_shown(monkeypatch) -> list[str]:
    """Texts of the notifications instead of notifications."""
    shown: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", shown.append)
    return shown


@dataclass
class FakeMouseEvent:
    """What napari's mouse dispatchers and callbacks look at."""

    type: str
    position: tuple[float, ...]
    pos: np.ndarray
    button: int = 1
    modifiers: tuple[str, ...] = ()
    is_dragging: bool = False
    handled: bool = False
    dims_displayed: list[int] = field(default_factory=list)
    dims_point: list[float] = field(default_factory=list)
    view_direction: Any = None
    up_direction: Any = None
    camera_zoom: float = 1.0
    delta: tuple[float, float] = (0.0, 0.0)
    native: Any = None
    inverted: bool = False


class Gestures:
    """Mouse gestures as a canvas delivers them: to the viewer, then the active layer.

    Positions are world coordinates of the displayed axes; a canvas pixel is as large
    as one unit of the world.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer

    def send(self, kind: str, yx: Any, **fields: Any) -> FakeMouseEvent:
        from napari.utils import interactions
        from napari.utils._proxies import ReadOnlyWrapper

        dims = self._viewer.dims
        position = list(dims.point)
        for axis, value in zip(dims.displayed, yx, strict=True):
            position[axis] = float(value)
        event = FakeMouseEvent(
            f"mouse_{kind}",
            tuple(position),
            np.array([yx[1], yx[0]], float),
            dims_displayed=list(dims.displayed),
            dims_point=list(dims.point),
            **fields,
        )
        wrapped = ReadOnlyWrapper(event, exceptions=("handled",))
        dispatch = getattr(interactions, f"mouse_{kind}_callbacks")
        self._viewer.cursor.position = event.position
        dispatch(self._viewer, wrapped)
        active = self._viewer.layers.selection.active
        if active is not None:
            dispatch(active, wrapped)
        return event

    def hover(self, yx: Any) -> None:
        self.send("move", yx)

    def click(self, yx: Any, **fields: Any) -> list[FakeMouseEvent]:
        return [self.send("press", yx, **fields), self.send("release", yx, **fields)]

    def drag(self, *path: Any, **fields: Any) -> list[FakeMouseEvent]:
        """Press on the first position, move over the others, release on the last."""
        moving = {**fields, "is_dragging": True}
        return [
            self.send("press", path[0], **fields),
            *(self.send("move", yx, **moving) for yx in path[1:]),
            self.send("release", path[-1], **moving),
        ]


@pytest.fixture
def gestures(viewer) -> Gestures:
    return Gestures(viewer)
